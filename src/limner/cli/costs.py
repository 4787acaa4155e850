"""limner costs: what was paid, what the budgets allow, and what only the user can decide."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.arguments import Json, OfSubject
from limner.cli.help_layout import Noun
from limner.cli.output import ago, hanging, show, studio, table

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import CostSummary, OpenPurchase

__all__ = ["add_to"]

group = typer.Typer(cls=Noun, invoke_without_command=True)

Decision = Annotated[
    str,
    typer.Argument(
        metavar="DECISION",
        help="again: buy it when its job goes on. drop: it was not paid. paid: it was. Neither is bought again.",
        autocompletion=lambda incomplete: [word for word in ("again", "drop", "paid") if word.startswith(incomplete)],
    ),
]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="costs")


@group.callback()
def show_costs(
    context: typer.Context,
    subject: OfSubject = "",
    vendor: Annotated[str, typer.Option(metavar="NAME", help="Only this vendor's, such as fal.")] = "",
    days: Annotated[int | None, typer.Option(metavar="DAYS", help="Only the last days; 1 is today (UTC).")] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every single cost to FILE.csv or FILE.json.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what was paid, and how far the budgets go.

    \b
    Examples:
      limner costs --days 30
      limner costs --subject rex --export rex.csv
    """
    if context.invoked_subcommand is not None:
        return
    with studio() as it:
        found = it.payments.costs(subject, vendor=vendor, days=days)
    if export is not None:
        from limner.money.exports import export_text

        # Bytes, because the text brings its own line ends.
        export.write_bytes(export_text(found, export.suffix).encode())
        written = {"path": export, "costs": len(found.entries)}
        show(written, as_json, lambda out: out.print(f"Wrote {len(found.entries)} costs to {export}.", soft_wrap=True))
        return
    show(found, as_json, lambda out: _render(out, found))


def _render(out: Console, found: CostSummary) -> None:
    from limner.money.prices import usd

    sums: defaultdict[tuple[str, ...], list[Decimal]] = defaultdict(list)
    guessed = set()
    for cost in found.entries:
        if cost.amount:
            key = (f"{cost.at:%Y-%m-%d}", cost.vendor, cost.what, cost.subject)
            sums[key].append(cost.amount)
            if cost.actual is None:
                guessed.add(key)
    rows = [
        (*key, len(amounts), ("about " if key in guessed else "") + usd(sum(amounts, Decimal(0))))
        for key, amounts in sums.items()
    ]
    table(out, ("day", "vendor", "what", "subject", "number", "cost"), rows, "Nothing was paid.", whole=("cost",))
    if rows:
        out.print()
    for name, amount in sorted(found.by_vendor.items()) if len(found.by_vendor) > 1 else []:
        out.print(f"{name}: {usd(amount)}")
    if rows:
        part = f", of which {usd(found.estimated)} is estimated" if found.estimated else ""
        out.print(f"In all {usd(found.total)}{part}.", soft_wrap=True)
    for budget in found.budgets:
        spent = f"{usd(budget.spent)} of {usd(budget.limit)}"
        out.print(f"Budget {budget.words}: {spent} is spent, {usd(budget.left)} is left.", soft_wrap=True)
    if found.undecided:
        words = f"{found.undecided} may have been paid and wait for your word: limner costs open"
        hanging(out, "!", words, indent=2, colour="yellow")


@group.command("open")
def list_open(as_json: Json = False) -> None:
    """List what may have been paid and waits for your word."""
    with studio() as it:
        found = it.payments.open()
    show(found, as_json, lambda out: _open(out, found))


def _open(out: Console, found: list[OpenPurchase]) -> None:
    from limner.money.prices import usd

    rows = [(one.tag, one.vendor, one.what, f"about {usd(one.estimate)}", ago(one.created_at)) for one in found]
    table(out, ("tag", "vendor", "what", "cost", "sent"), rows, "Nothing waits for you.")
    if not found:
        return
    out.print()
    out.print("Look at your account there, then say for each what became of it:")
    for words in (
        "limner costs decide TAG again   buy it (again) when its job goes on",
        "limner costs decide TAG drop    it was not paid, and is not wanted any more",
        "limner costs decide TAG paid    it was paid, and is not bought again",
    ):
        out.print(f"  {words}")
    out.print("TAG may also be the id before its last dash, for all pictures of a generation.", soft_wrap=True)


@group.command("decide")
def decide(
    tag: Annotated[str, typer.Argument(metavar="TAG", help="The purchase, see `limner costs open`.")],
    decision: Decision,
    as_json: Json = False,
) -> None:
    """Say what became of a purchase that nobody can tell about.

    \b
    Example:
      limner costs decide generation_51c4a0c2d7e9f3b8-3 again
    """
    with studio() as it:
        waiting = [one.tag for one in it.payments.open()]
        # A generation's or a job's id stands for all that is open of it.
        tags = [one for one in waiting if one.startswith(f"{tag}-")] if tag not in waiting else []
        found = [it.payments.decide(one, decision) for one in tags or [tag]]
    jobs = ", ".join(sorted({f"limner jobs resume {one.job}" for one in found}))
    words = {
        "again": f"Bought when the job goes on: {jobs}",
        "drop": "Left out, and not counted as paid.",
        "paid": "Counted as paid, and not bought again.",
    }
    show(found, as_json, lambda out: out.print(words[decision], soft_wrap=True))
