"""Divergence: whether the loss of a training rose or stopped being a number, told from the noise that it always has."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from limner.types import Finding, Severity

__all__ = ["divergence", "divergence_in_log"]

FEWEST, FEWEST_IN_PART = 8, 8
"""Points below which nothing is said of a curve, and of a part of it."""
PARTS = (3, 6)
"""A curve is compared in thirds and in sixths: its end with its best part."""
RISE = 1.4
"""How many times as high as at its best the loss ends, at least, where it is said to have risen."""
CERTAIN = 5.0
"""By how many standard errors of the difference it rose, at least; the best of several parts is low by chance too."""
BLOWN_UP = 5.0
"""How many times as high as before its last points are, where few points are enough."""
LEAST = 1e-12
# A median's standard error is 1.25 of a mean's; a normal distribution's deviation is 1.48 of its median deviation.
_OF_MEDIAN, _OF_DEVIATION = 1.2533, 1.4826
_NO_NUMBER = re.compile(r"(?i)(?<![a-z])loss\b[\"']?\s{0,4}[:= ]\s{0,4}[-+]?(nan|inf(inity)?)\b")


def divergence(losses: Sequence[tuple[int, float]], recipe: Mapping[str, Any]) -> tuple[Finding, ...]:
    """What is to be said of (step, loss) points: nothing, or that they diverged from a step on, and what to do.

    Single steps of flow matching differ by half their height or more, as each has a noise of its own; so medians of
    parts are compared, of logarithms as the noise is a factor, and by how sure they are. A spike is no divergence.
    """
    broken = next((step for step, loss in losses if not math.isfinite(loss)), None)
    if broken is not None:
        return (_finding(f"The loss is no number from step {broken} on", broken, recipe),)
    if len(losses) < FEWEST:
        return ()
    heights = [math.log(max(loss, LEAST)) for _, loss in losses]
    for risen in (_blown_up(heights), *(_risen(heights, parts) for parts in PARTS)):
        if risen is not None:
            best, last, place = risen
            step = losses[place][0]
            rose = f"The loss rose from about {math.exp(best):.3g} to {math.exp(last):.3g} after step {step}"
            return (_finding(rose, step, recipe),)
    return ()


def divergence_in_log(log: str, recipe: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The same for a trainer's log, whose losses that are no numbers are in no curve."""
    return (_finding("The loss is no number any more, by the log", 0, recipe),) if _NO_NUMBER.search(log) else ()


def _blown_up(heights: Sequence[float]) -> tuple[float, float, int] | None:
    """Whether all the last points are far above those before: their middle, the end, and where it began."""
    tail = max(3, len(heights) // 20)
    before = heights[:-tail]
    middle = median(before)
    bound = max(middle + math.log(BLOWN_UP), middle + 3 * _deviation(before, middle))
    if min(heights[-tail:]) <= bound:
        return None
    first = len(before)
    while first > 1 and heights[first - 1] > bound:
        first -= 1
    return middle, median(heights[-tail:]), first - 1


def _risen(heights: Sequence[float], parts: int) -> tuple[float, float, int] | None:
    """Whether the end is surely higher than the best part: both middles, and where that part ends."""
    size = len(heights) // parts
    if size < FEWEST_IN_PART:
        return None
    # The first points are left over, so that all parts are of one size.
    begin = len(heights) - size * parts
    cut = [heights[at : at + size] for at in range(begin, len(heights), size)]
    middles = [median(part) for part in cut]
    best = min(range(parts - 1), key=lambda number: middles[number])
    residues = [height - middle for part, middle in zip(cut, middles, strict=True) for height in part]
    error = _OF_MEDIAN * _deviation(residues, 0.0) * math.sqrt(2 / size)
    if middles[-1] - middles[best] <= max(math.log(RISE), CERTAIN * error):
        return None
    return middles[best], middles[-1], begin + (best + 1) * size - 1


def _deviation(values: Sequence[float], middle: float) -> float:
    return _OF_DEVIATION * median(abs(value - middle) for value in values)


def _finding(what: str, step: int, recipe: Mapping[str, Any]) -> Finding:
    rate = recipe.get("learning_rate") or 0
    lower = f", such as {rate / 4:.2g}" if isinstance(rate, int | float) and rate > 0 else ""
    kept = f" A checkpoint of before step {step} may be good." if step else ""
    return Finding(
        "diverged",
        Severity.WARNING,
        f"{what}: the training has diverged.",
        f"Train again with a smaller learning rate{lower}.{kept}",
    )
