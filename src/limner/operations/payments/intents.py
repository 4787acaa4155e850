"""The life of a purchase in the database: its intent and its line in the ledger. A function is part of a transaction.

waiting ──► open ──► answered ──► settled        paid: the ledger's actual cost, else its estimate, counts
   │          ├────► undecided ──► (the user) ──► settled, refused or dropped
   └──────────┴────► refused                     surely not paid: the next run buys it
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from limner.money.budgets import check_budgets
from limner.money.payments import Purchase, Receipt
from limner.settings import Settings
from limner.store.models import IntentRow, LedgerRow, now
from limner.types import Budget
from limner.vendors.secrets.redaction import redact

__all__ = [
    "PENDING",
    "IntentState",
    "Standing",
    "budgets_of",
    "buy_again",
    "claim",
    "drop",
    "forget_subject",
    "keep_answer",
    "opened",
    "refuse",
    "settle",
    "undecide",
    "without_secrets",
]

LONGEST_TEXT = 2000
"""Characters of one value of a request that are kept: a picture sent within a request is not what rows are for."""


class IntentState(StrEnum):
    """Where a purchase is."""

    WAITING = "waiting"
    """Written down, and surely not sent yet."""
    OPEN = "open"
    """It may be with the vendor."""
    ANSWERED = "answered"
    """Bought, and its answer not stored yet."""
    SETTLED = "settled"
    """Bought and stored."""
    REFUSED = "refused"
    """Surely not bought; the next run tries again."""
    UNDECIDED = "undecided"
    """Nobody can tell: the user decides."""
    DROPPED = "dropped"
    """The user does not want it again."""


PENDING = (IntentState.WAITING, IntentState.OPEN, IntentState.ANSWERED, IntentState.UNDECIDED)
_FREE = (IntentState.WAITING, IntentState.REFUSED)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a purchase. ``claimed``: it is the caller's to send, because it surely was not sent before."""

    state: IntentState
    claimed: bool = False
    vendor: str = ""
    reference: str = ""
    cost: Decimal | None = None


def budgets_of(session: Session, settings: Settings, subject: str | None, *, besides: str = "") -> list[Budget]:
    """The budgets that are set, with what is spent of each; ``besides`` is a tag that is not counted."""
    spent = select(func.coalesce(func.sum(func.coalesce(LedgerRow.actual, LedgerRow.estimated, 0)), 0))
    if besides:
        spent = spent.where(or_(LedgerRow.intent.is_(None), LedgerRow.intent != besides))
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    for kind, limit, query in (
        ("day", settings.budget_day, spent.where(LedgerRow.created_at >= midnight)),
        ("subject", settings.budget_subject if subject else None, spent.where(LedgerRow.subject == subject)),
        ("total", settings.budget_total, spent),
    ):
        if limit is not None:
            amount = Decimal(str(session.scalar(query))).quantize(Decimal("0.000001"))
            found.append(Budget(kind, limit, amount, subject or ""))
    return found


def claim(session: Session, settings: Settings, purchase: Purchase, *, job: str, subject: str | None) -> Standing:
    """Write the intent and the ledger's estimate, unless it was sent before. SpendingRefused: a budget forbids it."""
    row = session.get(IntentRow, purchase.tag)
    if row is not None and row.state not in _FREE:
        return _standing(session, row)
    what = f"{purchase.what} at {purchase.vendor}"
    check_budgets(budgets_of(session, settings, subject, besides=purchase.tag), purchase.estimate, what=what)
    state = IntentState.WAITING if purchase.announced else IntentState.OPEN
    facts = {
        "job": job,
        "subject": subject,
        "vendor": purchase.vendor,
        "what": purchase.what,
        "created_at": now(),
    }
    row = row or IntentRow(tag=purchase.tag)
    intent = {
        **facts,
        "model": purchase.model[:120],
        "estimate": purchase.estimate,
        "request": without_secrets(purchase.request),
        "state": state,
        "reference": "",
        "note": "",
        "settled_at": None,
    }
    line = _line(session, purchase.tag) or LedgerRow(intent=purchase.tag)
    for name, value in intent.items():
        setattr(row, name, value)
    for name, value in {**facts, "estimated": purchase.estimate, "actual": None, "note": ""}.items():
        setattr(line, name, value)
    session.add_all([row, line])
    return Standing(state, claimed=True, vendor=purchase.vendor)


def opened(session: Session, tag: str) -> None:
    """It goes out now."""
    session.get_one(IntentRow, tag).state = IntentState.OPEN


def refuse(session: Session, tag: str, why: str) -> None:
    """It was surely not bought, so it costs nothing; the next run tries again."""
    _end(session, tag, IntentState.REFUSED, why)
    if (line := _line(session, tag)) is not None:
        line.actual, line.note = Decimal(0), redact(why)


def keep_answer(session: Session, tag: str, receipt: Receipt, *, settled: bool) -> None:
    """The vendor answered: keep its name for what was bought and the cost; settled if nothing is left to store."""
    row = session.get_one(IntentRow, tag)
    row.state = IntentState.ANSWERED
    row.reference, row.note = redact(receipt.reference), ""
    _cost(session, tag, receipt.cost)
    if settled:
        settle(session, tag, cost=None, reference="")


def settle(session: Session, tag: str, *, cost: Decimal | None, reference: str) -> None:
    """What was bought is stored. Harmless if there is no such purchase; a cost that becomes known later is taken."""
    row = session.get(IntentRow, tag)
    if row is None:
        return
    row.state, row.note = IntentState.SETTLED, ""
    row.settled_at = row.settled_at or now()
    row.reference = redact(reference) or row.reference
    _cost(session, tag, cost)


def undecide(session: Session, tag: str, why: str) -> None:
    """Nobody can tell; the estimate goes on counting."""
    _end(session, tag, IntentState.UNDECIDED, why)


def drop(session: Session, tag: str, *, paid: bool) -> None:
    """The user does not want it again, and says whether it was paid."""
    _end(session, tag, IntentState.DROPPED, f"you decided: {'paid' if paid else 'not paid'}, not wanted again")
    line = _line(session, tag)
    if line is not None:
        line.note = "you decided"
        line.actual = (line.actual if line.actual is not None else line.estimated) if paid else Decimal(0)


def spoil(session: Session, tag: str, *, cost: Decimal | None) -> None:
    """It was bought, and failed at the vendor: the next run buys it. Harmless if there is no such purchase."""
    if session.get(IntentRow, tag) is None:
        return
    _cost(session, tag, cost)
    buy_again(session, tag, why="it failed at the vendor")


def buy_again(session: Session, tag: str, why: str = "you decided: again") -> None:
    """The next run buys it again. What is known to be paid stays in the ledger, on its own line."""
    row, line = session.get_one(IntentRow, tag), _line(session, tag)
    paid = bool(row.reference) or row.state == IntentState.SETTLED
    row.reference = ""
    _end(session, tag, IntentState.REFUSED, why)
    if line is None:
        return
    if line.actual or (paid and line.actual is None):
        line.actual = line.estimated if line.actual is None else line.actual
        line.intent, line.note = None, f"paid, and bought again later ({tag})"
    else:
        line.actual, line.note = Decimal(0), f"not paid ({why})"


def forget_subject(session: Session, slug: str, *, jobs: Collection[str], orders: Collection[str]) -> None:
    """Erase what purchases say of a subject: requests, slugs, names at the vendor. Amounts and days stay.

    ``jobs`` are the ids of its jobs, ``orders`` those of its trainings and of the generations that show it.
    """
    known, makers = set(jobs), set(orders)
    tags = [
        row.tag
        for row in session.execute(select(IntentRow.tag, IntentRow.job, IntentRow.subject))
        if row.subject == slug or row.job in known or row.tag in makers or row.tag.rpartition("-")[0] in makers
    ]
    nothing: dict[str, Any] = {"subject": None, "request": {}, "reference": "", "model": "", "note": ""}
    for start in range(0, len(tags), 500):
        some = tags[start : start + 500]
        session.execute(update(IntentRow).where(IntentRow.tag.in_(some)).values(nothing))
        session.execute(update(LedgerRow).where(LedgerRow.intent.in_(some)).values(subject=None, note=""))
    session.execute(update(LedgerRow).where(LedgerRow.subject == slug).values(subject=None, note=""))


def without_secrets(value: Any) -> Any:
    """A request as rows keep it: no token, no bytes, no text that is too long to be words."""
    if isinstance(value, Mapping):
        return {redact(str(key)): without_secrets(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [without_secrets(entry) for entry in value]
    if isinstance(value, bytes):
        return f"({len(value)} bytes, {sha256(value).hexdigest()[:12]}…)"
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if json.dumps(value) not in ("NaN", "Infinity", "-Infinity") else str(value)
    text = redact(str(value))
    if len(text) > LONGEST_TEXT:
        return f"{text[:100]}… ({len(text)} characters, {sha256(text.encode()).hexdigest()[:12]}…)"
    return text


def _line(session: Session, tag: str) -> LedgerRow | None:
    return session.scalars(select(LedgerRow).where(LedgerRow.intent == tag)).one_or_none()


def _cost(session: Session, tag: str, cost: Decimal | None) -> None:
    line = _line(session, tag)
    if line is not None and cost is not None:
        line.actual, line.note = cost, ""


def _end(session: Session, tag: str, state: IntentState, why: str) -> None:
    row = session.get(IntentRow, tag)
    if row is not None:
        row.state, row.note = state, redact(why)


def _standing(session: Session, row: IntentRow) -> Standing:
    line = _line(session, row.tag)
    cost = line.actual if line is not None else None
    return Standing(IntentState(row.state), vendor=row.vendor, reference=row.reference, cost=cost)
