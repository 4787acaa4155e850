"""Thumbnails: small copies of stored pictures, drawn once, kept in the home's cache, erased with their blob."""

from __future__ import annotations

import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path

from limner.errors import InputRefused, NotFound, StorageFailed
from limner.operations.home.workspace import Workspace
from limner.records.gallery import StoredPicture

__all__ = ["WIDTHS", "cached", "forget", "thumbnail"]

WIDTHS = (160, 320, 640, 1280)
"""The widths that thumbnails have, in pixels: a few, so that the cache stays small."""
TALLEST = 4
"""No thumbnail is taller than so many times its width."""
QUALITY = 82

_LOADERS = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
# Decoding holds memory and a core: what exceeds the cores only waits, however many ask.
_SLOTS = threading.BoundedSemaphore(max(1, min(4, os.cpu_count() or 1)))


def cached(workspace: Workspace, digest: str, width: int) -> Path | None:
    """The thumbnail if it was drawn before. InputRefused: there is no such width."""
    path = _place(workspace, digest, width)
    try:
        # A file without bytes is what a machine that lost its power leaves behind.
        return path if path.stat().st_size else None
    except FileNotFoundError:
        return None


def thumbnail(workspace: Workspace, picture: StoredPicture, width: int) -> Path:
    """A WebP of the picture, ``width`` pixels wide at most, never larger than the picture, upright, sRGB.

    InputRefused: no such width, or it is no picture. StorageFailed: it is damaged, or the disk is full.
    """
    found = cached(workspace, picture.digest, width)
    if found is not None:
        return found
    if picture.media_type not in _LOADERS:
        raise InputRefused(
            f"{picture.name} is not a picture that can be shown.", remedy="Download it instead.", thing=picture.name
        )
    with _SLOTS:
        return cached(workspace, picture.digest, width) or _draw(workspace, picture, width)


def forget(workspace: Workspace, digest: str) -> None:
    """Erase a blob's thumbnails, and what a crash while drawing them left."""
    for path in _folder(workspace, digest).glob(f"{digest}-*"):
        path.unlink(missing_ok=True)


def _folder(workspace: Workspace, digest: str) -> Path:
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise NotFound(f"'{digest[:80]}' is not the digest of a picture.", thing="picture")
    return workspace.home / "cache" / "thumbnails" / digest[:2]


def _place(workspace: Workspace, digest: str, width: int) -> Path:
    if width not in WIDTHS:
        raise InputRefused(
            f"There are no thumbnails {width} pixels wide.", remedy=f"Ask for {', '.join(map(str, WIDTHS))}.", thing="w"
        )
    return _folder(workspace, digest) / f"{digest}-{width}.webp"


def _draw(workspace: Workspace, picture: StoredPicture, width: int) -> Path:
    place = _place(workspace, picture.digest, width)
    partial = place.with_name(f"{picture.digest}-{secrets.token_hex(6)}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial.write_bytes(_smaller(picture, width))
        partial.replace(place)
    except OSError as failure:
        raise StorageFailed(
            f"A thumbnail could not be kept in {place.parent}: {failure.strerror or failure}.",
            remedy="Free some space or check the folder's permissions, then load the page again.",
            thing=picture.name,
        ) from failure
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    if not workspace.blobs.has(picture.digest):
        # Erased while it was drawn: whoever erased it had looked here before this was written.
        forget(workspace, picture.digest)
        raise NotFound(f"{picture.name} was erased.", thing=picture.name)
    return place


def _smaller(picture: StoredPicture, width: int) -> bytes:
    """The thumbnail's bytes. Decoders shrink while they read where the format allows it, and stream where not."""
    from limner.photos.reading.decoding import vips

    try:
        with picture.path.open("rb") as stream:
            # An open file, because a path with brackets in it would be read as options.
            source = vips().Source.new_from_descriptor(stream.fileno())
            image = (
                vips()
                .Image.thumbnail_source(
                    source,
                    width,
                    height=TALLEST * width,
                    size="down",
                    output_profile="srgb",
                    intent="relative",
                    # ``fail_on`` does not reach the loader of a source; its own options do.
                    option_string="fail_on=error",
                )
                .copy()
            )
            # Pictures are what is done in parallel; threads within one would only add memory.
            image.set_type(vips().GValue.gint_type, "concurrency", 1)
            data: bytes = image.webpsave_buffer(Q=QUALITY, effort=2, keep="none")
            return data
    except FileNotFoundError:
        raise NotFound(f"{picture.name} was erased.", thing=picture.name) from None
    except vips().Error as failure:
        words = " ".join(str(failure).split())[:160]
        raise StorageFailed(
            f"{picture.name} cannot be decoded: {words}.",
            remedy="Restore the home folder's blobs from a copy, or draw it again.",
            thing=picture.name,
        ) from failure
