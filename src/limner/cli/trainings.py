"""limner train and limner trainings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.output import Detach, Json, ago, follow, show, studio, table

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import Training

__all__ = ["add_to", "recipe_settings"]

group = typer.Typer(help="Trainings: past and running.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.command("train")(train)
    app.add_typer(group, name="trainings")


def recipe_settings(pairs: list[str] | None) -> dict[str, Any]:
    """``--set rank=8`` pairs as a mapping; whole numbers and decimals become numbers."""
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        name, mark, value = pair.partition("=")
        if not mark:
            raise typer.BadParameter(f"'{pair}' is not NAME=VALUE.")
        for kind in (int, float):
            try:
                settings[name.strip()] = kind(value)
                break
            except ValueError:
                continue
        else:
            settings[name.strip()] = value.strip()
    return settings


def train(
    slug: Annotated[str, typer.Argument(help="The subject.")],
    base: Annotated[str, typer.Option(help="The base to train on; see `limner bases`.")] = "",
    trainer: Annotated[str, typer.Option(help="Who trains; see `limner backends`.")] = "",
    preset: Annotated[str, typer.Option(help="quick, balanced or thorough.")] = "",
    set_: Annotated[list[str] | None, typer.Option("--set", help="A recipe field, such as rank=8. Repeat it.")] = None,
    dataset: Annotated[str, typer.Option(help="A frozen dataset; the photos as they are now if left out.")] = "",
    sample: Annotated[list[str] | None, typer.Option(help="A prompt drawn while training. Repeat it.")] = None,
    template: Annotated[str, typer.Option(help="Caption of photos that have none.")] = "",
    allow_few: Annotated[bool, typer.Option(help="Accept fewer than four photos.")] = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Train a lora of a subject.

    Example: limner train rex --preset quick --sample "a photo of {trigger} dog on the beach"
    """
    freeze = {} if dataset else {"template": template, "allow_few": allow_few}
    with studio() as it:
        job = it.train(
            slug,
            base=base,
            trainer=trainer,
            preset=preset,
            settings=recipe_settings(set_),
            dataset=dataset,
            sample_prompts=sample or (),
            **freeze,
        )
        ended = follow(it, job, detach=detach, as_json=as_json)
        if ended is None:
            return
        training = it.training(job.target)
    words = (
        f'Trained {training.lora}.\nNext: limner generate "a photo of {{trigger}} on the beach" --lora {training.lora}'
    )
    show(training, as_json, lambda out: out.print(words))


@group.command("list")
def list_all(slug: Annotated[str, typer.Argument()] = "", as_json: Json = False) -> None:
    """List the trainings, newest first."""
    with studio() as it:
        found = it.trainings(slug)
    rows = [(t.id, t.subject, t.base, t.trainer, t.state.value, t.lora, ago(t.created_at)) for t in found]
    columns = ("training", "subject", "base", "trainer", "state", "lora", "started")
    show(found, as_json, lambda out: table(out, columns, rows, "No training yet: limner train SLUG"))


def _show(out: Console, training: Training) -> None:
    rows: list[tuple[str, object]] = [
        ("subject", training.subject),
        ("state", training.state.value),
        ("base", training.base),
        ("trainer", training.trainer),
        ("dataset", training.dataset[:12]),
        ("lora", training.lora or "none yet"),
    ]
    if training.losses:
        rows.append(("loss", f"{training.losses[-1][1]:.4f} at step {training.losses[-1][0]}"))
    rows += [(name, value) for name, value in training.recipe.items() if name != "base"]
    if training.error:
        rows.append(("error", f"{training.error['message']} {training.error['remedy']}"))
    table(out, (training.id, ""), rows, "")


@group.command("show")
def show_one(training: str, as_json: Json = False) -> None:
    """Show one training: recipe, state, loss, error."""
    with studio() as it:
        found = it.training(training)
    show(found, as_json, lambda out: _show(out, found))


@group.command("watch")
def watch(training: str, as_json: Json = False) -> None:
    """Follow a running training."""
    with studio() as it:
        follow(it, it.job(training), detach=False, as_json=as_json)
        found = it.training(training)
    show(found, as_json, lambda out: _show(out, found))


@group.command("cancel")
def cancel(training: str, as_json: Json = False) -> None:
    """Stop a training at its next safe point; a checkpoint is kept."""
    with studio() as it:
        job = it.cancel(training)
    words = f"{training} stops at its next safe point. Resume: limner trainings resume {training}"
    show(job, as_json, lambda out: out.print(words))


@group.command("resume")
def resume(training: str, detach: Detach = False, as_json: Json = False) -> None:
    """Go on with a stopped training from its last checkpoint."""
    with studio() as it:
        if follow(it, it.resume_training(training), detach=detach, as_json=as_json) is None:
            return
        found = it.training(training)
    show(found, as_json, lambda out: out.print(f"Trained {found.lora}."))
