"""Cropping, as a function."""

from __future__ import annotations

from PIL import Image

__all__ = ["crop"]


def crop(image: Image.Image, top: int, left: int, height: int, width: int) -> Image.Image:
    return image.crop((left, top, left + width, top + height))
