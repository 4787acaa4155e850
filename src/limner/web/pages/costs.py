"""Costs: what was paid, how far the budgets go, and what only the user can decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from limner.errors import Conflict, InputRefused, LimnerError
from limner.money.exports import export_text
from limner.money.prices import usd
from limner.records import Cost, CostSummary
from limner.studio import Studio
from limner.web.access import require
from limner.web.access.identity import visitor_of
from limner.web.visit import Notice, Sent, StudioOf, back, page

__all__ = ["router"]

router = APIRouter()

Text = Annotated[str, Form()]
RANGES = {"1": "Today", "7": "7 days", "30": "30 days", "365": "A year", "all": "All"}
MOST_LINES = 60
LONGEST_BY_DAY = 92
BUDGETS = ("budget_day", "budget_subject", "budget_total", "consent_above")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is looked at: a range of days and a subject."""

    days: str
    subject: str

    @property
    def number(self) -> int | None:
        return None if self.days == "all" else int(self.days)

    def link(self, **changed: str) -> str:
        """The address of the page with something changed."""
        wanted = {"days": self.days, "subject": self.subject} | changed
        return "?" + urlencode({name: value for name, value in wanted.items() if value})


def _chosen(days: str, subject: str) -> Chosen:
    return Chosen(days if days in RANGES else "30", subject[:64])


@router.get("/costs")
def costs(request: Request, studio: StudioOf, days: str = "30", subject: str = "") -> Response:
    """What was paid, by day, vendor and subject, with the budgets and what is open."""
    return _page(request, studio, _chosen(days, subject))


def _page(
    request: Request,
    studio: Studio,
    chosen: Chosen,
    *,
    typed: dict[str, str] | None = None,
    refusal: LimnerError | None = None,
) -> Response:
    found = studio.payments.costs(chosen.subject, days=chosen.number)
    report = studio.settings_file.report()
    return page(
        request,
        "pages/costs.html",
        status=refusal.status if refusal else 200,
        found=found,
        chosen=chosen,
        ranges=[(key, words, chosen.link(days=key)) for key, words in RANGES.items()],
        subjects=studio.subjects.all(),
        by_day=_by_day(found, chosen.number),
        by_vendor=_largest(_bars(found.entries, lambda cost: cost.vendor)),
        by_subject=_largest(_bars(found.entries, lambda cost: cost.subject or "without a subject")),
        actual=found.total - found.estimated,
        lines=found.entries[:MOST_LINES],
        more=max(0, len(found.entries) - MOST_LINES),
        purchases=studio.payments.open(),
        may_spend="spend" in visitor_of(request).scopes,
        settings=[report[name] for name in BUDGETS],
        seen=report.seen,
        typed=typed or {},
        wrong=getattr(refusal, "fields", {}),
        refusal=refusal,
        nav="costs",
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """A sum under a name, and how much of it is no actual cost."""

    name: str
    billed: Decimal
    estimated: Decimal

    @property
    def total(self) -> Decimal:
        return self.billed + self.estimated

    @property
    def words(self) -> str:
        if not self.estimated:
            return usd(self.total)
        part = "estimated" if not self.billed else f"{usd(self.estimated)} of it estimated"
        return f"{usd(self.total)}, {part}"


def _bars(entries: Iterable[Cost], key: Callable[[Cost], str], names: Iterable[str] = ()) -> list[Bar]:
    """The sums by a key, those of ``names`` also where there are none."""
    sums: dict[str, list[Decimal]] = {name: [Decimal(0), Decimal(0)] for name in names}
    for cost in entries:
        sums.setdefault(key(cost), [Decimal(0), Decimal(0)])[cost.actual is None] += cost.amount
    return [Bar(name, *both) for name, both in sums.items()]


def _largest(bars: list[Bar]) -> list[Bar]:
    return sorted((bar for bar in bars if bar.total), key=lambda bar: -bar.total)


def _by_day(found: CostSummary, days: int | None) -> list[Bar]:
    """Every day of the range, those without a cost too; a long range by months."""
    today = datetime.now(UTC).date()
    first = today - timedelta(days=days - 1) if days else min((_day(cost) for cost in found.entries), default=today)
    if (today - first).days > LONGEST_BY_DAY:
        months, month = [], first.replace(day=1)
        while month <= today:
            months.append(f"{month:%Y-%m}")
            month = (month + timedelta(days=32)).replace(day=1)
        return _bars(found.entries, lambda cost: f"{_day(cost):%Y-%m}", months)
    every = [str(first + timedelta(days=number)) for number in range((today - first).days + 1)]
    return _bars(found.entries, lambda cost: str(_day(cost)), every)


def _day(cost: Cost) -> date:
    return cost.at.astimezone(UTC).date()


@router.get("/costs/export")
def export(studio: StudioOf, days: str = "30", subject: str = "", kind: str = "csv") -> Response:
    """Every single cost of the range, as a file for spreadsheets or programs."""
    chosen = _chosen(days, subject)
    suffix = ".json" if kind == "json" else ".csv"
    text = export_text(studio.payments.costs(chosen.subject, days=chosen.number), suffix)
    name = f"limner-costs-{datetime.now(UTC).date()}{suffix}"
    return Response(
        text.encode(),
        media_type="application/json" if kind == "json" else "text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.post("/costs/purchases/{tag}", dependencies=[Depends(require("spend"))])
def decide(studio: StudioOf, tag: str, decision: Text = "") -> Response:
    """Say what became of a purchase."""
    try:
        decided = studio.payments.decide(tag, decision)
    except (Conflict, InputRefused) as refusal:
        return back("/costs#open", Notice("refusal", refusal.message, refusal.remedy))
    words = {
        "again": "It is bought when its job goes on.",
        "drop": "It is left out, and not counted as paid.",
        "paid": "It is counted as paid, and not bought again.",
    }[decision]
    link = f"/jobs/{decided.job}" if decided.job else ""
    return back("/costs#open", Notice("note", words, "Resume its job to go on." if link else "", link))


@router.post("/costs/budgets", dependencies=[Depends(require("admin"))])
def budgets(request: Request, studio: StudioOf, sent: Sent) -> Response:
    """Change what may be spent."""
    typed = {name: str(sent[name]).strip() for name in BUDGETS if name in sent}
    now = studio.settings_file.report()
    wanted = {name: value for name, value in typed.items() if value != now[name].value}
    try:
        studio.settings_file.change(wanted, seen=str(sent.get("seen", "")))
    except LimnerError as refusal:
        return _page(request, studio, _chosen("30", ""), typed=typed, refusal=refusal)
    return back("/costs#budgets", Notice("note", "The budgets are changed." if wanted else "Nothing was changed."))
