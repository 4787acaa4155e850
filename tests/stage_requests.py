"""Requests of stages that nobody runs: of a name, and with what a test looks at."""

from __future__ import annotations

from typing import Any

__all__ = ["StoredRequest"]


class StoredRequest:
    """Stands for a request: a job's row gets it as it is."""

    def __init__(self, stage: str, **fields: Any) -> None:
        self._row = {"stage": stage, **fields}

    def to_json(self) -> dict[str, Any]:
        return self._row
