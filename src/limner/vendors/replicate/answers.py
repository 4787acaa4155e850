"""What Replicate answers, read leniently: a field may be missing, a status unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from limner.vendors.http.answers import as_mapping, as_number, as_text

__all__ = ["Job", "Model", "Upload", "read_job", "read_model", "read_upload"]

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


def _time(value: Any) -> datetime | None:
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
    row = as_mapping(body)
    version = row.get("version")
    return Job(
        id=as_text(row.get("id")),
        status=as_text(row.get("status")).lower(),
        model=as_text(row.get("model")),
        version=as_text(version.get("id")) if isinstance(version, Mapping) else as_text(version),
        destination=as_text(row.get("destination")),
        input=as_mapping(row.get("input")),
        output=row.get("output"),
        error=_error_text(row.get("error")),
        logs=as_text(row.get("logs")),
        created_at=_time(row.get("created_at")),
        seconds=as_number(as_mapping(row.get("metrics")).get("predict_time")),
        removed=row.get("data_removed") is True,
    )


def read_model(row: Mapping[str, Any], name: str) -> Model:
    """A model out of whatever was answered for ``name``."""
    latest = as_mapping(row.get("latest_version"))
    owner, short = as_text(row.get("owner")), as_text(row.get("name"))
    return Model(
        name=f"{owner}/{short}" if owner and short else name,
        visibility=as_text(row.get("visibility")),
        version=as_text(latest.get("id")),
        official=row.get("is_official") is True,
        schema=as_mapping(latest.get("openapi_schema")),
    )


def read_upload(body: Any) -> Upload:
    """An uploaded file out of whatever was answered; a size of -1 was not said."""
    row = as_mapping(body)
    size = row.get("size")
    return Upload(
        id=as_text(row.get("id")),
        url=as_text(as_mapping(row.get("urls")).get("get")),
        size=size if isinstance(size, int) else -1,
        sha256=as_text(as_mapping(row.get("checksums")).get("sha256")).lower(),
        expires_at=_time(row.get("expires_at")),
        metadata=as_mapping(row.get("metadata")),
    )


def _error_text(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("detail") or value.get("message") or json.dumps(value, default=str)
    return " ".join(str(value).split()) if value else ""
