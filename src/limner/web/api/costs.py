"""Costs, purchases that only the user can decide, and routes."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Path, Query

from limner.records import CostSummary, OpenPurchase, Route
from limner.web.access import require
from limner.web.api.path_parameters import OfSubject, api_router
from limner.web.api.shapes import Body
from limner.web.visit import StudioOf

__all__ = ["router"]

router = api_router("costs")


class Decision(Body):
    """What became of an open purchase: ``again`` sends it again, ``drop`` leaves it, ``paid`` books it."""

    decision: Literal["again", "drop", "paid"]


@router.get("/costs", operation_id="get_costs", summary="See what was spent")
def costs(
    studio: StudioOf,
    subject: OfSubject = "",
    vendor: Annotated[str, Query(max_length=40, description="Only what this vendor was paid.")] = "",
    days: Annotated[int | None, Query(ge=1, le=36_500, description="Only the last days.")] = None,
) -> CostSummary:
    """The ledger, its sums by day, vendor and subject, and how the budgets stand."""
    return studio.payments.costs(subject, vendor=vendor, days=days)


@router.get("/purchases", operation_id="list_open_purchases", summary="List the purchases that are undecided")
def purchases(studio: StudioOf) -> list[OpenPurchase]:
    """Paid calls of which nobody can tell whether they were done."""
    return studio.payments.open()


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
) -> OpenPurchase:
    """``again`` sends it again and may be paid twice, ``drop`` leaves it, ``paid`` books it."""
    return studio.payments.decide(tag, wanted.decision)


@router.get("/routes", operation_id="list_routes", summary="List every way from photos to pictures", tags=["routes"])
def routes(
    studio: StudioOf,
    base: Annotated[str, Query(max_length=100, description="Only those of this base.")] = "",
    subject: OfSubject = "",
) -> list[Route]:
    """Whether each works here and now, its price and time, and who sees the photos."""
    return studio.runs.routes(base=base, subject=subject)
