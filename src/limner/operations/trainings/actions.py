"""Trainings: started, looked at, gone on with, picked from."""

from __future__ import annotations

from typing import Literal, Unpack, overload

from limner.operations.home.facet import Facet
from limner.operations.trainings import queries as training_queries
from limner.options import TrainOptions
from limner.records import (
    Checkpoint,
    Job,
    Lora,
    RecipeField,
    Training,
    TrainingChoices,
    TrainingRun,
    TrainingSampleEntry,
    WhatIf,
)

__all__ = ["Trainings"]


class Trainings(Facet):
    """``studio.trainings``: trainings: started, looked at, gone on with, picked from."""

    @overload
    def start(
        self, slug: str, *, yes: bool = False, what_if: Literal[True], **options: Unpack[TrainOptions]
    ) -> WhatIf: ...
    @overload
    def start(
        self, slug: str, *, yes: bool = False, what_if: Literal[False] = False, **options: Unpack[TrainOptions]
    ) -> Job: ...
    def start(
        self, slug: str, *, yes: bool = False, what_if: bool = False, **options: Unpack[TrainOptions]
    ) -> Job | WhatIf:
        """Train a lora. RecipeRefused lists all settings that cannot be used; the job's ``target`` is the training.

        ConsentNeeded: it costs more than goes without asking, and no ``yes`` was said. ``what_if``: give the plan
        with the exact requests and the price instead; nothing is sent that costs.
        """
        from limner.operations.trainings import submission as trainings

        return self._started(trainings.submit(self._workspace, slug, yes=yes, what_if=what_if, **options))

    def all(self, slug: str = "") -> list[Training]:
        """The trainings, newest first."""
        return training_queries.trainings(self._workspace, slug)

    def get(self, training: str) -> Training:
        """One training."""
        return training_queries.training(self._workspace, training)

    def offers(self, slug: str, **options: Unpack[TrainOptions]) -> TrainingChoices:
        """Every trainer for a training: what it would cost and take, who sees the photos, or why it cannot.

        Nothing is sent and nothing frozen. The options are those of ``start``; a setting that cannot be used is named.
        """
        from limner.operations.trainings import offers as training_choices

        return training_choices.choices(self._workspace, slug, **options)

    def recipe_fields(self, *, base: str = "", preset: str = "") -> tuple[RecipeField, ...]:
        """Every field of a recipe in words, with what is allowed and its value in the preset."""
        from limner.operations.trainings import offers as training_choices

        return training_choices.fields(self._workspace, base=base, preset=preset)

    def view(self, training: str) -> TrainingRun:
        """One training with its samples, checkpoints, cost and log."""
        from limner.operations.trainings import run_view as training_views

        return training_views.run(self._workspace, training)

    def samples(self, training: str) -> list[TrainingSampleEntry]:
        """The pictures drawn while training, by step and prompt; they come while it runs."""
        from limner.operations.trainings import run_view as training_views

        return training_views.samples(self._workspace, training)

    def log(self, training: str) -> str:
        """The end of the trainer's log, without secrets; "" where there is none."""
        from limner.operations.trainings import run_view as training_views

        return training_views.log(self._workspace, training)

    @overload
    def resume(self, training: str, *, yes: bool = False, what_if: Literal[True]) -> WhatIf: ...
    @overload
    def resume(self, training: str, *, yes: bool = False, what_if: Literal[False] = False) -> Job: ...
    def resume(self, training: str, *, yes: bool = False, what_if: bool = False) -> Job | WhatIf:
        """Go on with a stopped training from its last checkpoint, or anew, at its price, where a vendor keeps none."""
        from limner.operations.trainings import submission as trainings

        found = self.get(training).id
        return self._started(trainings.resume(self._workspace, found, yes=yes, what_if=what_if))

    def checkpoints(self, training: str) -> list[Checkpoint]:
        """The checkpoints that a training kept, by step. A generation names one as a lora: ``training_1f0c…#100``."""
        from limner.operations.trainings import checkpoints as picking

        return picking.checkpoints(self._workspace, training)

    def pick(self, training: str, step: int) -> Lora:
        """Make a checkpoint the subject's next version. The same weights again give the lora that is there."""
        from limner.operations.trainings import checkpoints as picking

        return picking.pick(self._workspace, training, step)
