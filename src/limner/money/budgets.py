"""Budgets: what may be spent a day, on a subject and in all; a step beyond one is refused, not warned of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from limner.errors import SpendingRefused
from limner.money.prices import usd
from limner.wire import Money, shows

__all__ = ["BUDGETS", "Budget", "check_budgets"]

BUDGETS = {
    "day": "for today (UTC)",
    "subject": "for '{subject}'",
    "total": "in all",
}
"""The kinds of budget, which are the settings ``budget_<kind>``, and what each is for."""


@shows("left", "words")
@dataclass(frozen=True, slots=True)
class Budget:
    """One budget: ``kind`` names its setting ``budget_<kind>``; ``spent`` counts what is being bought now too."""

    kind: str
    limit: Money
    spent: Money
    subject: str = ""

    @property
    def left(self) -> Money:
        """What may still be spent, never below zero."""
        return max(Decimal(0), self.limit - self.spent)

    @property
    def words(self) -> str:
        """What it is for: ``for today (UTC)``, ``for 'rex'``, ``in all``."""
        return BUDGETS[self.kind].format(subject=self.subject)


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
