"""limner datasets: freeze photos and captions, look at them, package them for a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.arguments import AllowFew, BaseName, DatasetName, Json, OnlySlug, Resolution, SheetFile, Slug, Template
from limner.cli.help_layout import Noun
from limner.cli.output import ago, remarks, short, show, studio, table

__all__ = ["add_to"]

group = typer.Typer(cls=Noun, help="Datasets: frozen photos, captions and crops.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="datasets")


@group.command("freeze")
def freeze(
    slug: Slug,
    base: BaseName = "",
    resolution: Resolution = None,
    template: Template = "",
    captioner: Annotated[str, typer.Option(metavar="NAME", help="Who captions photos that have none.")] = "",
    allow_few: AllowFew = False,
    sheet: SheetFile = None,
    as_json: Json = False,
) -> None:
    """Freeze a subject's photos as they are now.

    The same photos, captions and crops give the same dataset. `limner train` does this by itself.

    \b
    Example:
      limner datasets freeze rex --template "a {trigger} dog" --sheet crops.png
    """
    with studio() as it:
        dataset = it.datasets.freeze(
            slug, base=base, resolution=resolution, template=template, captioner=captioner, allow_few=allow_few
        )
        if sheet is not None:
            it.datasets.crop_sheet(dataset.digest, sheet)
    remarks(dataset.findings, as_json=as_json)
    words = (
        f"Frozen: {short(dataset.digest)}, {dataset.photos} photos at {dataset.resolution} px.\n"
        f"Next: limner train {slug} --dataset {short(dataset.digest)}"
    )
    show(dataset, as_json, lambda out: out.print(words))


@group.command("list")
def list_all(slug: OnlySlug = "", as_json: Json = False) -> None:
    """List the frozen datasets."""
    with studio() as it:
        found = it.datasets.all(slug)
    rows = [(short(d.digest), d.subject, d.photos, f"{d.resolution} px", ago(d.created_at)) for d in found]
    columns = ("dataset", "subject", "photos", "resolution", "frozen")
    show(found, as_json, lambda out: table(out, columns, rows, "No dataset yet: limner datasets freeze SLUG"))


@group.command("show")
def show_one(dataset: DatasetName, sheet: SheetFile = None, as_json: Json = False) -> None:
    """Show what a dataset holds: buckets, crops, captions."""
    with studio() as it:
        found = it.datasets.get(dataset)
        if sheet is not None:
            it.datasets.crop_sheet(found.digest, sheet)
    rows = [
        (
            short(i.photo),
            f"{i.bucket[0]}×{i.bucket[1]}",
            f"{i.crop.width}×{i.crop.height} at {i.crop.left},{i.crop.top}",
            i.caption,
        )
        for i in found.manifest.items
    ]
    columns = ("photo", "bucket", "crop", "caption")
    show(found, as_json, lambda out: table(out, columns, rows, "", whole=("bucket", "crop")))


@group.command("package")
def package(
    dataset: DatasetName,
    layout: Annotated[str, typer.Option(metavar="LAYOUT", help="replicate, fal, kohya, ai-toolkit or diffusers.")],
    out: Annotated[Path, typer.Option(metavar="PATH", help="The zip or folder to write.")],
    zipped: Annotated[bool, typer.Option("--zip", help="Write one zip also where the layout is a folder.")] = False,
    as_json: Json = False,
) -> None:
    """Write a dataset in a trainer's layout.

    The same dataset always gives the same bytes.

    \b
    Example:
      limner datasets package rex --layout kohya --out rex-kohya
    """
    with studio() as it:
        path = it.datasets.package(dataset, layout, out, zipped=zipped)
    show({"path": path, "layout": layout}, as_json, lambda console: console.print(f"Wrote {path}.", soft_wrap=True))
