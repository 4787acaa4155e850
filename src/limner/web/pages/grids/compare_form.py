"""The form that compares checkpoints: what was chosen, what it costs, and what is wrong with it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.datastructures import FormData

from limner.errors import InputRefused, LimnerError
from limner.records import Checkpoint, Grid, GridPlan, Training
from limner.studio import Studio

__all__ = ["CompareForm", "read_compare"]

GENERATOR = "local"
"""A checkpoint lies on this machine only, where no vendor can read it."""
FEW = 6
"""Checkpoints that are chosen at first: those spread evenly, the last among them."""
NUMBERS = ("seed", "steps", "width", "height", "guidance")
LONGEST = 100_000


@dataclass(slots=True)
class CompareForm:
    """What the form holds. Texts are as they were typed; ``errors`` are by field."""

    training: Training
    checkpoints: Sequence[Checkpoint]
    trigger: str
    steps_chosen: set[int] = field(default_factory=set)
    scales: str = "0.8, 1"
    prompts: str = ""
    numbers: dict[str, str] = field(default_factory=dict)
    wish: str = field(default_factory=lambda: uuid4().hex)
    errors: dict[str, str] = field(default_factory=dict)
    refused: LimnerError | None = None
    question: str = ""
    plan: GridPlan | None = None

    @classmethod
    def first(cls, studio: Studio, training: Training) -> CompareForm:
        """The form as it is shown first: a few checkpoints, the training's own words."""
        found = studio.trainings.checkpoints(training.id)
        every = max(1, -(-len(found) // FEW))
        base = next(base for base in studio.maintenance.bases() if base.id == training.base)
        return cls(
            training=training,
            checkpoints=found,
            trigger=studio.subjects.get(training.subject).trigger,
            steps_chosen={one.step for one in found[::-1][::every]},
            prompts="a photo of {trigger} {class_word}\n{trigger} {class_word} in the rain at night",
            numbers={
                "seed": str(secrets.randbelow(100_000)),
                "steps": str(base.steps),
                "width": str(base.size),
                "height": str(base.size),
                "guidance": f"{base.guidance:g}",
            },
        )

    @property
    def chosen(self) -> list[int]:
        """The steps that are chosen, in order."""
        return [one.step for one in self.checkpoints if one.step in self.steps_chosen]

    @property
    def lines(self) -> list[str]:
        """The prompts, one a line."""
        return [line.strip() for line in self.prompts.splitlines() if line.strip()]

    def _asked(self) -> tuple[list[str], dict[str, Any]]:
        if not self.chosen:
            raise InputRefused("No checkpoint is chosen.", remedy="Choose at least one.", thing="checkpoint")
        if not self.lines:
            raise InputRefused("There is no prompt.", remedy="Write one a line.", thing="prompt")
        scales = [part.strip() for part in self.scales.replace(";", ",").split(",") if part.strip()]
        options: dict[str, Any] = {
            "x": ("checkpoint", self.chosen),
            "y": ("scale", scales),
            "training": self.training.id,
            "generator": GENERATOR,
        }
        for name in NUMBERS:
            words = self.numbers.get(name, "").strip()
            try:
                value = float(words) if name == "guidance" else int(words)
                if not 0 <= value < 2**32:
                    raise ValueError
            except ValueError:
                raise InputRefused(
                    f"'{words[:40]}' is no {name}.", remedy="Write a number of 0 or more.", thing=name
                ) from None
            options[name] = value
        return self.lines, options

    def look_at_price(self, studio: Studio) -> None:
        """Find out what it would cost; what is wrong goes to its field."""
        try:
            prompts, options = self._asked()
            self.plan = studio.grids.plan(prompts, **options)
        except LimnerError as refusal:
            self.refuse(refusal)

    def start(self, studio: Studio, *, yes: bool, wish: str) -> Grid:
        """Start it, once for a wish. The errors of ``studio.grids.start``."""
        prompts, options = self._asked()
        return studio.grids.start(prompts, yes=yes, wish=wish, **options)

    def refuse(self, refusal: LimnerError) -> None:
        """Note what is wrong, beside its field where it has one."""
        self.refused = refusal
        fields = {
            "checkpoint": "checkpoint",
            "scale": "scales",
            "prompt": "prompts",
            **{name: name for name in NUMBERS},
        }
        if refusal.thing in fields:
            self.errors[fields[refusal.thing]] = str(refusal)


def read_compare(sent: FormData, form: CompareForm) -> CompareForm:
    """What was sent, put into the form as it is shown first."""
    form.steps_chosen = {int(step) for step in map(str, sent.getlist("checkpoint")) if step.isdecimal()}
    form.scales = str(sent.get("scales", form.scales))[:LONGEST]
    form.prompts = str(sent.get("prompts", form.prompts))[:LONGEST]
    form.numbers = {name: str(sent.get(name, form.numbers[name]))[:40] for name in NUMBERS}
    form.wish = str(sent.get("wish", form.wish))
    return form
