"""limner photos: intake and what it found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.output import Detach, Json, follow, show, studio, table
from limner.types import Severity, Verdict

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import IntakeEntry

__all__ = ["add_to"]

group = typer.Typer(help="Photos of a subject: take them in, list them, read what was found.", no_args_is_help=True)

MARKS = {Verdict.ACCEPTED: ("✓", "green"), Verdict.WARNED: ("!", "yellow"), Verdict.REFUSED: ("✗", "red")}


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="photos")


def _report(out: Console, entries: list[IntakeEntry]) -> None:
    from rich.text import Text

    for entry in entries:
        mark, colour = MARKS[entry.report.verdict]
        side = f"{entry.report.source_width}×{entry.report.source_height}" if entry.report.source_width else ""
        out.print(Text.assemble((mark, colour), " ", entry.report.source, "  ", (side, "dim")))
        for finding in entry.report.findings:
            style = "dim" if finding.severity is Severity.NOTE else ""
            out.print(Text(f"    {finding.message} {finding.remedy}".rstrip(), style=style))
    counts = {verdict: sum(1 for e in entries if e.report.verdict is verdict) for verdict in Verdict}
    out.print(
        f"{counts[Verdict.ACCEPTED]} accepted, {counts[Verdict.WARNED]} accepted with a warning, "
        f"{counts[Verdict.REFUSED]} refused."
    )


@group.command("add")
def add(
    slug: Annotated[str, typer.Argument(help="The subject.")],
    paths: Annotated[list[str], typer.Argument(help="Files, folders, zips, or globs in quotes.")],
    captions: Annotated[
        list[Path] | None, typer.Option(help="A captions CSV or JSONL; sidecar .txt are found.")
    ] = None,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Take photos in: checked, turned upright, stripped of metadata, stored.

    Example: limner photos add rex ~/photos/rex "~/more/*.heic"
    """
    with studio() as it:
        job = follow(it, it.add_photos(slug, paths, captions=captions or ()), detach=detach, as_json=as_json)
        if job is None:
            return
        entries = it.photo_report(slug, job.id)
    show(entries, as_json, lambda out: _report(out, entries))
    if entries and all(entry.report.verdict is Verdict.REFUSED for entry in entries):
        raise typer.Exit(2)


@group.command("list")
def list_all(slug: str, as_json: Json = False) -> None:
    """List the accepted photos of a subject."""
    with studio() as it:
        found = it.photos(slug)
    rows = [(p.digest[:10], p.source, f"{p.width}×{p.height}", p.caption or "(template)") for p in found]
    empty = f"No photo yet. Add some with: limner photos add {slug} PATH..."
    show(found, as_json, lambda out: table(out, ("photo", "source", "size", "caption"), rows, empty))


@group.command("report")
def report(
    slug: str,
    job: Annotated[str, typer.Option(help="An intake's job; the newest if left out.")] = "",
    as_json: Json = False,
) -> None:
    """Say again what an intake found in each file."""
    with studio() as it:
        entries = it.photo_report(slug, job)
    show(entries, as_json, lambda out: _report(out, entries))


@group.command("caption")
def caption(slug: str, photo: str, text: str, as_json: Json = False) -> None:
    """Set a photo's caption; empty goes back to the template. {trigger} and {class_word} are filled in."""
    with studio() as it:
        it.set_caption(slug, photo, text)
    show({"photo": photo, "caption": text}, as_json, lambda out: out.print("Caption set."))


@group.command("remove")
def remove(slug: str, photo: str, as_json: Json = False) -> None:
    """Take a photo away from a subject; frozen datasets keep it."""
    with studio() as it:
        it.remove_photo(slug, photo)
    show({"removed": photo}, as_json, lambda out: out.print(f"Removed {photo} from {slug}."))
