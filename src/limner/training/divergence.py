"""Divergence: whether the loss of a training rose or stopped being a number, told from the noise that it always has."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from limner.types import Finding, Severity

__all__ = ["divergence", "divergence_in_log"]

FEWEST, FEWEST_FOR_TREND = 8, 24
"""Points below which nothing is said of a curve, and of its trend."""
WINDOWS = 8
RISE = 1.4
"""How many times as high as at its best the loss ends, at least, where it is said to have risen."""
CERTAIN = 4.0
"""By how many standard errors of a window's median it rose, at least."""
BLOWN_UP = 5.0
"""How many times as high as before its last points are, where few points are enough."""
# A median's standard error is 1.25 of a mean's; a normal distribution's deviation is 1.48 of its median deviation.
_OF_MEDIAN, _OF_DEVIATION = 1.2533, 1.4826
_NO_NUMBER = re.compile(r"(?i)\bloss\b[\"']?\s{0,4}[:= ]\s{0,4}[-+]?(nan|inf(inity)?)\b")


def divergence(losses: Sequence[tuple[int, float]], recipe: Mapping[str, Any]) -> tuple[Finding, ...]:
    """What is to be said of (step, loss) points: nothing, or that they diverged from a step on, and what to do.

    Single steps of flow matching differ by half their height or more, as each has a noise of its own; so medians of
    windows are compared, and by how sure they are. A spike that goes down again is none.
    """
    broken = next((step for step, loss in losses if not math.isfinite(loss)), None)
    if broken is not None:
        return (_finding(f"The loss is no number from step {broken} on", broken, recipe),)
    if len(losses) >= FEWEST and (step := _blown_up(losses)) is not None:
        before = median(loss for at, loss in losses if at < step)
        return (_finding(_rose(before, losses[-1][1], step), step, recipe),)
    if len(losses) >= FEWEST_FOR_TREND and (risen := _risen(losses)) is not None:
        best, last, step = risen
        return (_finding(_rose(best, last, step), step, recipe),)
    return ()


def divergence_in_log(log: str, recipe: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The same for a trainer's log, whose losses that are no numbers are in no curve."""
    return (_finding("The loss is no number any more, by the log", 0, recipe),) if _NO_NUMBER.search(log) else ()


def _blown_up(losses: Sequence[tuple[int, float]]) -> int | None:
    """The step from which on all points are far above everything before; None if there is none."""
    tail = max(3, len(losses) // 20)
    before = [loss for _, loss in losses[:-tail]]
    low = min(loss for _, loss in losses[-tail:])
    if low <= BLOWN_UP * median(before) or low <= max(before[: len(before) // 2]):
        return None
    first = len(losses) - tail
    while first > len(losses) // 2 and losses[first - 1][1] > BLOWN_UP * median(before):
        first -= 1
    return losses[first][0]


def _risen(losses: Sequence[tuple[int, float]]) -> tuple[float, float, int] | None:
    """The best window's median, the last one's, and the step of the best; None if the rise is small or unsure."""
    size = len(losses) // WINDOWS
    # The first points are left over, so that all windows are of one size.
    points = losses[len(losses) - size * WINDOWS :]
    windows = [points[at : at + size] for at in range(0, len(points), size)]
    values = [[loss for _, loss in window] for window in windows]
    middles = [median(window) for window in values]
    best = min(range(WINDOWS - 1), key=lambda number: middles[number])
    # Twice, so that a spike at the end is none.
    last = min(middles[-1], middles[-2]) if best < WINDOWS - 2 else middles[-1]
    errors = [_error(values[number]) for number in (best, WINDOWS - 1)]
    # The lowest of several windows is low by chance too, which the errors allow for.
    if last < RISE * middles[best] or last - middles[best] < CERTAIN * math.hypot(*errors):
        return None
    return middles[best], middles[-1], windows[best][-1][0]


def _error(window: Sequence[float]) -> float:
    middle = median(window)
    deviation = _OF_DEVIATION * median(abs(value - middle) for value in window)
    return _OF_MEDIAN * deviation / math.sqrt(len(window))


def _rose(before: float, after: float, step: int) -> str:
    return f"The loss rose from about {before:.3g} to {after:.3g} after step {step}"


def _finding(what: str, step: int, recipe: Mapping[str, Any]) -> Finding:
    rate = recipe.get("learning_rate")
    known = isinstance(rate, int | float) and rate > 0
    lower = f", such as {rate / 4:.1g}" if known else ""
    kept = f" A checkpoint of before step {step} may be good." if step else ""
    return Finding(
        "diverged",
        Severity.WARNING,
        f"{what}: the training has diverged.",
        f"Train again with a smaller learning rate{lower}.{kept}",
    )
