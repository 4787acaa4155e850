"""Paid at most once: the book of purchases that trainers and generators are given, and the user's own decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import TypeVar

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from limner.errors import AnswerLost, Conflict, InputRefused, LimnerError, NotFound, Undecided
from limner.money import payments
from limner.money.payments import Purchase, Receipt, announcing, find_lost
from limner.money.payments import undecided as undecided_error
from limner.money.prices import usd
from limner.operations.home.workspace import Workspace
from limner.operations.payments import batch_writer, intents
from limner.operations.payments.intents import PENDING, IntentState, Standing
from limner.operations.payments.purchase_lock import alone, release, take
from limner.records import OpenPurchase
from limner.store.models import GenerationRow, IntentRow, JobRow
from limner.types import UNDER_WAY, JobState

__all__ = ["DECISIONS", "StoredPayments", "decide", "given_up", "undecided"]

Found = TypeVar("Found")
Send = Callable[[], Awaitable[Receipt]]
Find = Callable[[], Awaitable[Receipt | None]]

DECISIONS = {
    "again": "buy it when the job goes on",
    "drop": "it was not paid, and is not wanted any more",
    "paid": "it was paid, and is not bought again",
}


class StoredPayments:
    """Payments over the database of a workspace, for one job and the subject that it is for ("" for none)."""

    def __init__(self, workspace: Workspace, job: str, subject: str | None = None) -> None:
        self._workspace = workspace
        self._job = job
        self._subject = subject or None

    async def once(self, purchase: Purchase, *, send: Send, find: Find | None = None, settle: bool = True) -> Receipt:
        """Make the call unless it was made, by whichever task, process or run; see Payments.

        SpendingRefused: a budget forbids it. Undecided: it may have been paid, or the user said not to buy it again.
        """
        async with alone(self._workspace.home, purchase.tag):
            standing = await self._claim(purchase)
            if standing.claimed:
                return await self._send(purchase, send, find, settle)
            return await self._again(purchase, standing, send, find, settle)

    async def settle(self, tag: str, *, cost: Decimal | None = None, reference: str = "") -> None:
        """Say that what was bought is stored, and what it cost if known. Harmless if there is no such purchase."""
        await self._write(lambda session: intents.settle(session, tag, cost=cost, reference=reference))

    async def failed(self, tag: str, *, cost: Decimal | None = None) -> None:
        """Say that what was bought ended without a result: the next run may buy it anew, under the same tag."""
        await self._write(lambda session: intents.spoil(session, tag, cost=cost))

    async def opened_at(self, tag: str) -> datetime | None:
        """When the purchase was first written down, None if nothing is known of it."""

        def look() -> datetime | None:
            with self._workspace.database.read() as session:
                return session.scalar(select(IntentRow.created_at).where(IntentRow.tag == tag))

        return await asyncio.to_thread(look)

    async def _write(self, work: Callable[[Session], Found]) -> Found:
        """Write, to the end even when the task is cancelled meanwhile: what is then known must not be forgotten."""
        writing = asyncio.wrap_future(batch_writer.write(self._workspace.database, work))
        stopped: asyncio.CancelledError | None = None
        while not writing.done():
            try:
                await asyncio.wait([writing])
            except asyncio.CancelledError as wish:
                stopped = wish
        if stopped is not None:
            writing.exception()  # looked at, so that nobody is told of it twice
            raise stopped
        return writing.result()

    async def _claim(self, purchase: Purchase) -> Standing:
        mine: list[Standing] = []

        def work(session: Session) -> Standing:
            settings = self._workspace.settings
            mine.append(intents.claim(session, settings, purchase, job=self._job, subject=self._subject))
            return mine[0]

        try:
            return await self._write(work)
        except asyncio.CancelledError:
            if mine and mine[0].claimed:
                await self._write(partial(intents.refuse, tag=purchase.tag, why="stopped before it was sent"))
            raise

    async def _send(self, purchase: Purchase, send: Send, find: Find | None, settle: bool) -> Receipt:
        tag = purchase.tag
        told = False

        async def going_out() -> None:
            nonlocal told
            if not told:
                await self._write(partial(intents.opened, tag=tag))
                told = True

        try:
            with announcing(going_out if purchase.announced else None):
                receipt = await send()
        except AnswerLost as lost:
            receipt = await self._look(purchase, find, lost)
        except Undecided as unknown:
            await self._write(partial(intents.undecide, tag=tag, why=unknown.message))
            raise
        except LimnerError as refusal:
            await self._write(partial(intents.refuse, tag=tag, why=refusal.message))
            raise
        except BaseException:
            # Stopped, or a mistake of ours: unless it was about to go out, it surely did not.
            if purchase.announced and not told:
                await self._write(partial(intents.refuse, tag=tag, why="stopped before it was sent"))
            raise
        return await self._keep(tag, receipt, settle)

    async def _look(self, purchase: Purchase, find: Find | None, lost: AnswerLost) -> Receipt:
        """Look for what a lost answer may have bought."""
        try:
            return await find_lost(purchase, find, lost)
        except Undecided as unknown:
            await self._write(partial(intents.undecide, tag=purchase.tag, why=lost.message))
            raise unknown from lost
        except AnswerLost:
            await self._write(partial(intents.refuse, tag=purchase.tag, why="lost, and not found at the vendor"))
            raise AnswerLost(
                f"The {purchase.what} sent to {purchase.vendor} got no answer, and {purchase.vendor} does not list it: "
                "it was not done and not paid.",
                remedy="Let the job go on to send it again: limner jobs resume",
                thing=purchase.tag,
            ) from lost

    async def _again(
        self, purchase: Purchase, standing: Standing, send: Send, find: Find | None, settle: bool
    ) -> Receipt:
        """An earlier run had sent it, or may have."""
        if standing.state is IntentState.DROPPED:
            raise Undecided(
                f"You decided that the {purchase.what} {purchase.tag} is not to be bought again.",
                remedy=f"If you want it after all: limner costs decide {purchase.tag} again",
                thing=purchase.tag,
            )
        if standing.state is IntentState.SETTLED and settle:
            return Receipt(standing.reference, cost=standing.cost)
        # What another vendor may have done is not in this one's list.
        if find is not None and standing.vendor == purchase.vendor:
            found = await _patiently(find)
            if found is not None:
                return await self._keep(purchase.tag, found, settle)
            # Answered means surely there once, so that its absence now says nothing.
            if standing.state in (IntentState.OPEN, IntentState.UNDECIDED) and not standing.reference:
                await self._write(partial(intents.opened, tag=purchase.tag))
                return await self._send(purchase, send, find, settle)
        if standing.state is IntentState.SETTLED:
            raise Undecided(
                f"The {purchase.what} {purchase.tag} was bought and stored before; {purchase.vendor} does not keep it.",
                remedy=f"To buy another: limner costs decide {purchase.tag} again",
                thing=purchase.tag,
            )
        await self._write(partial(intents.undecide, tag=purchase.tag, why="the process ended before its end was known"))
        raise _unknown(purchase, standing)

    async def _keep(self, tag: str, receipt: Receipt, settle: bool) -> Receipt:
        await self._write(partial(intents.keep_answer, tag=tag, receipt=receipt, settled=settle))
        return receipt


async def _patiently(find: Find) -> Receipt | None:
    """Look more than once: right after a crash a vendor's list may lag behind, and not there means paid again."""
    for seconds in (0.0, *payments.LOOKS):
        await asyncio.sleep(seconds)
        found = await find()
        if found is not None:
            return found
    return None


def _unknown(purchase: Purchase, standing: Standing) -> Undecided:
    if standing.vendor == purchase.vendor and not standing.reference:
        return undecided_error(purchase)
    if standing.vendor != purchase.vendor:
        message = f"The {purchase.what} {purchase.tag} may have been bought at {standing.vendor} before."
    else:
        message = (
            f"The {purchase.what} {purchase.tag} was bought at {purchase.vendor} (about {usd(purchase.estimate)}), but "
            f"the process ended before it was stored, and {purchase.vendor} does not keep it."
        )
    return Undecided(
        message,
        remedy=f"Buy it again: limner costs decide {purchase.tag} again, or do without: ... {purchase.tag} paid",
        thing=purchase.tag,
    )


def undecided(workspace: Workspace) -> list[OpenPurchase]:
    """What may have been bought and waits for the user's word, oldest first: no job that still runs will tell."""
    query = (
        select(IntentRow)
        .outerjoin(JobRow, JobRow.id == IntentRow.job)
        .where(
            or_(
                IntentRow.state == IntentState.UNDECIDED,
                IntentRow.state.in_(PENDING) & or_(JobRow.state.is_(None), JobRow.state.not_in(UNDER_WAY)),
            )
        )
        .order_by(IntentRow.created_at, IntentRow.tag)
    )
    with workspace.database.read() as session:
        return [_record(row) for row in session.scalars(query)]


def given_up(workspace: Workspace, order: str) -> frozenset[int]:
    """The pictures of a generation that the user does without, by index: not bought again, or deleted when drawn."""
    query = select(IntentRow.tag).where(
        IntentRow.state == IntentState.DROPPED, IntentRow.tag.startswith(f"{order}-", autoescape=True)
    )
    with workspace.database.read() as session:
        ends = [tag.rpartition("-")[2] for tag in session.scalars(query)]
        row = session.get(GenerationRow, order)
        return frozenset(int(end) for end in ends if end.isdecimal()).union(row.without if row is not None else ())


def _record(row: IntentRow) -> OpenPurchase:
    return OpenPurchase(
        tag=row.tag,
        job=row.job,
        subject=row.subject or "",
        vendor=row.vendor,
        what=row.what,
        model=row.model,
        estimate=row.estimate,
        state=row.state,
        reference=row.reference,
        note=row.note,
        created_at=row.created_at,
    )


def decide(workspace: Workspace, tag: str, decision: str) -> OpenPurchase:
    """The user's word on a purchase that nobody can tell about: ``again``, ``drop`` or ``paid``; see DECISIONS.

    NotFound: no such purchase. Conflict: it is being bought right now, or is done and stored. InputRefused.
    """
    if decision not in DECISIONS:
        known = "; ".join(f"{word}: {meaning}" for word, meaning in DECISIONS.items())
        raise InputRefused(f"'{decision}' is no decision.", remedy=f"Say one of {known}.", thing=decision)
    if not take(workspace.home, tag):
        raise Conflict(f"{tag} is being bought right now.", remedy="Wait for its job, or cancel it.", thing=tag)
    try:
        return batch_writer.write(workspace.database, partial(_decide, tag=tag, decision=decision)).result()
    finally:
        release(workspace.home, tag)


def _decide(session: Session, tag: str, decision: str) -> OpenPurchase:
    row = session.get(IntentRow, tag)
    if row is None:
        raise NotFound(f"There is no purchase '{tag}'.", remedy="List the open ones: limner costs open", thing=tag)
    job = session.get(JobRow, row.job) if row.state in PENDING and row.state != IntentState.UNDECIDED else None
    if job is not None and not JobState(job.state).ended:
        raise Conflict(f"{tag} is being bought by {job.id}.", remedy="Wait for that job, or cancel it.", thing=tag)
    if decision == "again":
        intents.buy_again(session, tag)
    elif row.state in (IntentState.SETTLED, IntentState.REFUSED):
        what = "is bought and stored" if row.state == IntentState.SETTLED else "was not bought"
        raise Conflict(
            f"{tag} {what}: nothing is to be decided.", remedy="List the open ones: limner costs open", thing=tag
        )
    else:
        intents.drop(session, tag, paid=decision == "paid")
    session.flush()
    return _record(row)
