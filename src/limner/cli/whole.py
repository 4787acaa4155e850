"""limner run and limner demo: the whole pipeline in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.output import Detach, Json, follow, show, studio
from limner.cli.pictures import save_images
from limner.cli.trainings import recipe_settings
from limner.errors import Conflict, NotFound
from limner.types import SubjectKind

if TYPE_CHECKING:
    from limner.studio import Studio

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    app.command("run")(run)
    app.command("demo")(demo)


def run(
    photos: Annotated[list[str], typer.Argument(help="Files, folders, zips, or globs in quotes.")],
    name: Annotated[str, typer.Option(help="The subject's slug, such as rex.")],
    prompt: Annotated[list[str], typer.Option(help="What to draw; {trigger} is filled in. Repeat it.")],
    kind: Annotated[SubjectKind, typer.Option(help="What it is.")] = SubjectKind.PERSON,
    class_word: Annotated[str, typer.Option(help="The plain word for it: person, dog, teapot.")] = "",
    trigger: Annotated[str, typer.Option(help="The rare word that will stand for it.")] = "",
    base: Annotated[str, typer.Option(help="The base to train on.")] = "",
    trainer: Annotated[str, typer.Option(help="Who trains.")] = "",
    hub: Annotated[str, typer.Option(help="Where to publish.")] = "",
    generator: Annotated[str, typer.Option(help="Who draws.")] = "",
    preset: Annotated[str, typer.Option(help="quick, balanced or thorough.")] = "",
    set_: Annotated[list[str] | None, typer.Option("--set", help="A recipe field, such as rank=8. Repeat it.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="Pictures a prompt.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Random if left out.")] = None,
    out: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path("pictures"),
    allow_few: Annotated[bool, typer.Option(help="Accept fewer than four photos.")] = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Photos in, pictures out: intake, dataset, training, publication, pictures.

    Example: limner run ~/photos/rex --name rex --kind pet --prompt "a photo of {trigger} pet in the snow"
    """
    with studio() as it:
        _subject(it, name, kind, class_word, trigger)
        job = it.run(
            name,
            photos,
            prompt,
            train={"base": base, "trainer": trainer, "preset": preset, "settings": recipe_settings(set_)},
            freeze={"allow_few": allow_few},
            publish={"hub": hub},
            generate={"generator": generator, "count": count, "seed": seed},
        )
        ended = follow(it, job, detach=detach, as_json=as_json)
        if ended is None:
            return
        generations = [it.generation(r.result["generation"]) for r in ended.stages if r.stage == "generate"]
    saved = [path for generation in generations for path in save_images(generation.images, out)]
    lines = [f"{ended.result['lora']}, published to {ended.result['repo']} on {ended.result['hub']}.", *map(str, saved)]
    show({"job": ended, "pictures": saved}, as_json, lambda console: console.print("\n".join(lines), soft_wrap=True))


def _subject(it: Studio, slug: str, kind: SubjectKind, class_word: str, trigger: str) -> None:
    """Add the subject, or go on with the one of that name if it is the same."""
    try:
        found = it.subject(slug)
    except NotFound:
        it.add_subject(slug, kind=kind, class_word=class_word, trigger=trigger)
        return
    asked = {"class word": (class_word, found.class_word), "trigger": (trigger, found.trigger)}
    for field, (wanted, known) in asked.items():
        if wanted and wanted != known:
            raise Conflict(
                f"The subject '{slug}' has the {field} '{known}', not '{wanted}'.",
                remedy="Choose another --name, or leave it out.",
                thing=slug,
            )


def demo(
    out: Annotated[Path, typer.Option(help="Where the contact sheet and pictures go.")] = Path("demo-output"),
    as_json: Json = False,
) -> None:
    """Run the whole pipeline twice with the model that ships with Limner, and draw a contact sheet."""
    from limner.demo.show import run_demo

    result = run_demo(out, quiet=as_json)
    show(result, as_json, lambda console: console.print(f"\nContact sheet: {result['sheet']}", soft_wrap=True))
