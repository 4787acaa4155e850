"""What is sent to the API and what it gives back, as far as several resources share it; else answers are records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema

__all__ = [
    "MOST_COST",
    "MOST_INT",
    "Amount",
    "Body",
    "Counted",
    "FoundWrong",
    "Page",
    "Problem",
    "Resume",
    "only_text",
]

MOST_INT = 2**63 - 1
"""The largest whole number that the database can hold."""
MOST_COST = 1_000_000
T = TypeVar("T")


class Body(BaseModel):
    """Something that is sent to the API: a field that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class Resume(Body):
    """How to go on with what has stopped."""

    yes: StrictBool = Field(default=False, description="Agree to its price, where it has to be paid anew.")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list. ``next`` is the cursor of the part after it, null at the end; ``Link`` has its address."""

    items: list[T]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """How many things it was done to."""

    count: int


class FoundWrong(BaseModel):
    """One part of a request that cannot be used: where it is, such as ``body.steps``, and what is wrong with it."""

    at: str
    message: str


class Problem(BaseModel):
    """Why a request was not done (RFC 9457): ``detail`` says what happened, ``remedy`` what to do next.

    ``code`` is a word that does not change, as in ``docs/guide/api.md``; ``type`` is ``urn:limner:`` and that code.
    ``thing`` names what it is about. ``errors`` are the parts of the request that cannot be used, ``fields`` the
    settings of a recipe that cannot, ``candidates`` the bases that a lora fits, the likeliest first: one of them has
    to be named.
    """

    type: str
    code: str
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    remedy: str = ""
    thing: str = ""
    errors: list[FoundWrong] | None = None
    fields: dict[str, str] | None = None
    candidates: list[str] | None = None
