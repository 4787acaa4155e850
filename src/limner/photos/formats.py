"""What kind of picture a file is, by its content: names lie, and come in capitals."""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePath

from limner.photos.refusals import refusal

__all__ = ["HEAD_BYTES", "Format", "is_lossless", "sniff"]

HEAD_BYTES = 4096
"""How much of a file's beginning ``sniff`` wants to see."""

_RAW = "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf rw2 rwl sr2 srf srw x3f"

_READS = "JPEG, PNG, WebP, AVIF, HEIC, TIFF and GIF are read."
_CONVERT = "Convert it to JPEG or PNG first."
_OTHERS = (
    (b"PK\x03\x04", "a zip or an office document"),
    (b"%PDF", "a PDF"),
    (b"BM", "a BMP picture"),
    (b"8BPS", "a Photoshop document"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"Rar!", "an archive"),
    (b"7z\xbc\xaf", "an archive"),
    (b"\x1f\x8b", "an archive"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"<svg", "an SVG drawing"),
)


class Format(StrEnum):
    """The formats that are read; the value is the media type."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    WEBP = "image/webp"
    AVIF = "image/avif"
    HEIC = "image/heic"
    TIFF = "image/tiff"
    GIF = "image/gif"


def sniff(head: bytes, name: str = "") -> Format:
    """The format of a file by its first bytes. Refusal says what it seems to be where it is none of ours."""
    if not head:
        raise refusal("empty-file", "The file is empty.", "Copy it anew from where it came.")
    if head.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Format.GIF
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Format.WEBP
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        if PurePath(name).suffix.lower()[1:] in _RAW.split():
            raise refusal(
                "camera-raw", "It is a camera's raw file.", "Develop it in your photo program and export a JPEG."
            )
        return Format.TIFF
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    raise refusal("not-a-photo", f"Its content is {_guess(head)}, whatever its name says.", f"{_READS} {_CONVERT}")


def _by_brand(head: bytes) -> Format:
    length = min(max(int.from_bytes(head[:4], "big"), 16), len(head))
    brands = {head[at : at + 4] for at in (8, *range(16, length - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return Format.AVIF
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        return Format.HEIC
    if b"crx " in brands:
        raise refusal("camera-raw", "It is a camera's raw file.", "Develop it and export a JPEG.")
    raise refusal("not-a-photo", "Its content is a video, whatever its name says.", "Save single frames as pictures.")


def _guess(head: bytes) -> str:
    for magic, what in _OTHERS:
        if head.startswith(magic):
            return what
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as failure:
        # The head may end in the middle of a letter.
        if failure.start < len(head) - 4:
            return "no picture that is known here"
        text = head[: failure.start].decode("utf-8")
    readable = bool(text) and all(letter.isprintable() or letter.isspace() for letter in text)
    return "text" if readable else "no picture that is known here"


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
