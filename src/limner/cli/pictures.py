"""limner generate, images, inspect, reproduce."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.output import Detach, Json, ago, follow, show, studio, table
from limner.errors import NotReady

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import Image
    from limner.studio import Studio

__all__ = ["add_to", "save_images"]

group = typer.Typer(help="Pictures made.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.command("generate")(generate)
    app.add_typer(group, name="images")
    app.command("inspect")(inspect)
    app.command("reproduce")(reproduce)


def save_images(images: tuple[Image, ...], folder: Path) -> list[Path]:
    """Copy pictures into a folder under readable names that never overwrite another picture."""
    folder.mkdir(parents=True, exist_ok=True)
    saved = []
    for image in images:
        path = folder / f"{image.generation.removeprefix('generation_')[:8]}-{image.position:02d}-{image.seed}.png"
        shutil.copyfile(image.path, path)
        saved.append(path)
    return saved


def generate(
    prompt: Annotated[str, typer.Argument(help="What to draw; {trigger} is filled in from the lora.")],
    lora: Annotated[list[str] | None, typer.Option(help="slug, slug@v2 or slug@v2:0.8. Repeat it for several.")] = None,
    base: Annotated[str, typer.Option(help="The base; the lora's own if left out.")] = "",
    generator: Annotated[str, typer.Option(help="Who draws; see `limner backends`.")] = "",
    width: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.")] = None,
    seed: Annotated[int | None, typer.Option(help="Picture i is drawn with seed + i; random if left out.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="How many pictures.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Copy the pictures into this folder.")] = None,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Draw pictures with one or several loras.

    Example: limner generate "a photo of {trigger} dog on the beach" --lora rex:0.9 -n 4 --out pictures
    """
    with studio() as it:
        job = it.generate(
            prompt,
            loras=lora or (),
            base=base,
            generator=generator,
            width=width,
            height=height,
            steps=steps,
            guidance=guidance,
            seed=seed,
            count=count,
        )
        if follow(it, job, detach=detach, as_json=as_json) is None:
            return
        generation = it.generation(job.target)
    paths = save_images(generation.images, out) if out else [image.path for image in generation.images]

    def render(console: Console) -> None:
        for image, path in zip(generation.images, paths, strict=True):
            console.print(f"{image.id}  seed {image.seed}  {path}", soft_wrap=True)

    show(generation, as_json, render)


@group.command("list")
def list_all(
    slug: Annotated[str, typer.Argument(help="Only pictures of this subject.")] = "",
    limit: Annotated[int, typer.Option(help="How many.")] = 50,
    as_json: Json = False,
) -> None:
    """List the newest pictures."""
    with studio() as it:
        found = it.images(slug, limit=limit)
    rows = [(i.id, i.prompt[:60], f"{i.width}×{i.height}", i.seed, ago(i.created_at)) for i in found]
    columns = ("image", "prompt", "size", "seed", "made")
    show(found, as_json, lambda out: table(out, columns, rows, 'No picture yet: limner generate "..." --lora SLUG'))


@group.command("open")
def open_one(image: int, as_json: Json = False) -> None:
    """Open a picture in the system's viewer."""
    with studio() as it:
        found = it.image(image)
    opener = {"darwin": "open", "win32": "explorer"}.get(sys.platform, "xdg-open")
    if shutil.which(opener) is None:
        raise NotReady(f"There is no viewer ({opener}) here.", remedy=f"The picture is {found.path}.", thing=opener)
    subprocess.run([opener, str(found.path)], check=False)
    show(found, as_json, lambda out: out.print(f"Opened {found.path}", soft_wrap=True))


def _lines(data: dict[str, Any], depth: int = 0) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in data.items():
        name = "  " * depth + key.replace("_", " ")
        if isinstance(value, dict) and value:
            rows.append((name, ""))
            rows += _lines(value, depth + 1)
        elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            for number, entry in enumerate(value, 1):
                rows.append((f"{name} {number}", ""))
                rows += _lines(entry, depth + 1)
        elif value not in (None, "", [], {}, ()):
            rows.append((name, value))
    return rows


def inspect(path: Annotated[Path, typer.Argument(help="A picture or a lora file.")], as_json: Json = False) -> None:
    """Print what a picture or a lora says of itself, and whether its signature holds."""
    from limner.cli.output import plain

    with studio() as it:
        found = it.inspect(path)
    show(found, as_json, lambda out: table(out, (path.name, ""), _lines(plain(found)), ""))


def reproduce(
    picture: Annotated[Path, typer.Argument(help="A picture that Limner made.")],
    out: Annotated[Path | None, typer.Option(help="Copy the new picture to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Draw a picture again from its own provenance, and say whether the pixels are the same."""
    with studio() as it:
        reproduction = _reproduced(it, picture, as_json)
    if out is not None:
        shutil.copyfile(reproduction.image.path, out)

    def render(console: Console) -> None:
        if reproduction.equal:
            console.print("The same picture, pixel for pixel.")
        else:
            console.print("Not the same pixels.")
        for difference in reproduction.differences:
            console.print(f"  {difference}")
        console.print(str(out or reproduction.image.path), soft_wrap=True)

    show(reproduction, as_json, render)
    if not reproduction.equal:
        raise typer.Exit(1)


def _reproduced(it: Studio, picture: Path, as_json: bool) -> Any:
    job = it.reproduce(picture)
    follow(it, job, detach=False, as_json=as_json)
    return it.reproduced(picture, job)
