"""What a training is sent: Recipe's words in the fields of the trainer's input, and what the user set beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from limner.catalog.hosted import HostedModel, find_hosted
from limner.errors import RecipeRefused
from limner.training.recipe import Recipe
from limner.training.trainer import TrainingOrder
from limner.types import Finding, Severity, SubjectKind
from limner.vendors.replicate.input_schema import InputField, check_inputs, refuse_secrets

__all__ = ["OWN_WORDS", "PHOTOS", "Wishes", "alternatives", "check_offline", "choose_row", "fill_inputs", "read_wishes"]

VENDOR = "replicate"
PHOTOS = "the address of the uploaded zip"
"""What stands for the photos where nothing is uploaded yet."""
OWN_WORDS = ("model", "version", "stuck_minutes", "most_hours")
"""Settings ``trainer.NAME`` that are for Limner and not for the model."""
_NEEDED = frozenset({"photos", "steps"})
# Recipe's words that change the lora, and that a hosted trainer may have no field for.
_TELLING = ("schedule", "warmup_steps", "gradient_accumulation", "timestep_sampling", "target_layers", "layer_ranks")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user set with ``trainer.NAME``: for Limner the first four, for the model's input the rest."""

    model: str = ""
    version: str = ""
    stuck_minutes: float | None = None
    most_hours: float | None = None
    inputs: Mapping[str, Any] | None = None


def read_wishes(recipe: Recipe) -> Wishes:
    """Sort ``recipe.extra``. RecipeRefused: a value of the wrong type."""
    extra = dict(recipe.extra)
    model, version = str(extra.pop("model", "")), str(extra.pop("version", ""))
    if ":" in model and not version:
        model, _, version = model.partition(":")
    times: dict[str, float | None] = {}
    for name in ("stuck_minutes", "most_hours"):
        value = extra.pop(name, None)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e5):
            raise RecipeRefused(
                f"trainer.{name} is {value!r}; allowed: a number above 0.",
                remedy="Leave it out for the usual.",
                thing=name,
            )
        times[name] = value
    return Wishes(model, version.rpartition(":")[2], times["stuck_minutes"], times["most_hours"], extra)


def choose_row(order: TrainingOrder, wishes: Wishes) -> HostedModel:
    """The catalog's trainer for an order. RecipeRefused: there is none for this base, or none of that name."""
    rows = find_hosted(VENDOR, "train", base=order.base.id, model=wishes.model)
    if rows:
        return rows[0]
    if wishes.model:
        known = sorted({row.model for row in find_hosted(VENDOR, "train", base=order.base.id)})
        near = get_close_matches(wishes.model, known, n=1)
        remedy = (
            f"Did you mean {near[0]}?" if near else f"It has {', '.join(known) or 'none'}; or add a row of your own."
        )
        raise RecipeRefused(
            f"The catalog has no trainer '{wishes.model}' at Replicate for {order.base.id}.",
            remedy=remedy,
            thing=wishes.model,
        )
    bases = sorted({row.base for row in find_hosted(VENDOR, "train")})
    raise RecipeRefused(
        f"Replicate trains no lora for {order.base.id}.",
        remedy=f"It trains {', '.join(bases)}. Other ways: limner routes --base {order.base.id}",
        thing=order.base.id,
    )


def alternatives(field: str) -> list[str]:
    """The names that a field may have: a row writes ``training_steps|steps`` where versions differ."""
    return field.split("|")


def _words(order: TrainingOrder, photos: str) -> dict[str, Any]:
    """Recipe's words, and the order's, by the names that a catalog row uses."""
    recipe, subject = order.recipe, order.manifest.subject
    return {
        "photos": photos,
        "trigger": subject.trigger,
        "kind": "style" if subject.kind is SubjectKind.STYLE else "subject",
        "steps": recipe.steps,
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "resolution": recipe.resolution,
        "rank": recipe.rank,
        "caption_dropout": recipe.caption_dropout,
        "seed": recipe.seed,
    }


def fill_inputs(
    row: HostedModel, order: TrainingOrder, wishes: Wishes, fields: Mapping[str, InputField], photos: str
) -> tuple[dict[str, Any], list[Finding]]:
    """The input to send, by the schema of the version (empty: it has none), and what is wrong with it."""
    words = _words(order, photos)
    values: dict[str, Any] = {}
    found: list[Finding] = []
    for word, field in row.fields.items():
        names = alternatives(field)
        name = next((one for one in names if one in fields), None) if fields else names[0]
        if name is not None and word in words:
            values[name] = words[word]
        elif word in _NEEDED:
            message = f"This version of {row.model} has no input for {word} ({' or '.join(names)})."
            remedy = "Pin an older one with --set trainer.version=..., or correct the row in the catalog."
            found.append(Finding("input", Severity.REFUSAL, message, remedy))
        else:
            message = f"This version of {row.model} has no input for {word}: it takes its own."
            found.append(Finding("input", Severity.WARNING, message, ""))
    values |= {name: value for name, value in row.fixed.items() if not fields or name in fields}
    values |= wishes.inputs or {}
    if not fields:
        return values, [*found, *refuse_secrets(wishes.inputs or {})]
    clean, problems = check_inputs(fields, values)
    return clean, [*found, *problems]


def check_offline(row: HostedModel, order: TrainingOrder, wishes: Wishes) -> Iterator[Finding]:
    """What can be said without asking the vendor."""
    recipe = order.recipe
    yield from refuse_secrets(wishes.inputs or {})
    if row.withdrawn:
        message = f"Replicate took {row.model} away on {row.withdrawn}."
        yield Finding("withdrawn", Severity.REFUSAL, message, f"Other ways: limner routes --base {order.base.id}")
    if row.most_steps and recipe.steps > row.most_steps:
        message = f"{recipe.steps} steps are too many: {row.model} takes {row.most_steps}."
        yield Finding("steps", Severity.REFUSAL, message, f"Use {row.most_steps} or fewer.")
    if order.package is None:
        yield Finding("package", Severity.REFUSAL, "The order has no packed dataset.", "Freeze the dataset first.")
    if not order.manifest.items:
        yield Finding("dataset", Severity.REFUSAL, "The dataset is empty.", "Add photos and freeze it.")
    known = {name for field in row.fields.values() for name in alternatives(field)} | set(row.fixed) | set(row.choices)
    for name in sorted(set(wishes.inputs or {}) - known):
        near = get_close_matches(name, sorted(known | set(OWN_WORDS)), n=1)
        hint = f"Did you mean trainer.{near[0]}?" if near else ""
        message = f"The catalog knows no input '{name}' of {row.model}; the version's own schema decides."
        yield Finding("extra", Severity.WARNING, message, hint)
    plain = Recipe(base=recipe.base)
    ignored = [name for name in _TELLING if getattr(recipe, name) != getattr(plain, name)]
    if recipe.alpha != recipe.rank:
        ignored.append("alpha")
    if ignored:
        message = f"{row.model} has no setting for {', '.join(ignored)}: it takes its own (alpha is the rank)."
        yield Finding("ignored", Severity.NOTE, message, "Use the trainer local, or a rented GPU, for these.")
