"""Recipe: the training settings, the same words for every trainer; checks, presets and the canonical form."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from limner.errors import RecipeRefused
from limner.types import Base, SubjectKind

__all__ = [
    "CHOICES",
    "PRESETS",
    "RANGES",
    "Problem",
    "Recipe",
    "canonical_json",
    "from_mapping",
    "plain",
    "preset",
    "problems",
    "recipe_digest",
    "validate",
]

PRESETS = ("quick", "balanced", "thorough")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The training settings, the same words for every trainer. Fields without a mark are counts.

    ``alpha`` / ``rank`` is the strength of the trained layers; ``layer_ranks`` sets (part of a layer's name, rank,
    alpha) for single layers; ``resolution`` is the bucket size in pixels; ``gradient_clip`` the largest gradient norm,
    0 for none; ``ema_decay`` 0 keeps no moving average; ``checkpoint_every`` and ``sample_every`` 0 mean at the end.
    ``extra`` holds settings that only the chosen trainer knows, written ``trainer.NAME``; the trainer checks them.
    """

    base: str
    rank: int = 16
    alpha: float = 16.0
    learning_rate: float = 1e-4
    schedule: str = "constant"
    warmup_steps: int = 0
    steps: int = 1000
    batch_size: int = 1
    gradient_accumulation: int = 1
    resolution: int = 1024
    seed: int = 0
    caption_dropout: float = 0.0
    timestep_sampling: str = "logit-normal"
    target_layers: str = "all-linear"
    layer_ranks: tuple[tuple[str, int, float], ...] = ()
    ema_decay: float = 0.0
    checkpoint_every: int = 250
    sample_every: int = 250
    guidance: float = 1.0
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    precision: str = "auto"
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that cannot be used: its value, what is allowed, and what to do."""

    field: str
    value: object
    allowed: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field} is {self.value!r}; allowed: {self.allowed}."


# field: lowest, highest, remedy; the bounds belong to the range
RANGES: Mapping[str, tuple[float, float, str]] = {
    "rank": (1, 512, "8 to 32 suit most subjects."),
    "alpha": (1e-6, 4096, "Use the same number as the rank."),
    "learning_rate": (1e-8, 1.0, "1e-4 suits FLUX.1; limner-tiny takes 2e-3."),
    "warmup_steps": (0, 100_000, "0 to a tenth of the steps."),
    "steps": (1, 100_000, "About 100 a photo; 1,000 suits ten photos."),
    "batch_size": (1, 256, "1 on a GPU; accumulate instead where memory is short."),
    "gradient_accumulation": (1, 1024, "1 unless batches do not fit into memory."),
    "seed": (0, 2**63 - 1, "Any whole number from 0."),
    "caption_dropout": (0.0, 1.0, "0 to 0.1."),
    "ema_decay": (0.0, 0.99999, "0 for none, or 0.99."),
    "checkpoint_every": (0, 100_000, "0 for the last step only."),
    "sample_every": (0, 100_000, "0 for the last step only."),
    "guidance": (0.0, 100.0, "1 for training."),
    "weight_decay": (0.0, 10.0, "0.01 is customary."),
    "gradient_clip": (0.0, 1e6, "1, or 0 for no limit."),
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "schedule": ("constant", "linear", "cosine"),
    "timestep_sampling": ("logit-normal", "sigmoid", "uniform", "shifted"),
    "precision": ("auto", "fp32", "bf16"),
}
_TYPES: Mapping[str, type] = {
    one.name: {"int": int, "float": float, "str": str}.get(str(one.type), tuple) for one in fields(Recipe)
}
OWN = "trainer."
"""How a setting begins that only the trainer knows."""


def problems(recipe: Recipe, base: Base) -> list[Problem]:
    """Every setting of a recipe that is out of its range for this base; empty if it can be trained."""
    found: list[Problem] = []
    if recipe.base != base.id:
        found.append(Problem("base", recipe.base, base.id, "Name the base that is trained on."))
    for name, (low, high, remedy) in RANGES.items():
        value = getattr(recipe, name)
        if not _is(value, _TYPES[name]) or not math.isfinite(value) or not low <= value <= high:
            kind = "a whole number" if _TYPES[name] is int else "a number"
            found.append(Problem(name, value, f"{kind} from {low:g} to {high:g}", remedy))
    for name, choices in CHOICES.items():
        value = getattr(recipe, name)
        if value not in choices:
            near = get_close_matches(str(value), choices, n=1)
            remedy = f"Did you mean {near[0]}?" if near else f"Use {choices[0]}."
            found.append(Problem(name, value, ", ".join(choices), remedy))
    if recipe.resolution not in base.resolutions or not _is(recipe.resolution, int):
        wanted = recipe.resolution if _number(recipe.resolution) else base.size
        remedy = f"Use {min(base.resolutions, key=lambda size: abs(size - wanted))}."
        found.append(Problem("resolution", recipe.resolution, ", ".join(map(str, base.resolutions)), remedy))
    if _number(recipe.warmup_steps) and _number(recipe.steps) and 0 < recipe.steps <= recipe.warmup_steps:
        found.append(
            Problem("warmup_steps", recipe.warmup_steps, f"fewer than steps ({recipe.steps})", "Warm up for less.")
        )
    if not isinstance(recipe.target_layers, str) or not recipe.target_layers.strip():
        found.append(Problem("target_layers", recipe.target_layers, "a preset or names of layers", "Use all-linear."))
    found += [problem for entry in recipe.layer_ranks for problem in _layer_problems(entry)]
    return found


def _layer_problems(entry: Any) -> list[Problem]:
    if isinstance(entry, tuple) and len(entry) == 3:
        part, rank, alpha = entry
        if isinstance(part, str) and part and _is(rank, int) and _number(alpha) and 1 <= rank <= 512 and alpha > 0:
            return []
    return [Problem("layer_ranks", entry, "(part of a layer's name, rank 1 to 512, alpha over 0)", "Leave it out.")]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is(value: object, kind: type) -> bool:
    """Whether a value is of a kind; a whole number serves as float, a bool never as a number."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def validate(recipe: Recipe, base: Base) -> Recipe:
    """Give the recipe back if this base can be trained with it; else RecipeRefused lists every problem at once."""
    found = problems(recipe, base)
    if found:
        raise _refusal(f"This recipe cannot train {base.id}:", found)
    return recipe


def _refusal(beginning: str, found: Sequence[Problem]) -> RecipeRefused:
    refused = RecipeRefused(
        " ".join([beginning, *map(str, found)]),
        remedy=" ".join(f"{problem.field}: {problem.remedy}" for problem in found),
        thing=", ".join(dict.fromkeys(problem.field for problem in found)),
    )
    refused.fields = {problem.field: f"Allowed: {problem.allowed}. {problem.remedy}" for problem in found}
    return refused


def from_mapping(values: Mapping[str, Any], start: Recipe | None = None) -> Recipe:
    """Make a recipe of plain values, for instance from JSON or TOML, on top of ``start`` if given.

    RecipeRefused names unknown fields, with what was perhaps meant, and values of the wrong type.
    """
    found: list[Problem] = []
    clean: dict[str, Any] = {}
    extra = dict(start.extra) if start is not None else {}
    for name, value in values.items():
        if name == "extra" and isinstance(value, Mapping):
            extra |= value
        elif name.startswith(OWN):
            extra[name.removeprefix(OWN)] = value
        elif name not in _TYPES or name == "extra":
            near = get_close_matches(str(name), _TYPES, n=1)
            remedy = f"Did you mean {near[0]}?" if near else "Leave it out."
            found.append(Problem(str(name), value, "no such setting", remedy))
        elif name == "layer_ranks":
            clean[name] = _layers(value, found)
        elif not _is(value, _TYPES[name]):
            found.append(Problem(name, value, f"a value of type {_TYPES[name].__name__}", "Correct its type."))
        else:
            clean[name] = float(value) if _TYPES[name] is float else value
    if "base" not in clean and start is None and not found:
        found.append(Problem("base", None, "the id of a base", "Name the base that is trained on."))
    if found:
        raise _refusal("This recipe cannot be read:", found)
    clean["extra"] = extra
    return replace(start, **clean) if start is not None else Recipe(**clean)


def _layers(value: Any, found: list[Problem]) -> tuple[tuple[str, int, float], ...]:
    rows = value if isinstance(value, list | tuple) else [value]
    entries = [tuple(row) if isinstance(row, list | tuple) else row for row in rows]
    wrong = [problem for entry in entries for problem in _layer_problems(entry)]
    found += wrong
    return () if wrong else tuple((str(part), rank, float(alpha)) for part, rank, alpha in entries)


def canonical_json(recipe: Recipe) -> str:
    """The recipe as JSON with sorted keys and no spaces: equal recipes give equal text."""
    return json.dumps(plain(recipe), sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values; ``extra`` is left out where it is empty, as it was before there was one."""
    values = {**asdict(replace(recipe, extra={})), "extra": dict(recipe.extra)}
    if not recipe.extra:
        del values["extra"]
    return values


def recipe_digest(recipe: Recipe) -> str:
    """The SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()


@cache
def _presets() -> Mapping[str, Any]:
    return tomllib.loads(files("limner.training").joinpath("presets.toml").read_text(encoding="utf-8"))


def preset(name: str, base: Base, kind: SubjectKind | None = None, **changes: Any) -> Recipe:
    """A preset for a base and a kind of subject, with single settings changed. RecipeRefused: no such preset."""
    tables = _presets()
    table = tables.get(base.id, tables[base.family.value])
    if name not in table:
        raise RecipeRefused(f"There is no preset '{name}'.", remedy=f"Use one of: {', '.join(PRESETS)}.", thing=name)
    by_kind = tables["kinds"].get(kind.value, {}) if kind is not None and base.id not in tables else {}
    start = from_mapping({"base": base.id, **table[name], **by_kind})
    return from_mapping(changes, start) if changes else start
