"""Trainings as they are looked at: what can be chosen before one, and what a run has to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from limner.records.grids import Checkpoint
from limner.records.stored import Job, Subject, Training
from limner.types import Base, Budget, Finding, Need, RecipeField

__all__ = ["JobEvent", "RecipeField", "TrainerChoice", "TrainingChoices", "TrainingRun", "TrainingSampleEntry"]


@dataclass(frozen=True, slots=True)
class TrainerChoice:
    """One trainer for a wish: its price in US dollars and time in seconds (None: unknown), or why it cannot.

    ``refusals`` say what stands in the way and what mends it; ``warnings`` what to know before. ``asks``: it costs
    more than goes without a yes. ``measured``: the time is that of earlier trainings here, not the catalog's.
    """

    trainer: str
    title: str
    summary: str
    vendor: str
    cost: Decimal
    seconds: float | None
    measured: bool
    certain: bool
    note: str
    sees_photos: str
    needs: tuple[Need, ...] = ()
    limits: Mapping[str, Any] | None = None
    refusals: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    asks: bool = False

    @property
    def usable(self) -> bool:
        """Whether it could train the wish here and now."""
        return not self.refusals


@dataclass(frozen=True, slots=True)
class TrainingChoices:
    """What a training of a subject could be: its trainers, those that can first, then by price; recipe and budgets.

    ``recipe`` is the preset's with the settings over it; ``problems`` says of each setting what is wrong with it (the
    recipe is then the preset's). ``findings`` are about the photos, of which there are ``photos``, ``warned`` of them
    accepted with a warning. ``chosen`` is the trainer named, or the first that can.
    """

    subject: Subject
    base: Base
    bases: tuple[Base, ...]
    preset: str
    presets: Mapping[str, Mapping[str, Any]]
    recipe: Mapping[str, Any]
    fields: tuple[RecipeField, ...]
    photos: int
    warned: int
    choices: tuple[TrainerChoice, ...]
    chosen: TrainerChoice | None
    budgets: tuple[Budget, ...]
    findings: tuple[Finding, ...] = ()
    problems: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class TrainingSampleEntry:
    """A picture drawn after ``step`` for the prompt at ``position``."""

    training: str
    step: int
    position: int
    prompt: str
    digest: str


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A training with all that its page shows. ``job`` is its newest, None where its record is gone.

    ``cost`` is in US dollars and counts every attempt; ``paid``: it is the vendor's, no estimate. ``photos`` is how
    many the dataset has; ``log`` the end of the trainer's log, without secrets.
    """

    training: Training
    job: Job | None
    samples: tuple[TrainingSampleEntry, ...]
    checkpoints: tuple[Checkpoint, ...]
    photos: int
    cost: Decimal
    paid: bool
    log: str

    @property
    def over(self) -> bool:
        """Whether nothing of it goes on."""
        return self.training.state.ended and (self.job is None or self.job.state.ended)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job: ``kind`` is ``job.waiting``, ``job.running``, ``job.done`` and so on."""

    id: int
    kind: str
    job: str
    at: datetime
