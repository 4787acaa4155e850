"""The log of a local training: its steps, losses and rates as lines of JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from limner.training.local.run_directory import RunDirectory

__all__ = ["Log"]


_FORGET = 0.9


class Log:
    """Progress lines, each flushed as it is written; knows the speed as a moving average."""

    def __init__(self, run: RunDirectory) -> None:
        self.file = run.progress.open("ab", buffering=0)
        # a line torn by a crash must not swallow the next one
        if run.progress.is_file() and run.progress.stat().st_size:
            self.file.write(b"\n")
        self.seconds_a_step: float | None = None

    def phase(self, name: str) -> None:
        self._line({"phase": name})

    def step(self, report: Any) -> None:
        past = self.seconds_a_step
        self.seconds_a_step = report.seconds if past is None else _FORGET * past + (1 - _FORGET) * report.seconds
        self._line(
            {
                "step": report.step,
                "total": report.total,
                "loss": report.loss,
                "lr": report.learning_rate,
                "rate": 1 / max(self.seconds_a_step, 1e-9),
                "seconds_left": (report.total - report.step) * self.seconds_a_step,
            }
        )

    def _line(self, value: dict[str, Any]) -> None:
        value["time"] = datetime.now(UTC).isoformat()
        self.file.write(json.dumps(value).encode() + b"\n")
