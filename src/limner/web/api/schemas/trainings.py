"""Trainings: how one is asked for, how it goes, and what it leaves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool

from limner.types import JobState
from limner.web.api.schemas.jobs import Job
from limner.web.api.schemas.money import Budget
from limner.web.api.schemas.plain import Amount, Answer, Body, Failure, Finding, Money, PlainData
from limner.web.api.schemas.setup import Base, Need

__all__ = [
    "Checkpoint",
    "Losses",
    "Point",
    "RecipeField",
    "Started",
    "StartedTraining",
    "TrainWish",
    "TrainerChoice",
    "Training",
    "TrainingChoices",
    "TrainingRun",
    "TrainingSample",
]


class TrainWish(Body):
    """A training to be started. What is left out is the preset's, or the settings'."""

    subject: str = Field(min_length=1, max_length=64)
    base: str = Field(default="", max_length=100, description="The base's id.")
    trainer: str = Field(default="", max_length=100, description="Who trains.")
    preset: str = Field(default="", max_length=40, description="quick, balanced or thorough.")
    settings: dict[str, Any] = Field(
        default_factory=dict, max_length=100, description="Recipe fields over the preset's, such as steps and rank."
    )
    dataset: str = Field(default="", max_length=64, description="A frozen dataset; the photos as they are if left out.")
    sample_prompts: list[Annotated[str, Field(max_length=5_000)]] | None = Field(
        default=None, max_length=20, description="Prompts drawn while training; {trigger} is filled in."
    )
    template: str = Field(default="", max_length=2_000, description="Caption of photos that have none.")
    captioner: str = Field(default="", max_length=100, description="Who captions photos that have none.")
    allow_few: StrictBool = Field(default=False, description="Accept fewer than four photos.")
    yes: StrictBool = Field(default=False, description="Agree to the price, where it is more than goes without asking.")
    max_cost: Amount | None = Field(default=None, description="US dollars; refused if the estimate is higher.")


class Training(Answer):
    """One run of a recipe. ``lora`` names what it made, such as ``zibbo@v1``, "" before; ``dataset`` is a digest.

    ``losses`` and ``rates`` are at ``/trainings/{training}/losses``, the pictures at ``/samples``.
    """

    id: str
    subject: str
    dataset: str
    base: str
    trainer: str
    recipe: PlainData
    state: JobState
    error: Failure | None = None
    lora: str = ""
    sample_prompts: list[str] = Field(default_factory=list)
    findings: list[Finding] = Field(default_factory=list, description="That its loss diverged, and what to do.")
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Started(Answer):
    """Long work that was started: its job, which ``Location`` leads to as well."""

    job: Job


class StartedTraining(Started):
    """A training that was started, and its job."""

    training: Training


class Point(Answer):
    """A place of a curve."""

    step: int
    value: float


def _points(pairs: Any) -> Any:
    return [{"step": one[0], "value": one[1]} if isinstance(one, tuple) else one for one in pairs]


Curve = Annotated[list[Point], BeforeValidator(_points)]


class Losses(Answer):
    """The curves of a training: its loss, and its learning rate where the trainer says it."""

    losses: Curve
    rates: Curve


class TrainingSample(Answer):
    """A picture drawn after ``step`` for the prompt at ``position``."""

    training: str
    step: int
    position: int
    prompt: str
    digest: str


class Checkpoint(Answer):
    """The weights of a training after ``step``. A generation names them by ``name``; ``lora`` if they were picked."""

    name: str
    training: str
    step: int
    digest: str
    byte_size: int
    lora: str = ""


class TrainingRun(Answer):
    """A training with its job, samples, checkpoints and cost in US dollars; ``paid``: it is the vendor's own figure."""

    training: Training
    job: Job | None = None
    samples: list[TrainingSample]
    checkpoints: list[Checkpoint]
    photos: int
    cost: Money
    paid: bool
    over: bool


class RecipeField(Answer):
    """One field of a recipe: what it is, what is allowed, and its ``value`` in the preset."""

    name: str
    title: str
    help: str
    kind: str
    value: Any = None
    low: float | None = None
    high: float | None = None
    choices: list[str] = Field(default_factory=list)
    group: str = ""


class TrainerChoice(Answer):
    """One trainer for a wish: its price in US dollars, its time in seconds (null: unknown), or why it cannot."""

    trainer: str
    title: str
    summary: str
    vendor: str
    cost: Money
    seconds: float | None = None
    measured: bool
    certain: bool
    note: str = ""
    sees_photos: str = ""
    needs: list[Need] = Field(default_factory=list)
    limits: PlainData | None = None
    refusals: list[Finding] = Field(default_factory=list)
    warnings: list[Finding] = Field(default_factory=list)
    asks: bool = False
    usable: bool


class TrainingChoices(Answer):
    """What a training could be: its trainers, its recipe and what may be set, the budgets, and what was noticed."""

    subject: Annotated[str, BeforeValidator(lambda given: getattr(given, "slug", given))]
    base: Base
    preset: str
    presets: dict[str, PlainData]
    recipe: PlainData
    fields: list[RecipeField]
    photos: int
    warned: int
    choices: list[TrainerChoice]
    chosen: TrainerChoice | None = None
    budgets: list[Budget]
    findings: list[Finding] = Field(default_factory=list)
    problems: dict[str, str] | None = None
