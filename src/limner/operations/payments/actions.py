"""What was spent, and paid calls that only the user can settle."""

from __future__ import annotations

from limner.operations.home.facet import Facet
from limner.records import (
    CostSummary,
    OpenPurchase,
)

__all__ = ["Payments"]


class Payments(Facet):
    """``studio.payments``: what was spent, and paid calls that only the user can settle."""

    def costs(self, slug: str = "", *, vendor: str = "", days: int | None = None) -> CostSummary:
        """The ledger: what was estimated and paid, by subject, vendor and day, and how the budgets stand."""
        from limner.operations.payments import ledger

        return ledger.summary(self._workspace, slug, vendor=vendor, days=days)

    def open(self) -> list[OpenPurchase]:
        """Paid calls of which nobody can tell whether they were done; ``decide`` settles each."""
        from limner.operations.payments import purchases

        return purchases.undecided(self._workspace)

    def decide(self, tag: str, decision: str) -> OpenPurchase:
        """Say what became of an open purchase: ``again`` sends it again, ``drop`` leaves it, ``paid`` books it."""
        from limner.operations.payments import purchases

        return purchases.decide(self._workspace, tag, decision)
