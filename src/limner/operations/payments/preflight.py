"""Before anything is done or paid: findings that refuse, needs that are not met, and what would be done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from limner.blocking import run_now
from limner.errors import AccountRefused, NotReady
from limner.money.sums import dearest, total
from limner.records import WhatIf
from limner.types import BackEnd, Plan

__all__ = ["refuse_unready", "what_if"]


def refuse_unready(about: BackEnd) -> None:
    """NotReady (AccountRefused for a vendor's) if something that the back end needs is missing here."""
    for need in about.needs:
        if not need.met:
            kind = AccountRefused if about.vendor else NotReady
            raise kind(f"'{about.name}' lacks {need.name}.", remedy=need.how_to_get, thing=about.name)


def what_if(*steps: Sequence[Coroutine[Any, Any, Plan]]) -> WhatIf:
    """Ask back ends for their plans, whether or not an event loop runs in this thread.

    Each step is the back ends of which one will do it; the sum takes the dearest of each.
    """

    async def ask() -> list[list[Plan]]:
        return [list(await asyncio.gather(*step)) for step in steps]

    plans = run_now(ask())
    sums = total(dearest(plan.estimate for plan in step) for step in plans)
    return WhatIf(tuple(plan for step in plans for plan in step), sums)
