"""What the CLI prints: JSON for machines, tables for people. Errors and progress go to stderr."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import LimnerError

if TYPE_CHECKING:
    from rich.console import Console

    from limner.studio import Studio
    from limner.types import Finding

__all__ = [
    "ago",
    "console",
    "fail",
    "hanging",
    "plain",
    "remarks",
    "short",
    "show",
    "size",
    "studio",
    "table",
]

ENDLESS = 100_000
"""The width where nothing is wrapped: in a pipe a row is a line."""


def studio() -> Studio:
    """The studio of this user's home folder."""
    from limner.studio import Studio

    return Studio()


def console(stderr: bool = False) -> Console:
    """A console that obeys NO_COLOR, COLUMNS and pipes."""
    from rich.console import Console

    target = sys.stderr if stderr else sys.stdout
    width = None if target.isatty() or os.environ.get("COLUMNS") else ENDLESS
    return Console(stderr=stderr, highlight=False, markup=False, width=width)


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


def hanging(out: Console, mark: str, words: str, *, indent: int, colour: str = "", style: str = "") -> None:
    """Print a mark and a paragraph whose further lines are indented; long words such as paths are never broken."""
    from rich.text import Text

    room = max(20, out.width - indent)
    lines = textwrap.wrap(words, room, break_long_words=False, break_on_hyphens=False) or [""]
    body = ("\n" + " " * indent).join(lines)
    out.print(Text.assemble((mark.ljust(indent), colour), (body, style)), soft_wrap=True)


def remarks(findings: Iterable[Finding], *, as_json: bool) -> None:
    """Print warnings to stderr; with ``--json`` they are in the answer already."""
    if as_json:
        return
    out = console(stderr=True)
    for finding in findings:
        hanging(out, "!", finding.message, indent=2, colour="yellow")
        if finding.remedy:
            hanging(out, "  →", finding.remedy, indent=4, colour="dim")


def table(
    out: Console, columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str, *, whole: Sequence[str] = ()
) -> None:
    """Print rows under headings, or say what to do when there are none. The first column and ``whole`` never wrap."""
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if not rows:
        out.print(empty, soft_wrap=True)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        drawn.add_column(column, overflow="fold", no_wrap=number == 0 or column in whole)
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    out.print(drawn)


def size(count: int) -> str:
    """Bytes in words: 1.2 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """How long ago a time was, in words; from a week on the local date."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 24 * 3600:
        return f"{seconds // 3600:.0f} h ago"
    days = int(seconds // (24 * 3600))
    if days < 7:
        return f"{days} day{'s' if days > 1 else ''} ago"
    return moment.astimezone().strftime("%Y-%m-%d")


def short(name: str) -> str:
    """The digits of an id or digest that tables show and that every command takes."""
    return name.rpartition("_")[2][:8]


def fail(failure: LimnerError, *, as_json: bool) -> int:
    """Print an error: what happened, then what to do next; as a problem object with ``--json``. Give its exit code."""
    if as_json:
        sys.stderr.write(json.dumps(failure.as_problem(), ensure_ascii=False) + "\n")
        return failure.exit_code
    out = console(stderr=True)
    hanging(out, "✗", failure.message, indent=2, colour="bold red")
    if failure.remedy:
        hanging(out, "  →", failure.remedy, indent=4, colour="dim")
    return failure.exit_code
