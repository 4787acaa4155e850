"""limner photos health, crop and captions: photos looked at as a set and made ready for a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.arguments import BaseName, Json, Photo, Resolution, Slug
from limner.cli.output import hanging, show, studio, table
from limner.errors import InputRefused
from limner.types import Crop, Severity

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import CaptionChanges, DatasetHealth, PhotoShare, ProposedCrop

__all__ = ["add_to"]

MARKS = {Severity.NOTE: ("·", ""), Severity.WARNING: ("!", "yellow"), Severity.REFUSAL: ("✗", "red")}


def add_to(group: typer.Typer) -> None:
    group.command("health")(health)
    group.command("crop")(crop)
    group.command("captions")(captions)


def health(slug: Slug, base: BaseName = "", resolution: Resolution = None, as_json: Json = False) -> None:
    """Say how fit the photos are as a set.

    Sizes, shapes, framing, what is alike, and captions that tell too much.

    \b
    Example:
      limner photos health rex --base flux1-dev
    """
    with studio() as it:
        found = it.photos.health(slug, base=base, resolution=resolution)
    show(found, as_json, lambda out: _health(out, found))


def _health(out: Console, found: DatasetHealth) -> None:
    out.print(found.verdict, soft_wrap=True)
    out.print(f"For {found.base} at {found.resolution} px.", soft_wrap=True)
    if found.photos:
        rows = [("size", _shares(found.sizes)), ("shape", _shares(found.shapes))]
        framing = "not measured: no detector that finds faces is installed"
        rows.append(("framing", framing if found.framing is None else _shares(found.framing)))
        rows.append(("captions", f"{found.photos - len(found.uncaptioned)} of {found.photos}"))
        table(out, ("", ""), rows, "")
    for finding in found.findings:
        mark, colour = MARKS[finding.severity]
        which = f" ({', '.join(digest[:8] for digest in finding.photos[:8])})" if finding.photos else ""
        hanging(out, mark, f"{finding.message} {finding.remedy}{which}", indent=2, colour=colour)


def _shares(shares: tuple[PhotoShare, ...]) -> str:
    return ", ".join(f"{share.count} {share.name} ({share.meaning})" for share in shares if share.count)


def crop(
    slug: Slug,
    photo: Photo,
    at: Annotated[
        str, typer.Option(metavar="LEFT,TOP,WIDTH,HEIGHT", help="Keep this part, in pixels of the photo.")
    ] = "",
    automatic: Annotated[bool, typer.Option("--automatic", help="Leave the choice to Limner again.")] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what a training would see as JPEG.")
    ] = None,
    base: BaseName = "",
    resolution: Resolution = None,
    as_json: Json = False,
) -> None:
    """Say which part of a photo is trained on, or choose it.

    \b
    Examples:
      limner photos crop rex 2ff35119
      limner photos crop rex 2ff35119 --at 120,40,800,800 --picture seen.jpg
    """
    if at and automatic:
        raise InputRefused("--at and --automatic contradict each other.", remedy="Give one of them.")
    with studio() as it:
        if at or automatic:
            it.photos.set_crop(slug, photo, _parse(at) if at else None)
        (found,) = it.photos.proposed_crops(slug, [photo], base=base, resolution=resolution)
        if picture is not None:
            picture.write_bytes(it.photos.crop_picture(slug, photo, base=base, resolution=resolution))
    show(found, as_json, lambda out: out.print(_crop_words(found), soft_wrap=True))


def _parse(text: str) -> Crop:
    parts = text.split(",")
    try:
        left, top, width, height = map(int, parts)
    except ValueError:
        raise InputRefused(
            f"'{text[:60]}' is no crop.",
            remedy="Give left, top, width and height in pixels: 120,40,800,800.",
            thing=text,
        ) from None
    return Crop(left, top, width, height)


def _crop_words(found: ProposedCrop) -> str:
    crop = found.crop
    chosen = "chosen by you" if found.own else "chosen by Limner"
    words = f"{crop.width} × {crop.height} at {crop.left}, {crop.top}, {chosen}."
    trained = f"Trained at {found.bucket[0]} × {found.bucket[1]} px" + (", enlarged." if found.enlarged else ".")
    return f"{words} {trained}"


def captions(
    slug: Slug,
    find: Annotated[str, typer.Option(metavar="TEXT", help="A text to look for.")] = "",
    replace: Annotated[str, typer.Option(metavar="TEXT", help="What stands in its place.")] = "",
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Put this before each caption.")] = "",
    suffix: Annotated[str, typer.Option(metavar="TEXT", help="Put this after each caption.")] = "",
    match_case: Annotated[bool, typer.Option("--match-case", help="Find it only in this case.")] = False,
    whole_words: Annotated[bool, typer.Option("--whole-words", help="Find it only as words of its own.")] = False,
    fill_empty: Annotated[
        bool, typer.Option("--fill-empty", help="Give photos without a caption the template's first.")
    ] = False,
    what_if: Annotated[bool, typer.Option("--what-if", help="Print what would change; change nothing.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last such change back.")] = False,
    as_json: Json = False,
) -> None:
    """Change many captions at once, all or none.

    \b
    Examples:
      limner photos captions rex --find "brown dog" \\
        --replace "{trigger} dog" --what-if
      limner photos captions rex --undo
    """
    with studio() as it:
        if undo:
            done = it.captions.undo(slug)
        else:
            done = it.captions.edit(
                slug,
                what_if=what_if,
                find=find,
                replace=replace,
                prefix=prefix,
                suffix=suffix,
                match_case=match_case,
                whole_words=whole_words,
                fill_empty=fill_empty,
            )
    words = "put back" if undo else "would change" if what_if else "changed"
    show(done, as_json, lambda out: _changes(out, done, words))


def _changes(out: Console, done: CaptionChanges, words: str) -> None:
    for change in done.changes:
        out.print(f"{change.photo[:8]}  - {change.before or '(template)'}", soft_wrap=True)
        out.print(f"{'':8}  + {change.after or '(template)'}", soft_wrap=True)
    out.print(f"{len(done.changes)} caption{'' if len(done.changes) == 1 else 's'} {words}.")
