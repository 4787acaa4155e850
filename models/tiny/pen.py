"""A pen that draws smooth, outlined shapes in units of the picture's side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]
PLUM: Colour = (62, 40, 66)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """``a`` with that share of ``b`` in it."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def edge_of(colour: Colour) -> Colour:
    """The outline that goes with a fill: darker and a little plum."""
    return mix(colour, PLUM, 0.62)


def smooth(points: Sequence[Point], pieces: int = 6) -> list[Point]:
    """A closed round curve through the points (Catmull-Rom)."""
    out, n = [], len(points)
    for i in range(n):
        a, b, c, d = points[i - 1], points[i], points[(i + 1) % n], points[(i + 2) % n]
        for k in range(pieces):
            t = k / pieces
            out.append(
                tuple(
                    0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t * t + (3 * q - p - 3 * r + s) * t**3)
                    for p, q, r, s in zip(a, b, c, d, strict=True)
                )
            )
    return out  # type: ignore[return-value]


def both_sides(right: Sequence[Point]) -> list[Point]:
    """The right half of an outline, from top to bottom, made whole by its mirror image."""
    return [*right, *((-x, y) for x, y in reversed(right) if x)]


class Pen:
    """Draws on a square picture; ``move`` sets where (0, 0) is and how long 1 is."""

    def __init__(self, side: int, paper: Colour) -> None:
        self.side = side
        self.image = Image.new("RGB", (side, side), paper)
        self.draw = ImageDraw.Draw(self.image)
        self.line = max(1, round(side * 0.0105))
        self.move(0, 0, 1)

    def move(self, x: float, y: float, unit: float) -> None:
        """Draw from now on around (x, y) with that unit; all three in sides of the picture."""
        self.x, self.y, self.unit = x * self.side, y * self.side, unit * self.side

    def _at(self, points: Sequence[Point]) -> list[Point]:
        return [(self.x + x * self.unit, self.y + y * self.unit) for x, y in points]

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour, *, edge: bool = False) -> None:
        """An upright ellipse."""
        (x0, y0), (x1, y1) = self._at([(x - rx, y - ry), (x + rx, y + ry)])
        self.draw.ellipse((x0, y0, x1, y1), fill, edge_of(fill) if edge else None, self.line if edge else 0)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill: Colour, r: float = 0, *, edge: bool = False
    ) -> None:
        """A rectangle, its corners rounded by ``r``."""
        (left, top), (right, low) = self._at([(x0, y0), (x1, y1)])
        outline = edge_of(fill) if edge else None
        self.draw.rounded_rectangle((left, top, right, low), r * self.unit, fill, outline, self.line if edge else 0)

    def shape(self, points: Sequence[Point], fill: Colour, *, edge: bool = True, curved: bool = True) -> None:
        """A closed shape through the points."""
        spots = self._at(smooth(points) if curved else points)
        self.draw.polygon(spots, fill)
        if edge:
            self.draw.line([*spots, spots[0], spots[1]], edge_of(fill), self.line, joint="curve")

    def stroke(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A line with round ends."""
        spots, w = self._at(points), max(2, round(width * self.unit))
        self.draw.line(spots, colour, w, joint="curve")
        for x, y in (spots[0], spots[-1]):
            self.draw.ellipse((x - w / 2, y - w / 2, x + w / 2, y + w / 2), colour)

    def limb(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A thick line with an outline, for arms and legs."""
        self.stroke(points, edge_of(colour), width + 2 * self.line / self.unit)
        self.stroke(points, colour, width)

    def arc(self, x: float, y: float, rx: float, ry: float, start: float, end: float, colour: Colour, w: float) -> None:
        """Part of an ellipse's line, in degrees clockwise from the right."""
        turns = [math.radians(start + (end - start) * i / 14) for i in range(15)]
        self.stroke([(x + rx * math.cos(t), y + ry * math.sin(t)) for t in turns], colour, w)

    def fade(self, top: Colour, low: Colour, y0: float, y1: float) -> None:
        """The whole width filled from one colour to another."""
        bands = 16
        for i in range(bands):
            a, b = y0 + (y1 - y0) * i / bands, y0 + (y1 - y0) * (i + 1) / bands
            self.box(-0.1, a, 1.1, b + 0.01, mix(top, low, i / (bands - 1)))
