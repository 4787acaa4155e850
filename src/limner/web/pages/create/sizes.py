"""Sizes to choose from: a few shapes of about the area that a base is used to, within what it can draw."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from limner.types import Base

__all__ = ["OWN", "Size", "shape_of", "sizes"]

OWN = "own"
"""The choice of a size of one's own."""
SHAPES = {
    "square": ("Square", 1, 1),
    "portrait": ("Portrait", 4, 5),
    "tall": ("Tall", 2, 3),
    "landscape": ("Landscape", 3, 2),
    "wide": ("Wide", 16, 9),
}


@dataclass(frozen=True, slots=True)
class Size:
    """A shape and what it is in pixels for one base."""

    key: str
    title: str
    width: int
    height: int


def sizes(base: Base) -> list[Size]:
    """Every shape for a base, in multiples of what it wants."""
    return [
        Size(key, title, _side(base, base.size * sqrt(across / down)), _side(base, base.size * sqrt(down / across)))
        for key, (title, across, down) in SHAPES.items()
    ]


def _side(base: Base, wanted: float) -> int:
    multiple = base.size_multiple
    return min(max(round(wanted / multiple) * multiple, base.size_min), base.size_max)


def shape_of(base: Base, width: int, height: int) -> str:
    """The shape that has these pixels, or ``own``."""
    return next((size.key for size in sizes(base) if (size.width, size.height) == (width, height)), OWN)
