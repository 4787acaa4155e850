"""Trainings: start, follow, stop, go on, and pick a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import Field, StrictBool

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
from limner.web.api import files
from limner.web.api.cursors import PartAsked
from limner.web.api.idempotency import Once
from limner.web.api.path_parameters import (
    OfSubject,
    Position,
    Step,
    ThumbnailWidth,
    TrainingId,
    api_router,
    looked_at,
    started,
)
from limner.web.api.shapes import Amount, Body, Page, Resume
from limner.web.api.spending import WhatIfAsked, refuse_dear
from limner.web.visit import StudioOf, Visit

__all__ = ["router"]

router = api_router("trainings")


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


@dataclass(frozen=True, slots=True)
class StartedTraining:
    """A training that was started, and its job."""

    job: Job
    training: Training


@dataclass(frozen=True, slots=True)
class Point:
    """A place of a curve."""

    step: int
    value: float


@dataclass(frozen=True, slots=True)
class Losses:
    """The curves of a training: its loss, and its learning rate where the trainer says it."""

    losses: list[Point]
    rates: list[Point]


@router.get("/trainings", operation_id="list_trainings", summary="List the trainings")
def trainings(studio: StudioOf, part: PartAsked, subject: OfSubject = "") -> Page[Training]:
    """Of one subject or of all, newest first."""
    return part.page(studio.trainings.all(subject), lambda one: (one.created_at.isoformat(), one.id), newest_first=True)


@router.post(
    "/trainings",
    status_code=202,
    operation_id="start_training",
    summary="Train a lora",
    responses={200: {"model": WhatIf, "description": "What would be done, with ``what_if``"}},
    response_model=StartedTraining,
)
def start(
    response: Response, visit: Visit, studio: StudioOf, once: Once, wanted: TrainWish, what_if: WhatIfAsked = False
) -> Any:
    """Freezes the photos if no dataset is named, and trains. Follow the job that it gives."""
    options = _options(wanted)
    if what_if:
        return looked_at(studio.trainings.start(wanted.subject, what_if=True, **options))

    def estimate() -> Any:
        return studio.trainings.start(wanted.subject, what_if=True, **options).estimate

    refuse_dear(visit, wanted.max_cost, estimate)
    job = started(response, once(studio, lambda: studio.trainings.start(wanted.subject, yes=wanted.yes, **options)))
    training = studio.trainings.get(job.target)
    return StartedTraining(job=job, training=training)


@router.post("/training-choices", operation_id="compare_trainers", summary="Compare the trainers for a training")
def choices(studio: StudioOf, wanted: TrainWish) -> TrainingChoices:
    """What each would cost and take, who sees the photos, or why it cannot. Nothing is sent and nothing frozen."""
    return studio.trainings.offers(wanted.subject, **_options(wanted))


@router.get("/recipe-fields", operation_id="list_recipe_fields", summary="List the fields of a recipe")
def fields(
    studio: StudioOf,
    base: Annotated[str, Query(max_length=100, description="For this base; the setting if left out.")] = "",
    preset: Annotated[str, Query(max_length=40, description="quick, balanced or thorough.")] = "",
) -> tuple[RecipeField, ...]:
    """What each is, what is allowed, and its value in the preset."""
    return studio.trainings.recipe_fields(base=base, preset=preset)


@router.get("/trainings/{training}", operation_id="get_training", summary="See a training")
def show(studio: StudioOf, training: TrainingId) -> Training:
    """Its recipe, state, and the lora that it made."""
    return studio.trainings.get(training)


@router.get("/trainings/{training}/run", operation_id="get_training_run", summary="See all of a training")
def run(studio: StudioOf, training: TrainingId) -> TrainingRun:
    """With its job, samples, checkpoints and cost."""
    return studio.trainings.view(training)


@router.get("/trainings/{training}/losses", operation_id="get_losses", summary="See the curves of a training")
def losses(studio: StudioOf, training: TrainingId) -> Losses:
    """Loss and learning rate by step."""
    found = studio.trainings.get(training)
    return Losses([Point(*one) for one in found.losses], [Point(*one) for one in found.rates])


@router.get("/trainings/{training}/samples", operation_id="list_samples", summary="List the pictures drawn meanwhile")
def samples(studio: StudioOf, training: TrainingId) -> list[TrainingSampleEntry]:
    """By step and prompt; they come while it runs."""
    return studio.trainings.samples(training)


@router.get(
    "/trainings/{training}/samples/{step}/{position}/file",
    operation_id="download_sample",
    summary="Download a picture drawn while training",
    response_class=Response,
    responses=files.PICTURE,
)
def sample(request: Request, studio: StudioOf, training: TrainingId, step: Step, position: Position) -> Response:
    """As it was drawn."""
    found = studio.trainings.get(training).id
    return files.picture_file(request, studio.gallery.sample_picture(found, step, position))


@router.get(
    "/trainings/{training}/samples/{step}/{position}/thumbnail",
    operation_id="download_sample_thumbnail",
    summary="Download such a picture made small",
    response_class=Response,
    responses=files.WEBP,
)
def sample_thumbnail(
    request: Request,
    studio: StudioOf,
    training: TrainingId,
    step: Step,
    position: Position,
    width: ThumbnailWidth = 320,
) -> Response:
    """A WebP of it."""
    found = studio.trainings.get(training).id
    return files.thumbnail_file(request, studio, studio.gallery.sample_picture(found, step, position), width)


@router.get("/trainings/{training}/checkpoints", operation_id="list_checkpoints", summary="List the checkpoints")
def checkpoints(studio: StudioOf, training: TrainingId) -> list[Checkpoint]:
    """Those that were kept, by step. A generation may name one as a lora."""
    return studio.trainings.checkpoints(training)


@router.post(
    "/trainings/{training}/checkpoints/{step}/pick",
    status_code=201,
    operation_id="pick_checkpoint",
    summary="Make a checkpoint the next version of the lora",
)
def pick(response: Response, studio: StudioOf, training: TrainingId, step: Step) -> Lora:
    """The same weights again give the lora that is there."""
    made = studio.trainings.pick(training, step)
    response.headers["Location"] = f"/api/v1/loras/{made.name}"
    return made


@router.get(
    "/trainings/{training}/log",
    operation_id="get_training_log",
    summary="Read the end of the trainer's log",
    response_class=PlainTextResponse,
)
def log(studio: StudioOf, training: TrainingId) -> str:
    """Text, without secrets; empty where there is none."""
    return studio.trainings.log(training).replace(str(studio.settings.home), "HOME")


@router.post("/trainings/{training}/cancel", status_code=202, operation_id="cancel_training", summary="Stop a training")
def cancel(response: Response, studio: StudioOf, training: TrainingId) -> Job:
    """At its next safe point; what was done is kept."""
    return started(response, studio.cancel(studio.trainings.get(training).id))


@router.post(
    "/trainings/{training}/resume",
    status_code=202,
    operation_id="resume_training",
    summary="Go on with a training",
    responses={200: {"model": WhatIf, "description": "What would be done, with ``what_if``"}},
    response_model=Job,
)
def resume(
    response: Response,
    visit: Visit,
    studio: StudioOf,
    once: Once,
    training: TrainingId,
    wanted: Resume,
    what_if: WhatIfAsked = False,
) -> Any:
    """From its last checkpoint, or anew, at its price, where a vendor keeps none."""
    if what_if:
        return looked_at(studio.trainings.resume(training, what_if=True))
    refuse_dear(visit, None, lambda: studio.trainings.resume(training, what_if=True).estimate)
    return started(response, once(studio, lambda: studio.trainings.resume(training, yes=wanted.yes)))


def _options(wanted: TrainWish) -> TrainOptions:
    given: Any = wanted.model_dump(exclude={"subject", "yes", "max_cost"}, exclude_unset=True)
    # null says the same as nothing at all.
    return {name: value for name, value in given.items() if value is not None}  # type: ignore[return-value]
