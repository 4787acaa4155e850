"""Consent: a step that costs more than goes without asking, or nobody knows what, waits for the user's yes."""

from __future__ import annotations

from decimal import Decimal

from limner.errors import ConsentNeeded
from limner.money.prices import usd
from limner.types import Estimate

__all__ = ["check_consent", "in_words"]


def in_words(estimate: Estimate) -> str:
    """An estimate's amount for people: ``about $2.40``, ``perhaps $2.40``, ``an unknown amount``, ``nothing``."""
    if not estimate.amount:
        return "nothing" if estimate.certain else "an unknown amount"
    return f"{'about' if estimate.certain else 'perhaps'} {usd(estimate.amount)}"


def check_consent(estimate: Estimate, consent_above: Decimal, yes: bool, *, what: str = "This") -> None:
    """Ask before a step that costs more than ``consent_above`` US dollars, or whose price is a guess.

    ConsentNeeded says the amount; with ``yes`` it is never raised.
    """
    if yes or (estimate.certain and estimate.amount <= consent_above):
        return
    note = f" ({estimate.note})" if estimate.note else ""
    guess = "" if estimate.certain else " The vendor publishes no price that we could read, so this is a guess."
    raise ConsentNeeded(
        f"{what} is {in_words(estimate)}{note}.{guess} Nothing was sent.",
        remedy=f"Say yes with --yes. Up to {usd(consent_above)} goes without asking (LIMNER_CONSENT_ABOVE).",
        thing="consent_above",
    )
