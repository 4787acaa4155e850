"""limner run and limner demo: the whole pipeline in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.arguments import (
    AllowFew,
    BaseName,
    Detach,
    GeneratorName,
    HubName,
    Json,
    PresetName,
    Public,
    RecipeFields,
    TrainerName,
    WhatIf,
    Yes,
)
from limner.cli.consent_prompt import show_what_if, with_consent
from limner.cli.generations import save_images
from limner.cli.output import console, remarks, show, studio
from limner.cli.photos import caption_findings
from limner.cli.progress import follow
from limner.cli.trainings import recipe_settings
from limner.errors import Conflict, NotFound
from limner.humanize import spoken
from limner.options import RunOptions
from limner.types import SubjectKind

if TYPE_CHECKING:
    from limner.records import Job
    from limner.studio import Studio

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    app.command("run")(run)
    app.command("demo")(demo)


def run(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTOS...", help="Files, folders, zips, or globs in quotes.")],
    name: Annotated[str, typer.Option(metavar="SLUG", help="The subject's slug, such as rex.")],
    prompt: Annotated[
        list[str], typer.Option(metavar="PROMPT", help="What to draw; {trigger} is filled in. Repeat it.")
    ],
    kind: Annotated[
        SubjectKind, typer.Option(metavar="KIND", help="person, pet, product, character or style.")
    ] = SubjectKind.PERSON,
    class_word: Annotated[str, typer.Option(metavar="WORD", help="The plain word for it: person, dog, teapot.")] = "",
    trigger: Annotated[str, typer.Option(metavar="WORD", help="The rare word that stands for it.")] = "",
    base: BaseName = "",
    trainer: TrainerName = "",
    hub: HubName = "",
    generator: GeneratorName = "",
    preset: PresetName = "",
    set_: RecipeFields = None,
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", help="Pictures a prompt.")] = 1,
    seed: Annotated[int | None, typer.Option(metavar="N", help="The pictures' seed; random if left out.")] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the pictures go.")] = Path("pictures"),
    public: Public = False,
    allow_few: AllowFew = False,
    yes: Yes = False,
    what_if: WhatIf = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Photos in, pictures out, in one command.

    Adds the subject if it is new, takes the photos in, freezes a dataset, trains, publishes to the hub (privately)
    and draws each prompt.

    \b
    Example:
      limner run ~/photos/rex --name rex --kind pet --class-word dog \\
        --prompt "a photo of {trigger} dog in the snow" -n 4
    """
    with studio() as it:
        _subject(it, name, kind, class_word, trigger)
        options: RunOptions = {
            "train": {"base": base, "trainer": trainer, "preset": preset, "settings": recipe_settings(set_)},
            "freeze": {"allow_few": allow_few},
            "publish": {"hub": hub, "visibility": "public" if public else "private"},
            "generate": {"generator": generator, "count": count, "seed": seed},
        }
        if what_if:
            show_what_if(it.runs.start(name, photos, prompt, what_if=True, **options), as_json)
            return
        job = with_consent(lambda agreed: it.run(name, photos, prompt, **options, yes=agreed), yes=yes, as_json=as_json)
        ended = follow(it, job, detach=detach, as_json=as_json)
        if ended is None:
            return
        generations = [it.generations.get(r.result["generation"]) for r in ended.stages if r.stage == "generate"]
        saved = [path for generation in generations for path in save_images(it, generation.images, out)]
    remarks(caption_findings(ended), as_json=as_json)
    lines = [f"{ended.result['lora']}, published to {ended.result['repo']} on {ended.result['hub']}.", *map(str, saved)]
    show({"job": ended, "pictures": saved}, as_json, lambda console: console.print("\n".join(lines), soft_wrap=True))


def _subject(it: Studio, slug: str, kind: SubjectKind, class_word: str, trigger: str) -> None:
    """Add the subject, or go on with the one of that name if it is the same."""
    try:
        found = it.subjects.get(slug)
    except NotFound:
        it.subjects.add(slug, kind=kind, class_word=class_word, trigger=trigger)
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
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the contact sheet and pictures go.")] = Path(
        "demo-output"
    ),
    services: Annotated[
        str, typer.Option(metavar="WHICH", help="stand-in: by way of the services, with stand-ins for them here.")
    ] = "",
    as_json: Json = False,
) -> None:
    """See it work: two subjects, from photos to a contact sheet.

    Uses the tiny model that ships with Limner: no account and no GPU is needed. Everything stays in one folder.
    With --services stand-in it goes Replicate, Hugging Face, Together AI, then fal, Hugging Face, Together AI: the real
    clients over real sockets, to stand-ins that train and draw here.
    """
    from limner.demo.show import run_demo

    if services not in ("", "stand-in"):
        raise typer.BadParameter("--services takes stand-in only.")

    def watch(it: Studio, title: str, job: Job) -> Job:
        if not as_json:
            console(stderr=True).print(f"\n{title}", style="bold")
        ended = follow(it, job, detach=False, as_json=as_json)
        return ended or job

    if services:
        from limner.demo.services import run_services_demo

        result = run_services_demo(out, watch)
    else:
        result = run_demo(out, watch)
    lines = [
        "",
        f"{len(result['pictures'])} pictures and {len(result['publications'])} LoRAs in {spoken(result['seconds'])}.",
        f"Contact sheet: {result['sheet']}",
        f"Published to:  {', '.join(result['publications'])}",
        *([f"At the vendors: about ${result['would_have_cost']:.2f}. Nothing was paid."] if services else []),
        *([] if services else [f"In the browser: LIMNER_HOME={out / 'home'} limner serve"]),
        "Your own photos next: limner run PHOTOS --name NAME --prompt 'a photo of {trigger} ...'",
    ]
    show(result, as_json, lambda console: console.print("\n".join(lines), soft_wrap=True, markup=False))
