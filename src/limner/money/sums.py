"""Estimates added up and compared."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from limner.types import Estimate

__all__ = ["dearest", "total"]


def total(estimates: Iterable[Estimate]) -> Estimate:
    """All of them, one after the other; certain only if each is, and of known time only if each has one."""
    parts = list(estimates)
    seconds = [part.seconds for part in parts]
    known = [value for value in seconds if value is not None]
    return Estimate(
        amount=sum((part.amount for part in parts), Decimal(0)),
        seconds=sum(known) if len(known) == len(seconds) else None,
        certain=all(part.certain for part in parts),
        note="; ".join(dict.fromkeys(part.note for part in parts if part.note and part.amount)),
    )


def dearest(estimates: Iterable[Estimate]) -> Estimate:
    """The one that costs most, to ask about where any of them may come to be done; a guess counts before a price."""
    return max(estimates, key=lambda one: (one.amount, not one.certain), default=Estimate())
