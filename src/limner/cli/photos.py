"""limner photos: intake and what it found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli import photo_edits
from limner.cli.arguments import Detach, Json, Photo, Slug
from limner.cli.help_layout import Noun
from limner.cli.output import console, hanging, remarks, show, studio, table
from limner.cli.progress import follow
from limner.types import Finding, Severity, Verdict

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import IntakeEntry, Job

__all__ = ["add_to", "caption_findings"]

group = typer.Typer(cls=Noun, help="Photos of a subject: take in, list, read the report.")

MARKS = {Verdict.ACCEPTED: ("✓", "green"), Verdict.WARNED: ("!", "yellow"), Verdict.REFUSED: ("✗", "red")}


def add_to(app: typer.Typer) -> None:
    photo_edits.add_to(group)
    app.add_typer(group, name="photos")


def _common_folder(sources: list[str]) -> str:
    """The folder that all sources lie in, with its slash, so that the report need not repeat it."""
    if not sources or not all(source.startswith("/") for source in sources):
        return ""
    parents = [Path(source).parent for source in sources]
    while len(set(parents)) > 1:
        longest = max(parents, key=lambda parent: len(parent.parts))
        parents = [parent.parent if parent == longest else parent for parent in parents]
    return f"{parents[0]}/" if len(parents[0].parts) > 1 else ""


def _report(out: Console, entries: list[IntakeEntry], next_step: str = "") -> None:
    from rich.text import Text

    folder = _common_folder([entry.report.source for entry in entries])
    if folder:
        out.print(Text(f"In {folder}", style="dim"), soft_wrap=True)
    for entry in entries:
        mark, colour = MARKS[entry.report.verdict]
        side = f"  {entry.report.source_width}×{entry.report.source_height}" if entry.report.source_width else ""
        source = entry.report.source.removeprefix(folder)
        out.print(Text.assemble((mark, colour), " ", source, (side, "dim")), soft_wrap=True)
        for finding in entry.report.findings:
            style = "dim" if finding.severity is Severity.NOTE else ""
            hanging(out, "", f"{finding.message} {finding.remedy}".rstrip(), indent=4, style=style)
    counts = {verdict: sum(1 for e in entries if e.report.verdict is verdict) for verdict in Verdict}
    words = [f"{counts[Verdict.ACCEPTED]} accepted"]
    words += [f"{counts[Verdict.WARNED]} accepted with a warning"] if counts[Verdict.WARNED] else []
    words += [f"{counts[Verdict.REFUSED]} refused"] if counts[Verdict.REFUSED] else []
    out.print(f"{', '.join(words)}.")
    if next_step and counts[Verdict.ACCEPTED] + counts[Verdict.WARNED]:
        out.print(f"Next: {next_step}")


def caption_findings(job: Job) -> list[Finding]:
    """What an intake noticed about caption files."""
    return [
        Finding(one["code"], Severity(one["severity"]), one["message"], one["remedy"])
        for one in job.result.get("caption_findings", ())
    ]


def _failed(entry: IntakeEntry) -> bool:
    return entry.report.verdict is Verdict.REFUSED and not entry.report.duplicate_of


@group.command("add")
def add(
    slug: Slug,
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH...", help="Files, folders, zips, or globs in quotes.")
    ] = None,
    captions: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Captions in CSV, TSV, JSONL or JSON; those beside photos are found without it."
        ),
    ] = None,
    replace_captions: Annotated[
        bool, typer.Option("--replace-captions", help="Captions that differ go in place of what photos have.")
    ] = False,
    captions_from_photos: Annotated[
        bool, typer.Option("--captions-from-photos", help="Take captions from the photos' own metadata too.")
    ] = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Take photos in: checked, turned upright, stripped of metadata.

    Captions reach photos that are there too: they fill empty ones; before others are replaced, you are asked.

    \b
    Examples:
      limner photos add rex ~/photos/rex
      limner photos add rex "~/more/*.heic" album.zip --captions captions.csv
      limner photos add rex --captions better.jsonl --replace-captions
    """
    with studio() as it:
        begun = it.photos.add(
            slug,
            paths or (),
            captions=captions or (),
            replace_captions=replace_captions,
            captions_from_photos=captions_from_photos,
        )
        job = follow(it, begun, detach=detach, as_json=as_json)
        entries = it.photos.report(slug, job.id)
        captions_said = caption_findings(job)
        remarks(captions_said, as_json=as_json)
        offers = tuple(job.result.get("captions_offered", ()))
        asks = bool(offers) and not as_json and sys.stdin.isatty()
        if asks and typer.confirm("Replace them?", err=True):
            done = it.captions.answer(slug, replace=True, photos=offers)
            console(stderr=True).print(f"{_captions(len(done.changes))} replaced.")
    answer = {"entries": entries, "caption_findings": captions_said}
    show(answer, as_json, lambda out: _report(out, entries, f"limner train {slug}") if entries else None)
    if any(finding.code == "captions-unused" for finding in captions_said):
        raise typer.Exit(2)
    # Photos that are there already are no failure: the same command twice ends as it did once.
    if any(_failed(entry) for entry in entries) and all(not entry.photo for entry in entries):
        raise typer.Exit(2)


@group.command("list")
def list_all(slug: Slug, as_json: Json = False) -> None:
    """List the accepted photos of a subject."""
    with studio() as it:
        found = it.photos.all(slug)
    folder = _common_folder([photo.source for photo in found])
    rows = [
        (p.digest[:10], p.source.removeprefix(folder), f"{p.width}×{p.height}", p.caption or "(template)")
        for p in found
    ]
    empty = f"No photo yet. Add some with: limner photos add {slug} PATH..."
    columns = ("photo", "source", "size", "caption")
    show(found, as_json, lambda out: table(out, columns, rows, empty, whole=("size",)))


@group.command("report")
def report(
    slug: Slug,
    job: Annotated[str, typer.Option(metavar="JOB", help="An intake's job; the newest if left out.")] = "",
    as_json: Json = False,
) -> None:
    """Say again what an intake found in each file."""
    with studio() as it:
        entries = it.photos.report(slug, it.jobs.get(job).id if job else "")
    show(entries, as_json, lambda out: _report(out, entries))


@group.command("caption")
def caption(
    slug: Slug,
    photo: Photo,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The caption; empty goes back to the template.")],
    as_json: Json = False,
) -> None:
    """Set a photo's caption.

    {trigger} and {class_word} in it are filled in when the dataset is frozen.

    \b
    Example:
      limner photos caption rex 2ff35119 "a photo of {trigger} dog, asleep"
    """
    with studio() as it:
        it.photos.set_caption(slug, photo, text)
    show({"photo": photo, "caption": text}, as_json, lambda out: out.print("Caption set."))


@group.command("offered")
def offered(
    slug: Slug,
    replace: Annotated[bool, typer.Option("--replace", help="Take them.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep those that are there.")] = False,
    photo: Annotated[list[str] | None, typer.Option(metavar="PHOTO", help="Only of this one. Repeat it.")] = None,
    as_json: Json = False,
) -> None:
    """List captions that came later and wait, or answer.

    \b
    Example:
      limner photos offered rex --replace
    """
    if replace and keep:
        raise typer.BadParameter("Say --replace or --keep, not both.")
    with studio() as it:
        if replace or keep:
            done = it.captions.answer(slug, replace=replace, photos=photo or ())
            words = f"{_captions(len(done.changes))} replaced." if replace else "The captions stay as they are."
            show(done, as_json, lambda out: out.print(words))
            return
        found = it.captions.offered(slug)
    rows = [(one.photo[:10], one.before, one.after) for one in found.changes]
    show(found, as_json, lambda out: table(out, ("photo", "has", "new"), rows, "No caption waits for an answer."))


def _captions(count: int) -> str:
    return "1 caption was" if count == 1 else f"{count} captions were"


@group.command("remove")
def remove(slug: Slug, photo: Photo, as_json: Json = False) -> None:
    """Take a photo away from a subject; frozen datasets keep it."""
    with studio() as it:
        it.photos.remove(slug, photo)
    show({"removed": photo}, as_json, lambda out: out.print(f"Removed {photo} from {slug}."))
