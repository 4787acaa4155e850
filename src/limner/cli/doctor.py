"""limner doctor, bases, backends, worker: what there is on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from limner._version import __version__
from limner.cli.arguments import Detach, Json
from limner.cli.output import console, hanging, show, size, studio, table
from limner.cli.progress import follow
from limner.errors import Conflict, NotFound

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import Check, DoctorReport, Verification

__all__ = ["add_to"]

MARKS = {"ok": ("✓", "green"), "missing": ("–", "dim"), "problem": ("✗", "red")}
NAME_WIDTH = 16
"""Of the names of our checks the longest; a stranger's back end may have a longer one."""


def add_to(app: typer.Typer) -> None:
    app.command("doctor")(doctor)
    app.command("bases")(list_bases)
    app.command("backends")(list_back_ends)
    app.command("worker")(worker)
    app.command("verify")(verify)


class _Lines:
    """The report for people, a line at a time."""

    def __init__(self) -> None:
        self._out = console()
        self._area = ""
        self._out.print(f"limner {__version__}", style="bold")

    def print(self, check: Check) -> None:
        if check.area != self._area:
            self._area = check.area
            self._out.print(f"\n{check.area}", style="bold")
        mark, colour = MARKS[check.state]
        line = f"  {mark} {check.name:<{NAME_WIDTH}}  "
        hanging(self._out, line, check.detail, indent=len(line), colour=colour if check.state != "ok" else "")
        if check.remedy and check.state != "ok":
            hanging(self._out, " " * len(line) + "→", check.remedy, indent=len(line) + 2, style="dim")

    def end(self, report: DoctorReport) -> None:
        problems = sum(1 for check in report.checks if check.state == "problem")
        self._out.print(f"\n{problems} to put right, marked ✗." if problems else "\nReady.")


def doctor(
    live: Annotated[
        bool, typer.Option("--live", help="Ask the vendors whether the tokens are good; costs nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what is installed, set and missing, and how to get it.

    Ends with exit code 1 if something that would be used by default does not work, or with --live if a vendor does
    not accept a token that is set or cannot be asked.
    """
    with studio() as it:
        if as_json:
            report = it.maintenance.doctor(live=live)
            show(report, as_json, lambda _: None)
        else:
            lines = _Lines()
            report = it.maintenance.doctor(live=live, tell=lines.print)
            lines.end(report)
    if not report.healthy:
        raise typer.Exit(1)


def verify(
    remove_stray: Annotated[
        bool, typer.Option("--remove-stray", help="Delete files of the home that belong to nothing.")
    ] = False,
    last: Annotated[bool, typer.Option("--last", help="Show what the last one found; read nothing.")] = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Read every file again, and say what is damaged or lost.

    Every blob is held against its digest, every row against its file, and the database looks itself over. Ctrl-C stops
    the watching only; `limner jobs cancel` stops it, and `limner jobs resume` goes on. Ends with exit code 1 if
    something is damaged or missing.

    \b
    Examples:
      limner verify
      limner verify --remove-stray
    """
    with studio() as it:
        if not last:
            follow(it, it.maintenance.verify(remove_stray=remove_stray), detach=detach, as_json=as_json)
        found = it.maintenance.verification()
    if found is None:
        raise NotFound("The home was not verified yet.", remedy="Do it: limner verify", thing="verification")
    show(found, as_json, lambda out: _show_verification(out, found))
    if not found.sound:
        raise typer.Exit(1)


def _show_verification(out: Console, found: Verification) -> None:
    for one in found.findings:
        users = f", needed by {', '.join(one.used_by)}" if one.used_by else ""
        hanging(out, f"  {one.problem}: ", f"{one.what} {one.name}{users}. {one.remedy}", indent=11)
    told = sum(found.counts.values())
    if told > len(found.findings):
        out.print(f"  and {told - len(found.findings)} more")
    read = f"{found.files} files, {size(found.bytes)}, were read."
    counted = ", ".join(f"{count} {problem}" for problem, count in found.counts.items())
    out.print(f"{read} {counted}." if told else f"{read} All is sound.")


def list_bases(as_json: Json = False) -> None:
    """List the bases, the models that loras belong to."""
    with studio() as it:
        found = it.maintenance.bases()
    rows = [(b.id, b.family.value, f"{b.size} px", "yes" if b.gated else "no", b.licence_name) for b in found]
    columns = ("base", "family", "size", "gated", "licence")
    show(found, as_json, lambda out: table(out, columns, rows, "", whole=("size",)))


def list_back_ends(as_json: Json = False) -> None:
    """List who can do the work at each stage."""
    with studio() as it:
        found = it.maintenance.back_ends()
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
    idle: Annotated[float, typer.Option(metavar="SECONDS", help="End after so long without work; 0 never.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Do jobs in this terminal.

    Not needed in daily use: a worker starts by itself. Ctrl-C ends it; jobs under way go on with the next worker.
    """
    with studio() as it:
        try:
            worked = it.work(idle_seconds=idle or None)
        except KeyboardInterrupt:
            worked = True
    if not worked:
        raise Conflict("A worker of this home is at work already.", remedy="Nothing needs to be done.", thing="worker")
    show({"worked": worked}, as_json, lambda out: out.print("The worker has ended."))
