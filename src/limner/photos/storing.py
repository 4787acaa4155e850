"""The stored form of a photo: bytes that are the same on every run, in a format that loses nothing that matters."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from limner.photos.reading.decoding import Picture

__all__ = ["Stored", "encode"]


@dataclass(frozen=True, slots=True)
class Stored:
    digest: str
    media_type: str
    data: bytes = field(repr=False)


def encode(picture: Picture) -> Stored:
    """A picture without any metadata: PNG if its file lost nothing either, else JPEG."""
    if picture.lossless:
        media_type = "image/png"
        data = picture.image.pngsave_buffer(compression=4, filter="all", keep="none")
    else:
        # Colour at full resolution: the photo was made smaller, so its colour has become as fine as its light.
        media_type = "image/jpeg"
        data = picture.image.jpegsave_buffer(Q=95, subsample_mode="off", keep="none")
    return Stored(hashlib.sha256(data).hexdigest(), media_type, data)
