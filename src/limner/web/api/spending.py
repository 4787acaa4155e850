"""What may cost: asked about first by who may not spend, or who said how much it may be at most."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, Query
from fastapi.responses import Response

from limner.errors import AccessRefused, SpendingRefused
from limner.records import Job, WhatIf
from limner.types import Estimate
from limner.web.access import Visitor
from limner.web.api.idempotency import Once
from limner.web.api.path_parameters import looked_at, started
from limner.web.visit import StudioOf, Visit

__all__ = ["LOOKED_AT", "Spending", "WhatIfAsked", "refuse_dear"]

LOOKED_AT: dict[int | str, dict[str, Any]] = {
    200: {"model": WhatIf, "description": "What would be done, with ``what_if``"}
}
"""What else a route answers that may cost."""

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


class _Spending:
    """Starts a job that may cost: only looks at it with ``what_if``; refuses it where it is too dear; once a key."""

    def __init__(
        self, response: Response, visit: Visit, studio: StudioOf, once: Once, what_if: WhatIfAsked = False
    ) -> None:
        self._response, self._visit, self._studio, self._once, self._what_if = response, visit, studio, once, what_if

    def __call__(self, start: Callable[..., Any], *, yes: bool, max_cost: Decimal | None = None) -> Job | Response:
        """The job of ``start(yes=...)``, or the answer that says what ``start(what_if=True)`` does."""
        if self._what_if:
            return looked_at(start(what_if=True))
        refuse_dear(self._visit, max_cost, lambda: start(what_if=True).estimate)
        return started(self._response, self._once(self._studio, lambda: start(yes=yes)))


Spending = Annotated[_Spending, Depends(_Spending)]
"""What a route starts a job with that may cost."""
