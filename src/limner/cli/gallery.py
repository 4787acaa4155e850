"""limner images list, favourite, delete, download: pictures by their numbers, or all that a filter finds."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.atomic_file import atomic_file
from limner.cli.arguments import Json, OfSubject, OnlySlug, Sure
from limner.cli.consent_prompt import agree
from limner.cli.output import ago, show, size, studio, table
from limner.errors import InputRefused, StorageFailed

__all__ = ["add_to"]

Numbers = Annotated[
    list[int] | None, typer.Argument(metavar="[IMAGE...]", help="Their numbers, see `limner images list`.", min=0)
]
Lora = Annotated[str, typer.Option(metavar="LORA", help="Only those made with this lora, or with a slug's loras.")]
Text = Annotated[str, typer.Option(metavar="WORDS", help="Only those whose prompt has all these words.")]
By = Annotated[str, typer.Option(metavar="NAME", help="Only those that this generator drew.")]
Favourites = Annotated[bool, typer.Option("--favourites", help="Only favourites.")]
Since = Annotated[datetime | None, typer.Option(metavar="DAY", formats=["%Y-%m-%d"], help="From this day on (UTC).")]
Until = Annotated[datetime | None, typer.Option(metavar="DAY", formats=["%Y-%m-%d"], help="Until this day (UTC).")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Only those of this seed.", min=0)]


def add_to(group: typer.Typer) -> None:
    group.command("list")(list_all)
    group.command("favourite")(favourite)
    group.command("delete")(delete)
    group.command("download")(download)


def list_all(
    slug: OnlySlug = "",
    limit: Annotated[int, typer.Option(metavar="N", help="How many at most, 500 or fewer.")] = 50,
    lora: Lora = "",
    text: Text = "",
    generator: By = "",
    favourites: Favourites = False,
    since: Since = None,
    until: Until = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """List the newest pictures, all or those that a filter finds.

    \b
    Examples:
      limner images list rex --favourites
      limner images list --text "beach night" --since 2026-11-01 --limit 200
    """
    from limner.records import GalleryFilter

    wanted = GalleryFilter(slug, lora, text, generator, favourites, _day(since), _day(until), seed)
    with studio() as it:
        found = [it.generations.image(image.id) for image in it.gallery.page(wanted, limit=limit).images]
    rows = [(i.id, i.prompt, f"{i.width}×{i.height}", i.seed, i.generator, ago(i.created_at)) for i in found]
    columns = ("image", "prompt", "size", "seed", "by", "made")
    empty = 'No picture yet: limner generate "..." --lora SLUG' if wanted.empty else "No picture matches."
    show(found, as_json, lambda out: table(out, columns, rows, empty, whole=("size", "seed", "by", "made")))


def favourite(
    images: Numbers = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the mark away.")] = False,
    as_json: Json = False,
) -> None:
    """Mark pictures as favourites, or no longer."""
    with studio() as it:
        count = it.gallery.set_favourite(images or [], not remove)
    words = "no longer" if remove else "marked as"
    show(
        {"images": images, "favourite": not remove},
        as_json,
        lambda out: out.print(f"{_pictures(count)} {words} favourite."),
    )


def delete(
    images: Numbers = None,
    yes: Sure = False,
    as_json: Json = False,
) -> None:
    """Erase pictures with their files and thumbnails.

    What they were asked for with stays, so they can be drawn again. Where there is no
    terminal to ask on, --yes is needed.
    """
    chosen = list(dict.fromkeys(images or []))
    with studio() as it:
        if chosen:
            agree(f"Erase {_pictures(len(chosen))}?", yes=yes, as_json=as_json)
        count = it.gallery.delete(chosen)
    show({"erased": count}, as_json, lambda out: out.print(f"Erased {_pictures(count)}."))


def download(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The zip to write; or a PNG with --share.")],
    images: Numbers = None,
    subject: OfSubject = "",
    lora: Lora = "",
    text: Text = "",
    generator: By = "",
    favourites: Favourites = False,
    since: Since = None,
    until: Until = None,
    seed: Seed = None,
    share: Annotated[
        bool, typer.Option("--share", help="One picture, with the mark that AI made it and nothing else.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write pictures into a zip, with how each was made.

    \b
    Examples:
      limner images download rex.zip --subject rex --favourites
      limner images download two.zip 812 815
      limner images download clean.png 812 --share
    """
    from limner.records import GalleryFilter

    wanted = GalleryFilter(subject, lora, text, generator, favourites, _day(since), _day(until), seed)
    with studio() as it:
        if share:
            if len(images or []) != 1:
                raise InputRefused("A share copy is of one picture.", remedy="Name one picture.", thing="--share")
            written = _write(file, [it.gallery.share_copy((images or [])[0])])
            count = 1
        else:
            packed = it.gallery.archive(images or it.gallery.ids(wanted))
            count, written = packed.count, _write(file, packed.chunks())
    words = f"{file}: {_pictures(count)}, {size(written)}"
    show({"file": str(file), "images": count, "bytes": written}, as_json, lambda out: out.print(words, soft_wrap=True))


def _write(file: Path, chunks: Any) -> int:
    """Write a file whole or not at all; its bytes."""
    try:
        with atomic_file(file) as stream:
            for chunk in chunks:
                stream.write(chunk)
            written = stream.tell()
    except OSError as failure:
        raise StorageFailed(
            f"{file} could not be written: {failure.strerror}.",
            remedy="Free some space or choose another place.",
            thing=str(file),
        ) from failure
    return written


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"
