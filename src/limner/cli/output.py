"""What the CLI prints: JSON for machines, tables and progress for people. Errors go to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.errors import LimnerError

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import Job
    from limner.studio import Studio

__all__ = ["Detach", "Json", "ago", "console", "fail", "follow", "plain", "show", "size", "studio", "table"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start the work and return at once.")]

STAGE_WORDS = {
    "intake": "Photos",
    "freeze": "Dataset",
    "train": "Training",
    "publish": "Publishing",
    "generate": "Pictures",
}


def studio() -> Studio:
    """The studio of this user's home folder."""
    from limner.studio import Studio

    return Studio()


def console(stderr: bool = False) -> Console:
    """A console that obeys NO_COLOR and pipes; wide enough not to wrap tables in a pipe."""
    from rich.console import Console

    target = sys.stderr if stderr else sys.stdout
    width = None if target.isatty() or os.environ.get("COLUMNS") else 140
    return Console(stderr=stderr, highlight=False, width=width)


def plain(value: Any) -> Any:
    """Any record as JSON data."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Path | Decimal):
        return str(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return [plain(entry) for entry in value]
    return value


def show(value: Any, as_json: bool, render: Callable[[Console], None]) -> None:
    """Print a value as JSON, or let ``render`` draw it."""
    if as_json:
        sys.stdout.write(json.dumps(plain(value), ensure_ascii=False, indent=2) + "\n")
        return
    render(console())


def table(out: Console, columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print rows under headings, or say what to do when there are none."""
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if not rows:
        out.print(empty)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    out.print(drawn)


def size(count: int) -> str:
    """Bytes in words: 1.2 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return str(count)


def ago(moment: datetime) -> str:
    """A time as local words."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def fail(failure: LimnerError) -> int:
    """Print an error: what happened, then what to do next. As a problem object when ``--json`` was given."""
    if "--json" in sys.argv:
        sys.stderr.write(json.dumps(failure.as_problem(), ensure_ascii=False) + "\n")
        return failure.exit_code
    from rich.text import Text

    out = console(stderr=True)
    out.print(Text.assemble(("✗ ", "bold red"), failure.message))
    if failure.remedy:
        out.print(Text.assemble(("  → ", "dim"), failure.remedy))
    return failure.exit_code


def follow(studio: Studio, job: Job, *, detach: bool, as_json: bool) -> Job | None:
    """Show a job's progress until it has ended; Ctrl-C stops it cleanly. None when detached."""
    from limner.cli.progress import Display

    if detach:
        show(job, as_json, lambda out: out.print(f"Started {job.id}. Watch it with: limner jobs watch {job.id}"))
        return None
    with Display(console(stderr=True), quiet=as_json) as display:
        try:
            for current in studio.watch(job):
                display.update(current)
        except KeyboardInterrupt:
            studio.cancel(job)
            display.say("Stopping at the next safe point. Press Ctrl-C again to leave it to the worker.")
            for current in studio.watch(job):
                display.update(current)
    return studio.wait(job)
