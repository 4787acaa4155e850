"""The stored form of a photo: bytes that are the same on every run, in a format that loses nothing that matters."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from limner.errors import StorageFailed
from limner.photos.reading.decoding import Picture

__all__ = ["Stored", "store"]


@dataclass(frozen=True, slots=True)
class Stored:
    digest: str
    media_type: str
    byte_size: int
    file: Path


def store(picture: Picture, stem: Path) -> Stored:
    """Write a picture beside ``stem``, without any metadata: PNG if its file lost nothing either, else JPEG.

    StorageFailed: the disk has no room; no half file is left.
    """
    if picture.lossless:
        media_type, file = "image/png", stem.with_suffix(".png")
        data = picture.image.pngsave_buffer(compression=4, filter="all", keep="none")
    else:
        # Colour at full resolution: the photo was made smaller, so its colour has become as fine as its light.
        media_type, file = "image/jpeg", stem.with_suffix(".jpg")
        data = picture.image.jpegsave_buffer(Q=95, subsample_mode="off", keep="none")
    try:
        file.write_bytes(data)
    except OSError as failure:
        file.unlink(missing_ok=True)
        raise StorageFailed(
            f"A photo cannot be written to {file.parent}: {failure.strerror or failure}.",
            remedy="Free some space and add the photos again; those taken in so far are kept.",
            thing=str(file.parent),
        ) from failure
    return Stored(hashlib.sha256(data).hexdigest(), media_type, len(data), file)
