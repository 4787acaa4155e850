"""Trainings: what one will cost, submitting it, and going on with one that stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.catalog import find_base
from limner.errors import Conflict, InputRefused, NotFound, RecipeRefused
from limner.findings import refuse
from limner.money.consent import check_consent
from limner.operations.datasets import job as dataset_job
from limner.operations.datasets import queries as dataset_queries
from limner.operations.datasets.job import FreezeOptions
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.operations.jobs import queries as job_queries
from limner.operations.payments import ledger, preflight
from limner.operations.subjects import queries as subject_queries
from limner.operations.trainings import job as training_job
from limner.operations.trainings.request import TrainRequest
from limner.records import Job, WhatIf
from limner.store.models import DatasetRow, JobRow, TrainingRow
from limner.training import recipe as recipes
from limner.training.trainer import Trainer, TrainingOrder
from limner.types import DatasetManifest, Estimate, JobState, SubjectKind

__all__ = ["dataset_of", "estimate", "make_request", "order_without_photos", "resume", "submit", "waits"]

DEFAULT_PRESET = "balanced"


def make_request(
    workspace: Workspace,
    *,
    subject: str,
    kind: str,
    base: str = "",
    trainer: str = "",
    preset: str = "",
    settings: Mapping[str, Any] | None = None,
    sample_prompts: Sequence[str] = (),
    dataset: str = "",
) -> TrainRequest:
    """The stage's request, with the recipe checked before anything is queued."""
    row = find_base(base or workspace.settings.base)
    try:
        kind_of = SubjectKind(kind)
    except ValueError:
        raise InputRefused(f"'{kind}' is not a kind of subject.", remedy=f"One of: {', '.join(SubjectKind)}.") from None
    recipe = recipes.validate(recipes.preset(preset or DEFAULT_PRESET, row, kind_of, **dict(settings or {})), row)
    trainer = trainer or workspace.settings.trainer
    about = workspace.back_ends.trainer(trainer).describe()
    if about.bases and row.id not in about.bases:
        raise RecipeRefused(
            f"The trainer '{trainer}' cannot train the base '{row.id}'.",
            remedy=f"It trains {', '.join(about.bases)}.",
            thing=trainer,
        )
    return TrainRequest(
        subject=subject,
        training=lifecycle.new_id("training"),
        base=row.id,
        trainer=trainer,
        recipe=recipe,
        dataset=dataset,
        sample_prompts=tuple(sample_prompts),
    )


def submit(
    workspace: Workspace,
    slug: str,
    *,
    dataset: str = "",
    template: str = "",
    captioner: str = "",
    allow_few: bool = False,
    yes: bool = False,
    what_if: bool = False,
    **options: Any,
) -> Job | WhatIf:
    """Freeze the subject's photos unless a dataset is named, and enqueue a training on it.

    ConsentNeeded: it costs more than goes without asking, and ``yes`` was not said. With ``what_if`` nothing is
    enqueued and nothing sent that costs: it gives what would be.
    """
    with workspace.database.read() as session:
        kind = subject_queries.find_subject_row(session, slug).kind
        manifest = dataset_queries.to_dataset(dataset_of(session, slug, dataset)).manifest if dataset else None
    request = make_request(workspace, subject=slug, kind=kind, **options)
    trainer = workspace.back_ends.trainer(request.trainer)
    how = FreezeOptions(
        base=request.base,
        resolution=request.recipe.resolution,
        template=template,
        captioner=captioner,
        allow_few=allow_few,
    )
    if what_if:
        manifest = manifest or dataset_job.would_freeze(workspace, slug, how)[0]
        return preflight.what_if([trainer.plan(training_job.order_of(workspace, request, manifest))])
    manifest = manifest or dataset_job.freeze(workspace, slug, how).manifest
    request = replace(request, dataset=manifest.digest)
    order = training_job.order_of(workspace, request, manifest)
    _check(trainer, order)
    ledger.allow(workspace, trainer.estimate(order), subject=slug, yes=yes, what="training")
    return lifecycle.enqueue(
        workspace,
        "train",
        [request],
        subject=slug,
        target=request.training,
        waits=waits(workspace, request),
        first=partial(training_job.add_row, request=request, dataset=manifest.digest),
    )


def dataset_of(session: Session, slug: str, name: str) -> DatasetRow:
    """The dataset of that name. NotFound: there is none; Conflict: it is another subject's."""
    row = dataset_queries.find_dataset_row(session, name)
    if row.subject != slug:
        raise Conflict(f"The dataset {row.digest[:12]}… is not of '{slug}'.", remedy="Name one of its own.", thing=slug)
    return row


def _check(trainer: Trainer, order: TrainingOrder) -> None:
    preflight.refuse_unready(trainer.describe())
    refuse(trainer.check(order), RecipeRefused)


def order_without_photos(workspace: Workspace, request: TrainRequest) -> tuple[Trainer, TrainingOrder]:
    """A request's trainer and order while no dataset is there yet: enough to say what it would cost and send."""
    trainer = workspace.back_ends.trainer(request.trainer)
    with workspace.database.read() as session:
        subject = subject_queries.subject_facts(subject_queries.find_subject_row(session, request.subject))
    unknown = DatasetManifest("", subject, request.recipe.resolution, ())
    return trainer, training_job.order_of(workspace, request, unknown)


def estimate(workspace: Workspace, request: TrainRequest) -> Estimate:
    """What a training will cost of which no dataset is there yet. NotReady: the trainer lacks something here."""
    trainer, order = order_without_photos(workspace, request)
    preflight.refuse_unready(trainer.describe())
    return trainer.estimate(order)


def waits(workspace: Workspace, request: TrainRequest) -> bool:
    """Whether a request's trainer is a vendor, so that the job mostly waits."""
    trainer = workspace.back_ends.trainer(request.trainer)
    return bool(trainer.describe().vendor)


def resume(workspace: Workspace, training: str, *, yes: bool = False, what_if: bool = False) -> Job | WhatIf:
    """Go on with a cancelled or failed training from its last checkpoint, as a new job.

    A trainer that keeps no checkpoints starts anew, and is paid anew: ConsentNeeded where that costs much. With
    ``what_if`` nothing is enqueued and nothing sent that costs: it gives what would be.
    """
    if what_if:
        with workspace.database.read() as session:
            trainer, order = _of_stopped(workspace, session, _stopped(session, training))
        return preflight.what_if([trainer.plan(order)])
    submitter = workspace.submitter
    with workspace.database.write() as session:
        request = _stopped(session, training)
        trainer, order = _of_stopped(workspace, session, request)
        check_consent(trainer.estimate(order), workspace.settings.consent_above, yes=yes)
        last = session.scalars(
            select(JobRow).where(JobRow.target == training).order_by(JobRow.created_at.desc()).limit(1)
        ).first()
        job = lifecycle.add_job(
            session,
            kind="train",
            stages=[request],
            subject=request.subject,
            target=training,
            owner=last.owner if last is not None else workspace.owner,
        )
        submitter.submit(session, job.id, 1, waits=waits(workspace, request))
        if last is not None:
            lifecycle.note_resumed(last, job)
        return job_queries.to_job(job)


def _stopped(session: Session, training: str) -> TrainRequest:
    """The stage's request of a training that can go on. NotFound; Conflict: it is done, or it runs."""
    row = session.get(TrainingRow, training)
    if row is None:
        raise NotFound(f"There is no training '{training}'.", remedy="`limner trainings list`.", thing=training)
    if row.state == JobState.DONE:
        raise Conflict(f"{training} is done already.", remedy="Start another with `limner train`.", thing=training)
    request = TrainRequest(
        subject=row.subject,
        training=row.id,
        base=row.base,
        trainer=row.trainer,
        recipe=recipes.from_mapping(row.recipe),
        dataset=row.dataset,
        sample_prompts=tuple(row.sample_prompts),
        reopen=True,
    )
    lifecycle.refuse_twice(session, training, [request])
    return request


def _of_stopped(workspace: Workspace, session: Session, request: TrainRequest) -> tuple[Trainer, TrainingOrder]:
    trainer = workspace.back_ends.trainer(request.trainer)
    manifest = dataset_queries.to_dataset(session.get_one(DatasetRow, request.dataset)).manifest
    return trainer, training_job.order_of(workspace, request, manifest)
