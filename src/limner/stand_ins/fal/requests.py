"""One request at fal's stand-in, and how it stands in the list of past requests."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from limner.catalog.hosted import HostedModel

__all__ = ["COMPLETED", "QUEUED", "RUNNING", "FalRequest", "listed", "stamp"]

QUEUED, RUNNING, COMPLETED = "IN_QUEUE", "IN_PROGRESS", "COMPLETED"


@dataclass
class FalRequest:
    """One request. ``status`` is fal's word; ``code`` and ``output`` what the model answered in the end."""

    id: str
    model: str
    row: HostedModel
    input: Any
    account: str
    lifecycle: str | None = None
    no_retry: bool = False
    status: str = QUEUED
    code: int = 200
    output: Any = None
    error: str = ""
    error_type: str = ""
    logs: list[str] = field(default_factory=list)
    sent_at: float = field(default_factory=time.time)
    started_at: float | None = None
    ended_at: float | None = None
    cancelled: bool = False
    forgotten: bool = False


def listed(one: FalRequest, *, payloads: bool) -> dict[str, Any]:
    """A request as the list of past requests has it."""
    item: dict[str, Any] = {
        "request_id": one.id,
        "endpoint_id": one.model,
        "sent_at": stamp(one.sent_at),
        "started_at": stamp(one.started_at or one.sent_at),
    }
    if one.ended_at is not None:
        item |= {"ended_at": stamp(one.ended_at), "status_code": one.code}
    if payloads and not one.forgotten:
        item |= {"json_input": one.input, "json_output": one.output}
    return item


def stamp(moment: float) -> str:
    """A moment (Unix seconds) as fal writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
