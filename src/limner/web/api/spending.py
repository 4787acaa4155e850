"""What may cost: asked about first by who may not spend, or who said how much it may be at most."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated

from fastapi import Query

from limner.errors import AccessRefused, SpendingRefused
from limner.types import Estimate
from limner.web.access import Visitor

__all__ = ["WhatIfAsked", "refuse_dear"]

WhatIfAsked = Annotated[
    bool, Query(description="Only say what would be done and what it costs; nothing is sent that costs.")
]


def refuse_dear(visit: Visitor, max_cost: Decimal | None, estimate: Callable[[], Estimate]) -> None:
    """AccessRefused: it costs, and the token may not spend. SpendingRefused: it costs more than ``max_cost``."""
    if max_cost is None and "spend" in visit.scopes:
        return
    found = estimate()
    if "spend" not in visit.scopes and (found.amount > 0 or not found.certain):
        raise AccessRefused(
            f"This costs about ${found.amount:.2f}, and the token lacks the scope 'spend'.",
            remedy="Make a token that has it (limner tokens add), or choose what is done on this machine.",
            thing="spend",
        )
    if max_cost is not None and found.amount > max_cost:
        raise SpendingRefused(
            f"This costs about ${found.amount:.2f}, more than the ${max_cost:.2f} of max_cost. Nothing was sent.",
            remedy="Raise max_cost, or ask for less; ?what_if=true says what it is made of.",
            thing="max_cost",
        )
