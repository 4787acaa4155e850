"""Pixels: decoding a picture's bytes, encoding them as PNG, and the digest that two equal pictures share."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from limner.errors import InputRefused, NotFound
from limner.generation.metadata.png import SIGNATURE

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["encode_png", "media_type", "opened", "picture_bytes", "pixel_digest"]

COMPRESSION = 4  # measured on photos of one megapixel: level 9 takes nine times as long for 6 percent fewer bytes


def encode_png(picture: Image) -> bytes:
    """A picture as RGB PNG without any metadata; the same pixels give the same bytes."""
    sink = io.BytesIO()
    picture.convert("RGB").save(sink, "PNG", compress_level=COMPRESSION)
    return sink.getvalue()


def pixel_digest(picture: Path | bytes) -> str:
    """SHA-256 of the size and the RGB pixels of a picture; what stands beside the pixels does not change it."""
    with opened(picture if isinstance(picture, bytes) else picture_bytes(picture)) as decoded:
        rgb = decoded.convert("RGB")
        return hashlib.sha256(b"%dx%d\n" % rgb.size + rgb.tobytes()).hexdigest()


@contextmanager
def opened(data: bytes) -> Iterator[Image]:
    """The decoded picture of a file's bytes. InputRefused: it is none, is damaged, or is far too large."""
    with _decoded(data) as picture:
        yield picture


def _decoded(data: bytes) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF, for one
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data))
            picture.load()
            return picture
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as failure:
        most = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise InputRefused(
            f"The picture is too large to be opened: it has more than {most} pixels.",
            remedy="Take a smaller copy of it.",
            thing="picture",
        ) from failure
    except Exception as failure:  # a decoder at odds with damaged bytes may raise anything
        known = "its contents are no picture, or are damaged"
        reason = known if isinstance(failure, UnidentifiedImageError) else str(failure).rstrip(".") or known
        raise InputRefused(
            f"The picture cannot be read: {reason}.", remedy="Take an undamaged copy of it.", thing="picture"
        ) from failure


def picture_bytes(path: Path) -> bytes:
    """A file's bytes. NotFound: there is no such file; InputRefused: it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", remedy="Check the path.", thing=str(path)) from None
    except OSError as failure:
        raise InputRefused(
            f"{path} cannot be read: {failure.strerror}.", remedy="Give a file that you may read.", thing=str(path)
        ) from failure


def media_type(data: bytes) -> str:
    """The media type by a file's first bytes: PNG, JPEG or WebP, else ``application/octet-stream``."""
    if data.startswith(SIGNATURE):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else "application/octet-stream"
