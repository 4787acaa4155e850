"""What the Replicate stand-in keeps: its jobs and uploads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from limner.stand_ins.replicate.models import StoredModel, StoredVersion

__all__ = ["JobFailed", "StoredFile", "StoredJob", "time_words"]

ENDED = frozenset({"succeeded", "failed", "canceled", "aborted"})


class JobFailed(Exception):
    """The model raised an error; its words are the job's."""


@dataclass(slots=True)
class StoredFile:
    """An uploaded file. ``expires`` is in Unix seconds."""

    id: str
    owner: str
    name: str
    content_type: str
    data: bytes
    created: float
    expires: float
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class StoredJob:
    """A training or prediction. Times are Unix seconds, 0 for not yet."""

    id: str
    kind: str
    owner: str
    model: StoredModel
    version: StoredVersion
    input: dict[str, Any]
    created: float
    destination: str = ""
    webhook: str = ""
    events: tuple[str, ...] = ()
    status: str = "starting"
    output: Any = None
    error: str | None = None
    logs: str = ""
    started: float = 0.0
    completed: float = 0.0
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def ended(self) -> bool:
        return self.status in ENDED


def time_words(moment: float) -> str:
    """A time as the vendor writes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
