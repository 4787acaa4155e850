"""limner generate, images, inspect, reproduce."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli import gallery, offers
from limner.cli.arguments import BaseName, Detach, Extra, GeneratorName, Guidance, Json, Steps, WhatIf, Yes
from limner.cli.consent_prompt import show_what_if, with_base, with_consent
from limner.cli.help_layout import Noun
from limner.cli.output import hanging, show, studio, table
from limner.cli.progress import follow
from limner.cli.trainings import recipe_settings
from limner.errors import LoraRefused, NotReady
from limner.options import GenerateOptions
from limner.plain_text import plain
from limner.processes import program

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import Image, Job
    from limner.studio import Studio

__all__ = ["add_to", "save_images"]

group = typer.Typer(cls=Noun, help="Pictures: list and open those made.")

LONGEST_VALUE = 200
SAID = ("says", "path", "problem", "findings")
"""What stands in the sentences above the table already."""
Pixels = Annotated[int | None, typer.Option(metavar="PX", help="A multiple of 16; the base's own if left out.")]


def add_to(app: typer.Typer) -> None:
    app.command("generate")(generate)
    offers.add_to(group)
    gallery.add_to(group)
    app.add_typer(group, name="images")
    app.command("inspect")(inspect)
    app.command("reproduce")(reproduce)


def save_images(it: Studio, images: tuple[Image, ...], folder: Path) -> list[Path]:
    """Copy pictures into a folder under readable names that never overwrite another picture."""
    names = (
        f"{image.generation.removeprefix('generation_')[:8]}-{image.position:02d}-{image.seed}" for image in images
    )
    return [
        it.generations.save_image(image.id, folder / f"{name}.png") for image, name in zip(images, names, strict=True)
    ]


def generate(
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="What to draw; {trigger} is filled in from the lora.")
    ],
    lora: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LORA", help="slug, slug@v2, owner/repo of the Hub or an address, then :0.8. Repeat it for several."
        ),
    ] = None,
    base: BaseName = "",
    generator: GeneratorName = "",
    width: Pixels = None,
    height: Pixels = None,
    steps: Steps = None,
    guidance: Guidance = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Picture i is drawn with seed + i; random if left out.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", help="How many pictures.")] = 1,
    model: Annotated[str, typer.Option(metavar="NAME", help="The vendor's model; the catalog's if left out.")] = "",
    set_: Extra = None,
    publish_if_needed: Annotated[
        bool,
        typer.Option("--publish-if-needed", help="Make the lora public if the generator cannot get at it otherwise."),
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Copy the pictures into this folder.")] = None,
    yes: Yes = False,
    what_if: WhatIf = False,
    choices: Annotated[
        bool, typer.Option("--choices", help="Show who could draw this, at what price; draw nothing.")
    ] = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Draw pictures, with one or several loras or none.

    \b
    Examples:
      limner generate "a photo of {trigger} dog on the beach" --lora rex
      limner generate "..." --lora rex@v2:0.9 -n 4 --seed 7 --out pictures
      limner generate "..." --lora rex --lora ann/ink:0.5 --generator together,fal
    """
    options: GenerateOptions = {
        "loras": lora or (),
        "base": base,
        "generator": generator,
        "model": model,
        "width": width,
        "height": height,
        "steps": steps,
        "guidance": guidance,
        "seed": seed,
        "count": count,
        "extra": recipe_settings(set_),
        "publish_if_needed": publish_if_needed,
    }
    with studio() as it:
        if choices:
            offers.show_choices(it.generations.offers(prompt, **options), as_json)
            return
        if what_if:
            show_what_if(it.generations.start(prompt, what_if=True, **options), as_json)

        def start(chosen: str) -> Job:
            options["base"] = chosen
            return with_consent(lambda agreed: it.generate(prompt, **options, yes=agreed), yes=yes, as_json=as_json)

        ended = follow(it, with_base(start, base, as_json=as_json), detach=detach, as_json=as_json)
        generation = it.generations.get(ended.target)
        paths = save_images(it, generation.images, out) if out else [image.path for image in generation.images]

    def render(console: Console) -> None:
        for image, path in zip(generation.images, paths, strict=True):
            console.print(f"{image.id}  {image.generator}  seed {image.seed}  {path}", soft_wrap=True)
        for warning in ended.result.get("warnings", ()):
            hanging(console, "warning: ", warning, indent=9)

    show(generation, as_json, render)


@group.command("open")
def open_one(
    image: Annotated[int, typer.Argument(metavar="IMAGE", help="Its number, see `limner images list`.")],
    as_json: Json = False,
) -> None:
    """Open a picture in the system's viewer."""
    with studio() as it:
        found = it.generations.image(image)
    opener = {"darwin": "open", "win32": "explorer"}.get(sys.platform, "xdg-open")
    viewer = program(opener)
    if viewer is None:
        raise NotReady(f"There is no viewer ({opener}) here.", remedy=f"The picture is {found.path}.", thing=opener)
    subprocess.run([viewer, str(found.path)], check=False)
    show(found, as_json, lambda out: out.print(f"Opened {found.path}", soft_wrap=True))


def _cut(words: str) -> str:
    """A value that fits a few lines: the long ones are machine-readable headers that nobody reads."""
    words = " ".join(words.split())
    return words if len(words) <= LONGEST_VALUE else f"{words[:LONGEST_VALUE]}… ({len(words)} characters)"


def _lines(data: dict[str, Any], depth: int = 0) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in data.items():
        name = "  " * depth + (key if depth else key.replace("_", " "))
        if isinstance(value, dict) and value:
            rows.append((name, ""))
            rows += _lines(value, depth + 1)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, entry in enumerate(value, 1):
                rows.append((f"{name} {number}", ""))
                rows += _lines(entry, depth + 1)
        elif isinstance(value, list) and value:
            rows.append((name, _cut(", ".join(map(str, value)))))
        elif value not in (None, "", [], {}):
            rows.append((name, _cut(str(value))))
    return rows


def _described(out: Console, found: dict[str, Any], name: str) -> None:
    for sentence in found.get("says", ()):
        hanging(out, "", sentence, indent=0)
    if found.get("says"):
        out.print()
    table(out, (name, ""), _lines({key: value for key, value in found.items() if key not in SAID}), "")


def inspect(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A picture or a lora file.")],
    base: BaseName = "",
    as_json: Json = False,
) -> None:
    """Print what a picture or lora file says of itself.

    For a picture: how it was made, and whether its pixels and signature hold. For a lora: its base, naming, rank,
    trigger and digests, read from its tensors, and whether it can be used on its base or on the one you name; if not,
    the exit code is 2. Long values are cut; --json has them whole.
    """
    with studio() as it:
        found = it.loras.inspect(path, base=base)
    show(found, as_json, lambda out: _described(out, plain(found), path.name))
    if found.get("problem"):
        raise typer.Exit(LoraRefused.exit_code)


def reproduce(
    picture: Annotated[Path, typer.Argument(metavar="FILE", help="A picture that Limner made.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Copy the new picture to this file.")] = None,
    yes: Yes = False,
    what_if: WhatIf = False,
    as_json: Json = False,
) -> None:
    """Draw a picture again from what it says of itself.

    Then say whether the pixels are the same. If not, the exit code is 1 and the versions that differ are named.
    """
    with studio() as it:
        if what_if:
            show_what_if(it.generations.reproduce(picture, what_if=True), as_json)
        job = with_consent(lambda agreed: it.generations.reproduce(picture, yes=agreed), yes=yes, as_json=as_json)
        follow(it, job, as_json=as_json)
        reproduction = it.generations.reproduced(picture, job)
        if out is not None:
            it.generations.save_image(reproduction.image.id, out)

    def render(console: Console) -> None:
        console.print("The same picture, pixel for pixel." if reproduction.equal else "Not the same pixels.")
        for difference in reproduction.differences:
            console.print(f"  {difference}")
        console.print(str(out or reproduction.image.path), soft_wrap=True)

    show(reproduction, as_json, render)
    if not reproduction.equal:
        raise typer.Exit(1)
