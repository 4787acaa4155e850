"""What was spent: the ledger's lines, their sums by day, vendor and subject, and how far the budgets go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import select

from limner.errors import InputRefused
from limner.money.budgets import check_budgets
from limner.money.consent import check_consent
from limner.operations.home.workspace import Workspace
from limner.operations.payments.intents import budgets_of
from limner.operations.payments.purchases import undecided
from limner.records import Cost, CostSummary
from limner.store.models import IntentRow, LedgerRow, SubjectRow
from limner.types import Budget, Estimate

__all__ = ["allow", "budgets", "entries", "summary"]


def entries(
    workspace: Workspace, *, subject: str = "", vendor: str = "", job: str = "", days: int | None = None
) -> list[Cost]:
    """The ledger's lines, newest first; ``days`` is how many days back to go, today (UTC) being one."""
    query = select(LedgerRow, IntentRow).outerjoin(IntentRow, IntentRow.tag == LedgerRow.intent)
    for column, wanted in ((LedgerRow.subject, subject), (LedgerRow.vendor, vendor), (LedgerRow.job, job)):
        if wanted:
            query = query.where(column == wanted)
    if days is not None:
        query = query.where(LedgerRow.created_at >= _start(days))
    with workspace.database.read() as session:
        rows = session.execute(query.order_by(LedgerRow.created_at.desc(), LedgerRow.id.desc())).all()
    return [_cost(line, intent) for line, intent in rows]


def _start(days: int) -> datetime:
    if not 1 <= days <= 36_500:
        raise InputRefused(f"{days} days cannot be looked at.", remedy="Ask for one day or more.", thing="days")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days - 1)


def _cost(line: LedgerRow, intent: IntentRow | None) -> Cost:
    counted = line.estimated if line.actual is None else line.actual
    return Cost(
        at=line.created_at,
        amount=counted or Decimal(0),
        estimated=line.estimated,
        actual=line.actual,
        vendor=line.vendor,
        what=line.what,
        model=intent.model if intent else "",
        subject=line.subject or "",
        job=line.job,
        tag=line.intent or "",
        state=intent.state if intent else "",
        note=line.note,
    )


def summary(workspace: Workspace, subject: str = "", *, vendor: str = "", days: int | None = None) -> CostSummary:
    """The lines with their sums, and the budgets; that of the subject where one is named."""
    found = entries(workspace, subject=subject, vendor=vendor, days=days)
    return CostSummary(
        entries=tuple(found),
        total=sum((cost.amount for cost in found), Decimal(0)),
        estimated=sum((cost.amount for cost in found if cost.actual is None), Decimal(0)),
        by_day=_sums((cost.at.astimezone(UTC).date().isoformat(), cost.amount) for cost in found),
        by_vendor=_sums((cost.vendor, cost.amount) for cost in found),
        by_subject=_sums((cost.subject, cost.amount) for cost in found),
        budgets=tuple(budgets(workspace, subject)),
        undecided=len(undecided(workspace)),
    )


def _sums(pairs: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for name, amount in pairs:
        sums[name] += amount
    return {name: amount for name, amount in sums.items() if amount}


def budgets(workspace: Workspace, subject: str = "") -> list[Budget]:
    """The budgets that are set, and what is spent of each."""
    with workspace.database.read() as session:
        own = workspace.owner is None or session.get(SubjectRow, subject) is not None
    # The budgets are this home's: what everybody spends counts against them.
    with workspace.everyone.database.read() as session:
        return budgets_of(session, workspace.settings, subject if own else None)


def allow(
    workspace: Workspace, estimate: Estimate, *, subject: str = "", yes: bool = False, what: str = "step"
) -> None:
    """Ask whether a whole step may be paid for, before its first purchase. SpendingRefused, ConsentNeeded.

    Each purchase is held against the budgets again when it is made: others may have spent meanwhile.
    """
    check_budgets(budgets(workspace, subject), estimate.amount, what=what)
    check_consent(estimate, workspace.settings.consent_above, yes, what=f"The {what}")
