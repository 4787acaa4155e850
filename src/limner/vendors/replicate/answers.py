"""What Replicate answers, read leniently: a field may be missing, a status unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["Job", "Model", "Upload", "read_job", "read_model", "read_time", "read_upload"]

_GOING = frozenset({"starting", "processing", "queued", ""})
_ENDED = frozenset({"succeeded", "failed", "canceled", "cancelled", "aborted"})


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the account sees it. ``version`` is its newest, "" if none; ``official`` ones need no version."""

    name: str
    visibility: str
    version: str = ""
    official: bool = False
    schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file kept by the vendor for a while. ``expires_at`` None: it did not say."""

    id: str
    url: str
    size: int
    sha256: str
    expires_at: datetime | None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A training or prediction. Whatever the vendor left out is empty; ``status`` may be a word that we do not know.

    ``seconds`` is how long it ran, as charged; ``removed`` says that the vendor deleted its data.
    """

    id: str
    status: str
    model: str = ""
    version: str = ""
    destination: str = ""
    input: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    error: str = ""
    logs: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    seconds: float | None = None
    removed: bool = False

    @property
    def going(self) -> bool:
        """Whether it has not ended; a status that we do not know counts as going."""
        return self.status not in _ENDED

    @property
    def known(self) -> bool:
        """Whether its status is one that we know."""
        return self.status in _ENDED or self.status in _GOING


def read_time(value: Any) -> datetime | None:
    """A time as the vendor writes it, None if it is none."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_job(body: Any) -> Job:
    """A training or prediction out of whatever was answered."""
    row: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    metrics = _mapping(row.get("metrics"))
    seconds = metrics.get("predict_time")
    version = row.get("version")
    return Job(
        id=_text(row.get("id")),
        status=_text(row.get("status")).lower(),
        model=_text(row.get("model")),
        version=_text(version.get("id")) if isinstance(version, Mapping) else _text(version),
        destination=_text(row.get("destination")),
        input=_mapping(row.get("input")),
        output=row.get("output"),
        error=_error_text(row.get("error")),
        logs=_text(row.get("logs")),
        created_at=read_time(row.get("created_at")),
        started_at=read_time(row.get("started_at")),
        seconds=float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None,
        removed=row.get("data_removed") is True,
    )


def read_model(row: Mapping[str, Any], name: str) -> Model:
    """A model out of whatever was answered for ``name``."""
    latest = _mapping(row.get("latest_version"))
    owner, short = _text(row.get("owner")), _text(row.get("name"))
    return Model(
        name=f"{owner}/{short}" if owner and short else name,
        visibility=_text(row.get("visibility")),
        version=_text(latest.get("id")),
        official=row.get("is_official") is True,
        schema=_mapping(latest.get("openapi_schema")),
    )


def read_upload(body: Any) -> Upload:
    """An uploaded file out of whatever was answered; a size of -1 was not said."""
    row: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    size = row.get("size")
    return Upload(
        id=_text(row.get("id")),
        url=_text(_mapping(row.get("urls")).get("get")),
        size=size if isinstance(size, int) else -1,
        sha256=_text(_mapping(row.get("checksums")).get("sha256")).lower(),
        expires_at=read_time(row.get("expires_at")),
        metadata=_mapping(row.get("metadata")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _error_text(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("detail") or value.get("message") or json.dumps(value, default=str)
    return " ".join(str(value).split()) if value else ""
