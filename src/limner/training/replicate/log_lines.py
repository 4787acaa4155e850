"""Reads a training's log: steps, losses and times from the progress bar of ai-toolkit, whatever stands around it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from limner.vendors.secrets.tokens import redact

__all__ = ["LogReading", "log_tail", "read_log"]

TAIL = 4000
"""Characters of a log's end that are kept."""

# tqdm's form: "name:  12%|█▏    | 120/1000 [02:01<14:15,  1.03it/s, lr: 4.0e-04 loss: 3.532e-01]"
_BAR = re.compile(
    r"(?P<percent>\d{1,3})%\|[^|]{0,200}\|\s*(?P<done>\d{1,9})/(?P<total>\d{1,9})\s*"
    r"\[(?P<spent>[\d:]{1,20})<(?P<left>[\d:?]{1,20})(?:,\s*(?P<rate>[\d.]{1,20}|\?)\s*(?P<unit>it/s|s/it))?"
    r"(?P<rest>[^\]\r\n]{0,300})\]"
)
_LOSS = re.compile(r"\bloss:\s*(?P<loss>[-+]?\d{1,20}(?:\.\d{0,20})?(?:e[-+]?\d{1,3})?)", re.IGNORECASE)
_PHASES = (
    ("saving", re.compile(r"^sav(?:ing|ed)\b", re.IGNORECASE)),
    ("reading the photos", re.compile(r"caching latents|preprocessing|bucket|extract", re.IGNORECASE)),
    ("writing captions", re.compile(r"caption", re.IGNORECASE)),
    ("loading the model", re.compile(r"loading|download|quantiz", re.IGNORECASE)),
)


@dataclass(frozen=True, slots=True)
class LogReading:
    """What a log says: ``done`` of ``total`` steps, steps a second, seconds left, (step, loss) pairs, the phase."""

    done: int = 0
    total: int = 0
    rate: float | None = None
    seconds_left: float | None = None
    losses: tuple[tuple[int, float], ...] = ()
    phase: str = ""

    @property
    def loss(self) -> float | None:
        """The newest loss."""
        return self.losses[-1][1] if self.losses else None


def read_log(text: str, steps: int) -> LogReading:
    """Read a log. Bars of other work (caching, loading) show no loss and count to another total: they are left out."""
    newest: re.Match[str] | None = None
    losses: dict[int, float] = {}
    for bar in _BAR.finditer(text):
        done, total = int(bar["done"]), int(bar["total"])
        said = _LOSS.search(bar["rest"])
        if total < 1 or done > total or (said is None and total != steps):
            continue
        newest = bar
        if said is not None and math.isfinite(loss := float(said["loss"])):
            losses[done] = loss
    if newest is None:
        return LogReading(total=max(steps, 0), phase=_phase(text))
    done, total = int(newest["done"]), int(newest["total"])
    rate = _rate(newest)
    left = _seconds(newest["left"])
    if left is None and rate:
        left = (total - done) / rate
    return LogReading(done, total, rate, left, tuple(sorted(losses.items())), "saving" if done == total else "training")


def log_tail(text: str) -> str:
    """The end of a log for people: a bar's overwritten states are left out, secrets are taken out."""
    lines = [line.rpartition("\r")[2] for line in text[-8 * TAIL :].split("\n")]
    return redact("\n".join(lines))[-TAIL:].strip()


def _rate(bar: re.Match[str]) -> float | None:
    try:
        value = float(bar["rate"] or "")
    except ValueError:
        return None
    if value <= 0 or not math.isfinite(value):
        return None
    return 1 / value if bar["unit"] == "s/it" else value


def _seconds(text: str) -> float | None:
    """A time such as 1:02:03 in seconds."""
    parts = text.split(":")
    if not all(part.isdecimal() for part in parts) or len(parts) > 4:
        return None
    total = 0
    for part in parts:
        total = total * 60 + int(part)
    return float(total)


def _phase(text: str) -> str:
    """What goes on before the first step, by the newest line that tells."""
    for line in reversed(text[-TAIL:].replace("\r", "\n").split("\n")):
        for phase, pattern in _PHASES:
            if line.strip() and pattern.search(line.strip()):
                return phase
    return ""
