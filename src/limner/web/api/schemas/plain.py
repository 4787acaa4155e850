"""What the shapes of the API are made of: strict bodies, answers that may grow, money, and data without paths."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import PurePath, PureWindowsPath
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from limner.types import Severity

__all__ = [
    "MOST_COST",
    "MOST_INT",
    "Amount",
    "Answer",
    "Body",
    "Failure",
    "Finding",
    "FoundWrong",
    "Money",
    "Page",
    "PlainData",
    "Problem",
    "SourceName",
    "only_text",
]

MOST_INT = 2**63 - 1
"""The largest whole number that the database can hold."""
MOST_COST = 1_000_000
T = TypeVar("T")


class Answer(BaseModel):
    """Something that the API gives back. Later versions may have more fields."""

    model_config = ConfigDict(from_attributes=True, frozen=True, extra="ignore")


class Body(BaseModel):
    """Something that is sent to the API: a field that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _written(amount: Decimal) -> str:
    return format(amount, "f")


Money = Annotated[
    Decimal,
    PlainSerializer(_written, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}, mode="serialization"),
]
"""US dollars, written as a string so that no digit is lost."""


def only_text(value: Any) -> Any:
    """Days and times are text: a bare number would be read as seconds."""
    if isinstance(value, str) and not value.lstrip("-").replace(".", "").isdigit():
        return value
    if isinstance(value, date):
        return value
    raise ValueError("is no date that is written out")


def _no_flag(amount: Any) -> Any:
    if isinstance(amount, bool):
        raise ValueError("is no amount")
    return amount


Amount = Annotated[
    Decimal,
    Field(ge=0, le=MOST_COST, max_digits=16, decimal_places=8),
    BeforeValidator(_no_flag),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": MOST_COST},
                {"type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,8})?$"},
            ]
        },
        mode="validation",
    ),
]
"""US dollars as they are sent."""


def _plain(value: Any) -> Any:
    """JSON data; a path of this machine is left out, since it tells nobody else anything."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items() if not isinstance(one, PurePath)}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value if not isinstance(one, PurePath)]
    if isinstance(value, Decimal):
        return _written(value)
    return value


PlainData = Annotated[dict[str, Any], BeforeValidator(_plain)]
"""Data whose fields depend on its kind."""


def _last_part(source: Any) -> Any:
    if not isinstance(source, str):
        return source
    if PurePath(source).is_absolute():
        return PurePath(source).name
    return PureWindowsPath(source).name if PureWindowsPath(source).is_absolute() else source


SourceName = Annotated[str, BeforeValidator(_last_part)]
"""The name that a file came with; of a path of this machine only its last part."""


class Page(Answer, Generic[T]):
    """A part of a list. ``next`` is the cursor of the part after it, null at the end; ``Link`` has its address."""

    items: list[T]
    next: str | None = None


class Finding(Answer):
    """One thing noticed: a stable code, one plain sentence, and what can be done about it."""

    code: str
    severity: Severity
    message: str
    remedy: str = ""


class Failure(Answer):
    """The error that a job, training or generation ended with. ``code`` and ``candidates`` are as in a problem."""

    code: str = "error"
    message: str = ""
    remedy: str = ""
    thing: str = ""
    candidates: list[str] | None = None


class FoundWrong(Answer):
    """One part of a request that cannot be used: where it is, such as ``body.steps``, and what is wrong with it."""

    at: str
    message: str


class Problem(BaseModel):
    """Why a request was not done (RFC 9457): ``detail`` says what happened, ``remedy`` what to do next.

    ``type`` is ``urn:limner:`` and a code that does not change. ``thing`` names what it is about. ``errors`` are the
    parts of the request that cannot be used, ``fields`` the settings of a recipe that cannot, ``candidates`` the bases
    that a lora fits, the likeliest first: one of them has to be named.
    """

    model_config = ConfigDict(extra="ignore")

    type: str
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    remedy: str = ""
    thing: str = ""
    errors: list[FoundWrong] | None = None
    fields: dict[str, str] | None = None
    candidates: list[str] | None = None
