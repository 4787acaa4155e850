"""limner train and limner trainings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.arguments import (
    AllowFew,
    BaseName,
    Detach,
    Json,
    OnlySlug,
    PresetName,
    RecipeFields,
    Slug,
    Template,
    TrainerName,
    TrainingName,
    WhatIf,
    Yes,
)
from limner.cli.consent_prompt import price, show_what_if, with_consent
from limner.cli.help_layout import Noun
from limner.cli.output import ago, remarks, short, show, studio, table
from limner.cli.progress import details, follow
from limner.humanize import spoken
from limner.options import TrainOptions, parse_setting
from limner.types import Estimate

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import Training

__all__ = ["add_to", "recipe_settings"]

group = typer.Typer(cls=Noun, help="Trainings: past and running.")


def add_to(app: typer.Typer) -> None:
    app.command("train")(train)
    app.add_typer(group, name="trainings")


def recipe_settings(pairs: list[str] | None) -> dict[str, Any]:
    """``--set rank=8`` pairs as a mapping; whole numbers, decimals, true and false become what they are."""
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        name, mark, value = pair.partition("=")
        if not mark:
            raise typer.BadParameter(f"'{pair}' is not NAME=VALUE.")
        settings[name.strip()] = parse_setting(name.strip(), value)
    return settings


def train(
    slug: Slug,
    base: BaseName = "",
    trainer: TrainerName = "",
    preset: PresetName = "",
    set_: RecipeFields = None,
    dataset: Annotated[
        str, typer.Option(metavar="DATASET", help="A frozen dataset; the photos as they are now if left out.")
    ] = "",
    sample: Annotated[
        list[str] | None, typer.Option(metavar="PROMPT", help="A prompt drawn while training. Repeat it.")
    ] = None,
    template: Template = "",
    allow_few: AllowFew = False,
    yes: Yes = False,
    what_if: WhatIf = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Train a lora of a subject.

    Without --dataset the photos are frozen as they are now. Ctrl-C stops the watching only: the training goes on.

    \b
    Examples:
      limner train rex
      limner train rex --preset quick --sample "a photo of {trigger} dog"
      limner train rex --base flux1-dev --set rank=32 --set steps=2000
      limner train rex --base flux1-dev --trainer replicate --what-if
    """
    options: TrainOptions = {
        "base": base,
        "trainer": trainer,
        "preset": preset,
        "settings": recipe_settings(set_),
        "dataset": dataset,
        "sample_prompts": sample or (),
        "template": template,
        "allow_few": allow_few,
    }
    with studio() as it:
        if what_if:
            show_what_if(it.trainings.start(slug, what_if=True, **options), as_json)
        if not dataset:
            # Said before it is paid for: captions that are longer than the base reads.
            health = it.photos.health(slug, base=base)
            remarks([one for one in health.findings if one.code == "caption-cut"], as_json=as_json)
        job = with_consent(lambda agreed: it.train(slug, **options, yes=agreed), yes=yes, as_json=as_json)
        follow(it, job, detach=detach, as_json=as_json)
        training = it.trainings.view(job.target).training
    remarks(training.findings, as_json=as_json)
    show(training, as_json, lambda out: out.print(_next(training), soft_wrap=True))


def _next(training: Training) -> str:
    return (
        f'Trained {training.lora}.\nNext: limner generate "a photo of {{trigger}} on the beach" --lora {training.lora}'
    )


@group.command("list")
def list_all(slug: OnlySlug = "", as_json: Json = False) -> None:
    """List the trainings, newest first."""
    with studio() as it:
        found = it.trainings.all(slug)
    rows = [(short(t.id), t.subject, t.base, t.trainer, t.state.value, t.lora, ago(t.created_at)) for t in found]
    columns = ("training", "subject", "base", "trainer", "state", "lora", "started")
    empty = "No training yet: limner train SLUG"
    show(found, as_json, lambda out: table(out, columns, rows, empty, whole=("lora", "state", "started")))


def _show(out: Console, training: Training) -> None:
    rows: list[tuple[str, object]] = [
        ("subject", training.subject),
        ("state", training.state.value),
        ("base", training.base),
        ("trainer", training.trainer),
        ("dataset", short(training.dataset)),
        ("lora", training.lora or "none yet"),
    ]
    if training.losses:
        rows.append(("loss", f"{training.losses[-1][1]:.4f} at step {training.losses[-1][0]}"))
    if training.progress is not None and not training.state.ended:
        rows.append(("progress", details(training.progress)))
    rows += [(name, value) for name, value in training.recipe.items() if name != "base" and value not in ([], ())]
    if training.error:
        rows.append(("error", f"{training.error.message} {training.error.remedy}"))
    table(out, (training.id, ""), rows, "")
    remarks(training.findings, as_json=False)


@group.command("show")
def show_one(training: TrainingName, as_json: Json = False) -> None:
    """Show one training: recipe, state, loss, error."""
    with studio() as it:
        found = it.trainings.view(training).training
    show(found, as_json, lambda out: _show(out, found))


@group.command("watch")
def watch(training: TrainingName, as_json: Json = False) -> None:
    """Follow a running training; Ctrl-C stops the watching only."""
    with studio() as it:
        found = it.trainings.get(training)
        follow(it, it.jobs.get(found.id), as_json=as_json)
        found = it.trainings.view(found.id).training
    show(found, as_json, lambda out: _show(out, found))


@group.command("choices")
def choices(
    slug: Slug, base: BaseName = "", preset: PresetName = "", set_: RecipeFields = None, as_json: Json = False
) -> None:
    """Show every trainer for a subject, with price and time.

    Also who sees the photos, and what stands in the way. Nothing is sent.
    """
    with studio() as it:
        found = it.trainings.offers(slug, base=base, preset=preset, settings=recipe_settings(set_))
    rows = [
        (
            one.trainer,
            price(Estimate(one.cost, None, one.certain)),
            spoken(one.seconds) if one.seconds is not None else "",
            one.sees_photos,
            " ".join(f"{said.message} {said.remedy}" for said in one.refusals) or "ready",
        )
        for one in found.choices
    ]
    show(found, as_json, lambda out: table(out, ("trainer", "price", "time", "photos seen by", ""), rows, ""))


@group.command("settings")
def settings(base: BaseName = "", preset: PresetName = "", as_json: Json = False) -> None:
    """Show the fields of a recipe, and their values in a preset."""
    with studio() as it:
        found = it.trainings.recipe_fields(base=base, preset=preset)
    rows = [
        (
            one.name,
            str(one.value),
            ", ".join(one.choices) or (f"{one.low:g} to {one.high:g}" if one.low is not None else ""),
            one.help,
        )
        for one in found
    ]
    show(found, as_json, lambda out: table(out, ("field", "value", "allowed", ""), rows, ""))


@group.command("log")
def log(training: TrainingName, as_json: Json = False) -> None:
    """Print the end of a training's log."""
    with studio() as it:
        found = it.trainings.log(training)
    show({"log": found}, as_json, lambda _: sys.stdout.write(f"{found or 'There is no log yet.'}\n"))


@group.command("cancel")
def cancel(training: TrainingName, as_json: Json = False) -> None:
    """Stop a training at its next safe point; a checkpoint is kept."""
    with studio() as it:
        job = it.cancel(it.trainings.get(training).id)
    words = f"{training} stops at its next safe point.\nGo on with it later: limner trainings resume {training}"
    show(job, as_json, lambda out: out.print(words))


@group.command("resume")
def resume(
    training: TrainingName, yes: Yes = False, what_if: WhatIf = False, detach: Detach = False, as_json: Json = False
) -> None:
    """Go on with a stopped training from its last checkpoint.

    A vendor keeps no checkpoints: there it starts anew, at its price, unless it still runs.
    """
    with studio() as it:
        if what_if:
            show_what_if(it.trainings.resume(training, what_if=True), as_json)
        job = with_consent(lambda agreed: it.trainings.resume(training, yes=agreed), yes=yes, as_json=as_json)
        follow(it, job, detach=detach, as_json=as_json)
        found = it.trainings.get(training)
    show(found, as_json, lambda out: out.print(_next(found), soft_wrap=True))
