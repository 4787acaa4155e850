"""Costs, purchases that only the user can decide, and routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query

from limner.web.access import require
from limner.web.api.named import OfSubject, all_of, api_router
from limner.web.api.schemas.money import Costs, Decision, Purchase, Route
from limner.web.visit import StudioOf

__all__ = ["router"]

router = api_router("costs")


@router.get("/costs", operation_id="get_costs", summary="See what was spent")
def costs(
    studio: StudioOf,
    subject: OfSubject = "",
    vendor: Annotated[str, Query(max_length=40, description="Only what this vendor was paid.")] = "",
    days: Annotated[int | None, Query(ge=1, le=36_500, description="Only the last days.")] = None,
) -> Costs:
    """The ledger, its sums by day, vendor and subject, and how the budgets stand."""
    return Costs.model_validate(studio.payments.costs(subject, vendor=vendor, days=days))


@router.get("/purchases", operation_id="list_open_purchases", summary="List the purchases that are undecided")
def purchases(studio: StudioOf) -> list[Purchase]:
    """Paid calls of which nobody can tell whether they were done."""
    return all_of(Purchase, studio.payments.open())


@router.post(
    "/purchases/{tag}/decision",
    operation_id="decide_purchase",
    summary="Say what became of a purchase",
    dependencies=[Depends(require("spend"))],
)
def decide(
    studio: StudioOf,
    tag: Annotated[str, Path(min_length=1, max_length=200, description="The purchase's tag.")],
    wanted: Decision,
) -> Purchase:
    """``again`` sends it again and may be paid twice, ``drop`` leaves it, ``paid`` books it."""
    return Purchase.model_validate(studio.payments.decide(tag, wanted.decision))


@router.get("/routes", operation_id="list_routes", summary="List every way from photos to pictures", tags=["routes"])
def routes(
    studio: StudioOf,
    base: Annotated[str, Query(max_length=100, description="Only those of this base.")] = "",
    subject: OfSubject = "",
) -> list[Route]:
    """Whether each works here and now, its price and time, and who sees the photos."""
    return all_of(Route, studio.runs.routes(base=base, subject=subject))
