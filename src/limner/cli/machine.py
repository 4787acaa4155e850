"""limner doctor, bases, backends, worker: what there is on this machine."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.output import Json, show, studio, table

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import DoctorReport

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    app.command("doctor")(doctor)
    app.command("bases")(list_bases)
    app.command("backends")(list_back_ends)
    app.command("worker")(worker)


def _report(out: Console, report: DoctorReport) -> None:
    from rich.text import Text

    marks = {"ok": ("✓", "green"), "missing": ("–", "dim"), "problem": ("✗", "red")}
    out.print(Text(f"limner {report.version}", style="bold"))
    for area, checks in groupby(report.checks, key=lambda check: check.area):
        out.print(Text(f"\n{area}", style="bold"))
        for check in checks:
            mark, colour = marks[check.state]
            out.print(Text.assemble("  ", (mark, colour), f" {check.name:<18} {check.detail}"), soft_wrap=True)
            if check.remedy and check.state != "ok":
                out.print(Text(f"    {'':<18} → {check.remedy}", style="dim"), soft_wrap=True)


def doctor(as_json: Json = False) -> None:
    """Say what is installed, which accounts are set, what would be used, and what is missing and how to get it."""
    with studio() as it:
        report = it.doctor()
    show(report, as_json, lambda out: _report(out, report))
    if not report.healthy:
        raise typer.Exit(1)


def list_bases(as_json: Json = False) -> None:
    """List the bases: the models that a lora belongs to."""
    with studio() as it:
        found = it.bases()
    rows = [(b.id, b.title, b.family.value, f"{b.size} px", b.licence_name, "yes" if b.gated else "no") for b in found]
    show(found, as_json, lambda out: table(out, ("base", "title", "family", "size", "licence", "gated"), rows, ""))


def list_back_ends(as_json: Json = False) -> None:
    """List who can do the work at each stage, and what is missing."""
    with studio() as it:
        found = it.back_ends()
    rows = [
        (
            kind,
            end.name,
            end.title,
            end.price.model,
            "ready" if end.ready else "; ".join(n.how_to_get for n in end.needs if not n.met),
        )
        for kind, ends in found.items()
        for end in ends
    ]
    show(found, as_json, lambda out: table(out, ("stage", "name", "what", "price", "state"), rows, ""))


def worker(
    idle: Annotated[float, typer.Option(help="End after so many idle seconds; 0 means never.")] = 0.0,
) -> None:
    """Do jobs in this terminal. Not needed in daily use: a worker starts by itself."""
    with studio() as it:
        if not it.work(idle_seconds=idle or None):
            typer.echo("A worker of this home is at work already.", err=True)
            raise typer.Exit(4)
