"""Paid at most once: what a trainer or generator does before and after each call that costs money.

An intent with a unique tag is written before the call and settled after it. After a crash or a lost answer the remote
job is looked for; where a vendor keeps no list to look in, nobody can tell, and the user is asked (Undecided).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from limner.errors import AnswerLost, Undecided

__all__ = ["Payments", "Purchase", "Receipt", "Unrecorded", "announce", "announcing", "find_lost", "undecided"]

LOOKS = (1.0, 3.0, 8.0)
"""Seconds before each look for a job whose answer was lost: a vendor's list may lag behind."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """One call that costs. ``request`` is what is sent, without secrets: it is kept, and a lost job is known by it.

    ``announced``: the sender calls ``announce`` right before the request goes out, so that what still waited for its
    turn when a crash came was surely not sent. Else it counts as sent from the moment that ``once`` wrote it down.
    """

    tag: str
    vendor: str
    what: str
    model: str
    estimate: Decimal
    request: Mapping[str, Any] = field(default_factory=dict)
    announced: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a call gave: the vendor's name for it, its answer where it has one, and what it cost if known."""

    reference: str
    answer: Any = None
    cost: Decimal | None = None


Send = Callable[[], Awaitable[Receipt]]
Find = Callable[[], Awaitable[Receipt | None]]


Announce = Callable[[], Awaitable[None]]
_announced: ContextVar[Announce | None] = ContextVar("limner_announced", default=None)


async def announce() -> None:
    """Say that a paid request goes out now, after any waiting for a turn. Harmless where nobody listens."""
    listener = _announced.get()
    if listener is not None:
        await listener()


@contextmanager
def announcing(listener: Announce | None) -> Iterator[None]:
    """Hear what is announced within."""
    token = _announced.set(listener)
    try:
        yield
    finally:
        _announced.reset(token)


class Payments(Protocol):
    """The book of what is bought, as trainers and generators see it."""

    async def once(self, purchase: Purchase, *, send: Send, find: Find | None = None, settle: bool = True) -> Receipt:
        """Make the call unless it was made; give its receipt, whichever run it was that made it.

        ``send`` raises AnswerLost where the call may have been done though no answer came, any other LimnerError where
        it was surely not. ``find`` looks at the vendor's for the job of this purchase: None means that it is surely not
        there; without ``find`` that can never be known. ``settle=False``: the caller settles once the answer is stored.

        SpendingRefused: a budget forbids it. Undecided: it may have been paid; ``limner costs`` says how to decide.
        """
        ...

    async def settle(self, tag: str, *, cost: Decimal | None = None, reference: str = "") -> None:
        """Say that what was bought is stored, and what it cost if known. Harmless if there is no such purchase."""
        ...

    async def failed(self, tag: str, *, cost: Decimal | None = None) -> None:
        """Say that what was bought ended without a result, so that the next run may buy it anew.

        ``cost`` is what the failure cost; None: not known, and the estimate is taken. Harmless if there is none.
        """
        ...

    async def opened_at(self, tag: str) -> datetime | None:
        """When the purchase was first written down, None if nothing is known of it."""
        ...


class Unrecorded:
    """Payments without a book: a lost answer is still looked for, but a crash forgets. For use without a store."""

    async def once(self, purchase: Purchase, *, send: Send, find: Find | None = None, settle: bool = True) -> Receipt:
        """See Payments. A job that ``find`` knows already is taken, so that a second start pays nothing."""
        del settle
        if find is not None and (found := await find()) is not None:
            return found
        try:
            return await send()
        except AnswerLost as lost:
            return await find_lost(purchase, find, lost)

    async def settle(self, tag: str, *, cost: Decimal | None = None, reference: str = "") -> None:
        """Nothing is kept."""

    async def failed(self, tag: str, *, cost: Decimal | None = None) -> None:
        """Nothing is kept."""

    async def opened_at(self, tag: str) -> datetime | None:
        """Nothing is kept."""


async def find_lost(purchase: Purchase, find: Find | None, lost: AnswerLost) -> Receipt:
    """Look for the job of a call whose answer was lost. AnswerLost: it is not there, so it was not paid. Undecided."""
    if find is None:
        raise undecided(purchase) from lost
    for seconds in LOOKS:
        await asyncio.sleep(seconds)
        found = await find()
        if found is not None:
            return found
    raise lost


def undecided(purchase: Purchase) -> Undecided:
    """The error that asks the user."""
    return Undecided(
        f"The {purchase.what} sent to {purchase.vendor} (about ${purchase.estimate:.2f}) got no answer, and "
        f"{purchase.vendor} keeps no list to look it up in: it may have been paid.",
        remedy=f"Look at your account there, then: limner costs decide {purchase.tag} again (or drop, or paid).",
        thing=purchase.tag,
    )
