"""What is asked of fal for an order: the row of the catalog, its input in its own words, and what forbids it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from limner.catalog.hosted import HostedModel, find_hosted
from limner.errors import RecipeRefused
from limner.training.trainer import TrainingOrder
from limner.types import Finding, Severity, SubjectKind

__all__ = ["PHOTOS", "findings", "model_input", "row_of", "steps_of"]

PHOTOS = "photos"
MODEL = "model"
ADVISED = 10


def row_of(order: TrainingOrder) -> HostedModel:
    """The model that trains the order: the one that the user named, else the catalog's first for the base.

    RecipeRefused: there is none.
    """
    named = str(order.recipe.extra.get(MODEL, ""))
    rows = find_hosted("fal", "train", base=order.base.id)
    wanted = [row for row in rows if named in ("", row.model, row.id)]
    if wanted:
        return wanted[0]
    if not rows:
        served = sorted({row.base for row in find_hosted("fal", "train") if not row.withdrawn})
        raise RecipeRefused(
            f"fal does not train {order.base.id}.",
            remedy=f"It trains {', '.join(served)}; or take another trainer (limner backends).",
            thing=order.base.id,
        )
    models = [row.model for row in rows]
    near = get_close_matches(named, models, n=1)
    raise RecipeRefused(
        f"fal's '{named}' is no trainer of {order.base.id} that the catalog knows.",
        remedy=f"Did you mean {near[0]}?" if near else f"There are {', '.join(models)}.",
        thing=named,
    )


def model_input(row: HostedModel, order: TrainingOrder) -> dict[str, Any]:
    """The input of the model for an order, but for the photos' address."""
    subject = order.manifest.subject
    ours: Mapping[str, Any] = {
        "steps": order.recipe.steps,
        "learning_rate": order.recipe.learning_rate,
        "trigger": subject.trigger,
        "caption": f"a photo of {subject.trigger} {subject.class_word}".strip(),
        "style": True if subject.kind is SubjectKind.STYLE else None,
    }
    told = {row.fields[word]: value for word, value in ours.items() if word in row.fields and value is not None}
    own = {name: value for name, value in order.recipe.extra.items() if name != MODEL}
    return {**row.fixed, **told, **own}


def steps_of(row: HostedModel, order: TrainingOrder) -> int:
    """How many steps are asked for, however the user said it."""
    asked = order.recipe.extra.get(row.fields.get("steps", "steps"), order.recipe.steps)
    return asked if isinstance(asked, int) and not isinstance(asked, bool) else order.recipe.steps


def findings(order: TrainingOrder) -> Iterator[Finding]:
    """What would make a training fail there, and what the user should know before photos are sent."""
    try:
        row = row_of(order)
    except RecipeRefused as refusal:
        yield Finding("model", Severity.REFUSAL, refusal.message, refusal.remedy)
        return
    yield from _settings(row, order)
    yield from _photos(order)
    if row.withdrawn:
        message = f"fal took {row.model} off its list on {row.withdrawn}."
        yield Finding("withdrawn", Severity.REFUSAL, message, "Name another with --set trainer.model=...")


def _settings(row: HostedModel, order: TrainingOrder) -> Iterator[Finding]:
    for name in order.recipe.extra:
        if name == MODEL or name in row.choices:
            continue
        near = get_close_matches(name, row.choices, n=1)
        remedy = f"Did you mean trainer.{near[0]}?" if near else f"It takes {', '.join(row.choices)}."
        yield Finding("setting", Severity.REFUSAL, f"{row.model} takes no setting '{name}'.", remedy)
    steps = steps_of(row, order)
    if steps < 1 or (row.most_steps and steps > row.most_steps):
        message = f"{steps:,} steps are not possible: {row.model} takes 1 to {row.most_steps:,}."
        yield Finding("steps", Severity.REFUSAL, message, f"{row.steps:,} are usual.")
    if "learning_rate" not in row.fields and "learning_rate" in row.choices:
        message = f"{row.model} keeps to a learning rate of its own."
        remedy = "To change it: --set trainer.learning_rate=..."
        yield Finding("own-learning-rate", Severity.NOTE, message, remedy)
    message = f"{row.model} chooses rank, resolution, batch and seed itself; the recipe's are not sent."
    yield Finding("own-settings", Severity.NOTE, message)


def _photos(order: TrainingOrder) -> Iterator[Finding]:
    count = len(order.manifest.items)
    if not count:
        yield Finding("dataset", Severity.REFUSAL, "The dataset is empty.", "Add photos and freeze it.")
        return
    if order.package is None:
        message = "The dataset cannot be packed for fal here."
        yield Finding("package", Severity.REFUSAL, message, "Start the training through Limner's own pipeline.")
    if count < ADVISED:
        message = f"{count} photos are few: fal advises {ADVISED} or more."
        yield Finding("few-photos", Severity.WARNING, message, "Add some, or train for fewer steps.")
    message = "The photos go to fal, to a long random address that anyone who has it can open until fal deletes it."
    yield Finding("photos-leave", Severity.NOTE, message)
