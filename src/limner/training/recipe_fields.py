"""What each field of a recipe is, in words: the one text for forms, the command line and the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from limner.training.recipe import CHOICES, RANGES, Recipe
from limner.types import Base, RecipeField

__all__ = ["recipe_fields"]


GROUPS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Length": {
        "steps": ("Steps", "How long it trains. About 100 a photo."),
        "batch_size": ("Batch size", "Photos looked at together in a step. More is steadier, and needs more memory."),
        "gradient_accumulation": ("Accumulation", "Batches added up to one step, where memory is short."),
        "resolution": ("Resolution", "Size in pixels that photos are brought to."),
    },
    "Capacity": {
        "rank": ("Rank", "How much the lora can hold. 8 to 32 suit most subjects; more makes a larger file."),
        "alpha": ("Alpha", "Strength of the trained layers; usually the same as the rank."),
        "target_layers": ("Layers", "Which layers are trained: all-linear, attention, or names of layers."),
        "layer_ranks": ("Ranks of single layers", "Part of a layer's name, rank and alpha, with spaces; one a line."),
    },
    "Learning": {
        "learning_rate": ("Learning rate", "How far each step goes. Too high breaks the lora, too low learns nothing."),
        "schedule": ("Schedule", "How the learning rate falls towards the end."),
        "warmup_steps": ("Warm-up", "Steps in which the learning rate rises from zero."),
        "weight_decay": ("Weight decay", "Keeps weights small. 0.01 is customary."),
        "gradient_clip": ("Gradient limit", "The largest gradient norm; 0 for no limit."),
        "ema_decay": ("Moving average", "Averages the weights over the last steps; 0 for none, or 0.99."),
    },
    "Photos and noise": {
        "caption_dropout": (
            "Caption dropout",
            "Share of steps without the caption, so that the lora also works alone.",
        ),
        "timestep_sampling": ("Noise levels", "Which noise levels are trained most. A style wants all: uniform."),
        "guidance": ("Guidance", "What guidance-distilled bases are told while training; 1 for training."),
        "seed": ("Seed", "The same seed, photos and recipe give the same lora."),
        "precision": ("Precision", "Number format of the base while training."),
    },
    "On the way": {
        "checkpoint_every": ("Checkpoint every", "Steps between two checkpoints; 0 for the last step only."),
        "sample_every": ("Sample every", "Steps between two rounds of sample pictures; 0 for the last step only."),
    },
}
_WHOLE = {field.name for field in fields(Recipe) if field.type == "int"}


def recipe_fields(base: Base, values: Mapping[str, Any]) -> tuple[RecipeField, ...]:
    """All fields for a base, with the values that leaving them out gives."""
    found = []
    for group, members in GROUPS.items():
        for name, (title, words) in members.items():
            choices, low, high = CHOICES.get(name, ()), None, None
            if name == "resolution":
                choices = tuple(map(str, base.resolutions))
            if name in RANGES:
                low, high, _ = RANGES[name]
            kind = "choice" if choices else "whole" if name in _WHOLE else "number" if name in RANGES else "text"
            found.append(RecipeField(name, title, words, kind, values.get(name), low, high, choices, group))
    return tuple(found)
