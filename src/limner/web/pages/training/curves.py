"""A curve for people: smoothed, thinned for the page, as a line for the eye and as a table for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Curve", "curve"]

MOST_POINTS = 2_000
TABLE_ROWS = 24
WIDTH, HEIGHT = 600.0, 160.0
DRAWN = 300
"""Points of the line that is drawn where no script runs."""
FORGET = 0.94


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve with all that a page shows of it; ``line`` and ``raw_line`` are points of an SVG polyline."""

    steps: tuple[int, ...]
    values: tuple[float, ...]
    smooth: tuple[float, ...]
    line: str
    raw_line: str
    low: float
    high: float
    rows: tuple[tuple[int, float, float], ...]

    def since(self, step: int) -> dict[str, list[float]]:
        """The points after a step, for a script that has those before."""
        first = next((at for at, value in enumerate(self.steps) if value > step), len(self.steps))
        return {
            "steps": list(self.steps[first:]),
            "values": list(self.values[first:]),
            "smooth": list(self.smooth[first:]),
        }


def curve(points: Sequence[tuple[int, float]], total: int = 0, *, smoothed: bool = True) -> Curve | None:
    """A curve of (step, value) pairs; ``total`` is how many steps there will be. None: there are no points."""
    if not points:
        return None
    every = max(1, -(-len(points) // MOST_POINTS))
    smooth_all = _smooth([value for _, value in points]) if smoothed else [value for _, value in points]
    chosen = list(range((len(points) - 1) % every, len(points), every))
    steps = tuple(points[at][0] for at in chosen)
    values = tuple(points[at][1] for at in chosen)
    smooth = tuple(smooth_all[at] for at in chosen)
    low, high = min(values), max(values)
    right = max(total, steps[-1], 1)
    return Curve(
        steps=steps,
        values=values,
        smooth=smooth,
        line=_line(steps, smooth, right, low, high),
        raw_line=_line(steps, values, right, low, high),
        low=low,
        high=high,
        rows=_rows(steps, values, smooth),
    )


def _smooth(values: Sequence[float]) -> list[float]:
    """A moving average that weighs the newest most; unbiased at its start."""
    total, weight, found = 0.0, 0.0, []
    for value in values:
        total = FORGET * total + (1 - FORGET) * value
        weight = FORGET * weight + (1 - FORGET)
        found.append(total / weight)
    return found


def _line(steps: Sequence[int], values: Sequence[float], right: int, low: float, high: float) -> str:
    span = high - low or 1.0
    every = max(1, -(-len(steps) // DRAWN))
    flat = high == low
    return " ".join(
        f"{steps[at] / right * WIDTH:.1f},{HEIGHT / 2 if flat else HEIGHT - (values[at] - low) / span * HEIGHT:.1f}"
        for at in range((len(steps) - 1) % every, len(steps), every)
    )


def _rows(
    steps: Sequence[int], values: Sequence[float], smooth: Sequence[float]
) -> tuple[tuple[int, float, float], ...]:
    every = max(1, -(-len(steps) // TABLE_ROWS))
    return tuple((steps[at], values[at], smooth[at]) for at in range((len(steps) - 1) % every, len(steps), every))
