"""What a trainer's log at fal says: how many steps are done, how fast, how long it takes, and the loss.

fal does not say what its logs look like, and its trainers differ: any line with ``450/1000`` of the wanted number of
steps counts, as does ``step 450``; numbers that cannot be are passed over.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["LogFacts", "read_log"]

_NUMBER = r"\d{1,9}(?:\.\d{1,12})?(?:[eE][+-]?\d{1,3})?"
_OF = re.compile(r"(?<![\d./])(\d{1,7}) ?/ ?(\d{1,7})(?![\d./])")
_STEP = re.compile(r"\bsteps?\b\s*[:=#]?\s*(\d{1,7})(?![\d.])", re.IGNORECASE)
_LOSS = re.compile(rf"\bloss\b\W{{1,4}}({_NUMBER})", re.IGNORECASE)
_LEFT = re.compile(r"<\s*(?:(\d{1,3}):)?(\d{1,2}):(\d{2})")
_RATE = re.compile(rf"({_NUMBER})\s?(it/s|s/it)")


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What a log tells. ``rate`` is steps a second; ``losses`` are (step, loss) pairs, oldest first."""

    done: int = 0
    rate: float | None = None
    seconds_left: float | None = None
    losses: tuple[tuple[int, float], ...] = ()

    @property
    def loss(self) -> float | None:
        """The newest loss."""
        return self.losses[-1][1] if self.losses else None


def read_log(lines: Sequence[str], steps: int) -> LogFacts:
    """Read the lines of a log, oldest first, of a training of that many steps."""
    done, rate, left = 0, None, None
    losses: dict[int, float] = {}
    for line in (part for whole in lines for part in re.split(r"[\r\n]+", whole)):
        step = _step(line, steps)
        if step is None or step < done:
            continue
        done = step
        rate, left = _rate(line) or rate, _left(line)
        loss = _loss(line)
        if loss is not None:
            losses[step] = loss
    return LogFacts(done, rate, left, tuple(sorted(losses.items())))


def _step(line: str, steps: int) -> int | None:
    for done, total in _OF.findall(line):
        if int(total) == steps and int(done) <= steps:
            return int(done)
    if (found := _STEP.search(line)) and int(found[1]) <= steps:
        return int(found[1])
    return None


def _loss(line: str) -> float | None:
    found = _LOSS.search(line)
    value = float(found[1]) if found else math.nan
    return value if math.isfinite(value) else None


def _left(line: str) -> float | None:
    found = _LEFT.search(line)
    if not found:
        return None
    return int(found[1] or 0) * 3600 + int(found[2]) * 60.0 + int(found[3])


def _rate(line: str) -> float | None:
    found = _RATE.search(line)
    value = float(found[1]) if found else 0.0
    if not math.isfinite(value) or value <= 0:
        return None
    rate = value if found and found[2] == "it/s" else 1 / value
    return rate if math.isfinite(rate) else None
