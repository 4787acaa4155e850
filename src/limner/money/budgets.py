"""Budgets: what may be spent a day, on a subject and in all; a step beyond one is refused, not warned of."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from limner.errors import SpendingRefused
from limner.money.prices import usd
from limner.types import Budget

__all__ = ["check_budgets"]


def check_budgets(budgets: Iterable[Budget], cost: Decimal, *, what: str) -> None:
    """Refuse a step that would go beyond a budget. SpendingRefused names it, what is spent, and its setting."""
    for budget in budgets:
        if cost > 0 and budget.spent + cost > budget.limit:
            later = " It is a new day at midnight UTC." if budget.kind == "day" else ""
            raise SpendingRefused(
                f"The {what} costs about {usd(cost)}, and of the budget of {usd(budget.limit)} {budget.words} "
                f"{usd(budget.spent)} is spent: it would be exceeded. Nothing was sent.",
                remedy=f"Raise LIMNER_BUDGET_{budget.kind.upper()} (budget_{budget.kind} in limner.toml).{later}",
                thing=f"budget_{budget.kind}",
            )
