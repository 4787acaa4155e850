"""Costs, budgets, purchases that nobody can decide but the user, and the routes from photos to pictures."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from limner.web.api.schemas.plain import Answer, Body, Money

__all__ = ["Budget", "Cost", "Costs", "Decision", "Purchase", "Route", "RouteStep"]


class Budget(Answer):
    """One budget in US dollars: ``kind`` is day, subject or total."""

    kind: str
    limit: Money
    spent: Money
    left: Money
    subject: str = ""
    words: str


class Cost(Answer):
    """One line of the ledger, in US dollars. ``amount`` is what counts: the actual cost, else the estimate."""

    at: datetime
    amount: Money
    estimated: Money | None = None
    actual: Money | None = None
    vendor: str
    what: str
    model: str = ""
    subject: str = ""
    job: str = ""
    tag: str = ""
    state: str = ""
    note: str = ""


class Costs(Answer):
    """What was spent, newest line first. ``estimated`` is the part of ``total`` that is no actual cost.

    The sums are those of the lines given; the budgets are whole.
    """

    entries: list[Cost]
    total: Money
    estimated: Money
    by_day: dict[str, Money]
    by_vendor: dict[str, Money]
    by_subject: dict[str, Money]
    budgets: list[Budget]
    undecided: int = 0


class Purchase(Answer):
    """Something that is being bought, or may have been. Where ``state`` is ``undecided``, only the user can decide."""

    tag: str
    job: str
    subject: str = ""
    vendor: str
    what: str
    model: str = ""
    estimate: Money
    state: str
    reference: str = ""
    note: str = ""
    created_at: datetime


class Decision(Body):
    """What became of an open purchase: ``again`` sends it again, ``drop`` leaves it, ``paid`` books it."""

    decision: Literal["again", "drop", "paid"]


class RouteStep(Answer):
    """One step of a route: ``stage`` is train, publish or generate."""

    stage: str
    back_end: str
    title: str
    vendor: str
    model: str
    cost: Money
    seconds: float | None = None
    certain: bool
    ready: bool = True
    note: str = ""


class Route(Answer):
    """One way from photos to pictures: whether it works here and now, its price and time, and who sees what."""

    base: str
    trainer: str
    hub: str = ""
    generator: str
    works: bool
    possible: bool
    reasons: list[str] = Field(default_factory=list)
    cost: Money
    certain: bool
    seconds: float | None = None
    sees_photos: str = ""
    sees_lora: str = ""
    steps: list[RouteStep]
    pictures: int
    notes: list[str] = Field(default_factory=list)
