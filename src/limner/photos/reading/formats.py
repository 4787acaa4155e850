"""What kind of picture a file is, by its content: names lie, and come in capitals."""

from __future__ import annotations

from enum import StrEnum

from limner.photos.reading.not_photos import in_icloud, not_a_photo, video
from limner.photos.reading.raws import has_raw_magic, has_raw_name
from limner.photos.reading.refusals import Refusal, refusal

__all__ = ["HEAD_BYTES", "Format", "camera_raw", "is_lossless", "sniff"]

HEAD_BYTES = 4096
"""How much of a file's beginning ``sniff`` wants to see."""


class Format(StrEnum):
    """The formats that are read; the value is the media type."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    WEBP = "image/webp"
    AVIF = "image/avif"
    HEIC = "image/heic"
    TIFF = "image/tiff"
    GIF = "image/gif"


_STARTS: dict[Format, tuple[bytes, ...]] = {
    Format.JPEG: (b"\xff\xd8\xff",),
    Format.PNG: (b"\x89PNG\r\n\x1a\n",),
    Format.GIF: (b"GIF87a", b"GIF89a"),
    Format.TIFF: (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}


def sniff(head: bytes, name: str = "") -> Format:
    """The format of a file by its first bytes. Refusal says what it seems to be where it is none of ours.

    A TIFF may still be a camera's raw file, which shows further in: ``raws.is_raw_tiff``.
    """
    if not head:
        raise refusal("empty-file", "The file is empty.", "Copy it anew from where it came.")
    if has_raw_magic(head):
        raise camera_raw()
    for kind, starts in _STARTS.items():
        if head.startswith(starts):
            if kind is Format.TIFF and has_raw_name(name):
                raise camera_raw()
            if kind is Format.PNG and head[12:16] == b"CgBI":
                raise refusal("not-a-photo", "It is a PNG packed for an iPhone app.", "Use the one it was made from.")
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Format.WEBP
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if name.lower().endswith(".icloud") and head.startswith(b"bplist"):
        raise in_icloud()
    raise not_a_photo(head)


def camera_raw() -> Refusal:
    """The refusal of a camera's raw file."""
    return refusal("camera-raw", "It is a camera's raw file.", "Develop it in your photo program and export a JPEG.")


def _by_brand(head: bytes) -> Format:
    length = min(max(int.from_bytes(head[:4], "big"), 16), len(head))
    brands = {head[at : at + 4] for at in (8, *range(16, length - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return Format.AVIF
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        return Format.HEIC
    if b"crx " in brands:
        raise camera_raw()
    raise video()


def is_lossless(kind: Format, head: bytes) -> bool:
    """Whether the file's format keeps each pixel, so that a JPEG of it would lose something."""
    if kind is Format.WEBP:
        return _webp_pixels(head) == b"VP8L"
    return kind in (Format.PNG, Format.GIF, Format.TIFF)


def _webp_pixels(head: bytes) -> bytes:
    """The name of the first chunk with pixels in a WebP file, as far as its head shows."""
    at = 12
    while at + 8 <= len(head):
        name, length = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if name in (b"VP8L", b"VP8 "):
            return name
        # A frame of an animation has its own chunks behind 16 bytes.
        at += 24 if name == b"ANMF" else 8 + length + length % 2
    return b""
