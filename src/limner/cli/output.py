"""What the CLI prints: JSON for machines, tables for people. Errors and progress go to stderr."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from limner.cli.terminal import trusted
from limner.errors import LimnerError
from limner.plain_text import json_text, one_line, plain

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import HealthFinding
    from limner.studio import Studio
    from limner.types import Finding

__all__ = [
    "ago",
    "console",
    "fail",
    "hanging",
    "remarks",
    "short",
    "show",
    "size",
    "studio",
    "table",
]

ENDLESS = 100_000
"""The width where nothing is wrapped: in a pipe a row is a line."""
NARROWEST = 8
"""Letters that a column or paragraph needs to be read."""


def studio() -> Studio:
    """The studio of this user's home folder."""
    from limner.studio import Studio

    return Studio()


def console(stderr: bool = False) -> Console:
    """A console that obeys NO_COLOR, COLUMNS and pipes, and prints text of others as text."""
    from limner.cli.screen import Screen

    target = sys.stderr if stderr else sys.stdout
    width = None if target.isatty() or os.environ.get("COLUMNS") else ENDLESS
    return Screen(file=trusted(target), highlight=False, markup=False, emoji=False, width=width)


def show(value: Any, as_json: bool, render: Callable[[Console], object]) -> None:
    """Print a value as JSON, or let ``render`` draw it."""
    if as_json:
        sys.stdout.write(_json(plain(value), sys.stdout, indent=2))
        return
    render(console())


def _json(value: Any, stream: TextIO, *, indent: int | None = None) -> str:
    """JSON for a stream: whole in any encoding, as JSON has escapes of its own."""
    unicode = (stream.encoding or "utf-8").lower().replace("_", "-").startswith("utf")
    return json_text(value, indent=indent, ascii_only=not unicode) + "\n"


def hanging(out: Console, mark: str, words: str, *, indent: int, colour: str = "", style: str = "") -> None:
    """Print a mark and a paragraph whose further lines are indented; long words such as paths are never broken."""
    from rich.text import Text

    room = max(NARROWEST, out.width - indent)
    lines = textwrap.wrap(words, room, break_long_words=False, break_on_hyphens=False) or [""]
    body = ("\n" + " " * indent).join(lines)
    out.print(Text.assemble((mark.ljust(indent), colour), (body, style)), soft_wrap=True)


def remarks(findings: Iterable[Finding | HealthFinding], *, as_json: bool) -> None:
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
    if _too_wide(columns, rows, whole, out.width):
        for row in rows:
            for column, cell in zip(columns, row, strict=False):
                hanging(out, "", f"{column}: {cell}".removeprefix(": "), indent=0 if cell is row[0] else 2)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        drawn.add_column(column, overflow="fold", no_wrap=number == 0 or column in whole)
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(one_line(str(cell))) for cell in row))
    out.print(drawn)


def _too_wide(columns: Sequence[str], rows: Sequence[Sequence[object]], whole: Sequence[str], width: int) -> bool:
    """Whether a terminal is so narrow that cells would be cut, or folded to a few letters a line."""
    needed = 0
    for number, column in enumerate(columns):
        longest = max([len(column), *(len(str(row[number])) for row in rows if number < len(row))])
        needed += 2 + (longest if number == 0 or column in whole else min(longest, NARROWEST))
    return needed > width


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
        sys.stderr.write(_json(failure.as_problem(), sys.stderr))
        return failure.exit_code
    out = console(stderr=True)
    hanging(out, "✗", failure.message, indent=2, colour="bold red")
    if failure.remedy:
        hanging(out, "  →", failure.remedy, indent=4, colour="dim")
    return failure.exit_code
