"""limner dataset: freeze photos and captions, look at them, package them for a trainer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from limner.cli.output import Json, ago, show, studio, table

__all__ = ["add_to"]

group = typer.Typer(help="Frozen snapshots of photos, captions and crops.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="dataset")


@group.command("freeze")
def freeze(
    slug: str,
    base: Annotated[str, typer.Option(help="The base it is for.")] = "",
    resolution: Annotated[int | None, typer.Option(help="The bucket resolution; the base's own if left out.")] = None,
    template: Annotated[str, typer.Option(help="Caption of photos that have none.")] = "",
    captioner: Annotated[str, typer.Option(help="A captioner for photos that have no caption.")] = "",
    allow_few: Annotated[bool, typer.Option(help="Accept fewer than four photos.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="Also draw the crops into this PNG.")] = None,
    as_json: Json = False,
) -> None:
    """Freeze a subject's photos as they are now."""
    with studio() as it:
        dataset = it.freeze(
            slug, base=base, resolution=resolution, template=template, captioner=captioner, allow_few=allow_few
        )
        if sheet is not None:
            it.crop_sheet(dataset.digest, sheet)
    for finding in dataset.findings:
        sys.stderr.write(f"! {finding.message} {finding.remedy}\n")
    words = f"Frozen: {dataset.digest[:12]}, {dataset.photos} photos at {dataset.resolution} px."
    show(dataset, as_json, lambda out: out.print(words))


@group.command("list")
def list_all(slug: Annotated[str, typer.Argument()] = "", as_json: Json = False) -> None:
    """List the frozen datasets."""
    with studio() as it:
        found = it.datasets(slug)
    rows = [(d.digest[:12], d.subject, d.photos, d.resolution, ago(d.created_at)) for d in found]
    columns = ("dataset", "subject", "photos", "resolution", "frozen")
    show(found, as_json, lambda out: table(out, columns, rows, "No dataset yet: limner dataset freeze SLUG"))


@group.command("show")
def show_one(
    dataset: Annotated[str, typer.Argument(help="A digest, six digits of it, or a subject.")],
    sheet: Annotated[Path | None, typer.Option(help="Draw the crops into this PNG.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a dataset holds."""
    with studio() as it:
        found = it.dataset(dataset)
        if sheet is not None:
            it.crop_sheet(found.digest, sheet)
    rows = [
        (
            i.photo[:10],
            f"{i.bucket[0]}×{i.bucket[1]}",
            f"{i.crop.left},{i.crop.top} {i.crop.width}×{i.crop.height}",
            i.caption,
        )
        for i in found.manifest.items
    ]
    show(found, as_json, lambda out: table(out, ("photo", "bucket", "crop", "caption"), rows, ""))


@group.command("package")
def package(
    dataset: Annotated[str, typer.Argument(help="A digest, six digits of it, or a subject.")],
    layout: Annotated[str, typer.Option(help="replicate, fal, kohya, ai-toolkit or diffusers.")],
    out: Annotated[Path, typer.Option(help="The zip or folder to write.")],
    as_json: Json = False,
) -> None:
    """Write a dataset in a trainer's layout; the same dataset gives the same bytes."""
    with studio() as it:
        path = it.package(dataset, layout, out)
    show({"path": path, "layout": layout}, as_json, lambda console: console.print(f"Wrote {path}."))
