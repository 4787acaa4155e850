"""Trainings: what one will cost, submitting it, and going on with one that stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner import plugins
from limner.catalog import find_base
from limner.errors import Conflict, InputRefused, NotFound, RecipeRefused
from limner.findings import refuse
from limner.money.consent import check_consent
from limner.operations.datasets import job as freezing
from limner.operations.datasets import queries as dataset_queries
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle as jobs
from limner.operations.jobs import queries as job_queries
from limner.operations.payments import ledger as costs
from limner.operations.payments import preflight as asking
from limner.operations.subjects import queries as reading
from limner.operations.trainings import job as training_stage
from limner.records import Job, WhatIf
from limner.store.models import DatasetRow, JobRow, TrainingRow
from limner.training import recipe as recipes
from limner.training.trainer import Trainer, TrainingOrder
from limner.types import DatasetManifest, Estimate, JobState, SubjectKind

__all__ = ["dataset_of", "estimate", "order_without_photos", "request", "resume", "submit", "waits"]

DEFAULT_PRESET = "balanced"


def request(
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
) -> dict[str, Any]:
    """The stage's request, with the recipe checked before anything is queued."""
    row = find_base(base or workspace.settings.base)
    try:
        kind_of = SubjectKind(kind)
    except ValueError:
        raise InputRefused(f"'{kind}' is not a kind of subject.", remedy=f"One of: {', '.join(SubjectKind)}.") from None
    recipe = recipes.validate(recipes.preset(preset or DEFAULT_PRESET, row, kind_of, **dict(settings or {})), row)
    trainer = trainer or workspace.settings.trainer
    about = plugins.back_end("limner.trainers", trainer, settings=workspace.settings).describe()
    if about.bases and row.id not in about.bases:
        raise RecipeRefused(
            f"The trainer '{trainer}' cannot train the base '{row.id}'.",
            remedy=f"It trains {', '.join(about.bases)}.",
            thing=trainer,
        )
    return {
        "stage": "train",
        "subject": subject,
        "training": jobs.new_id("training"),
        "base": row.id,
        "trainer": trainer,
        "recipe": recipes.plain(recipe),
        "dataset": dataset,
        "sample_prompts": list(sample_prompts),
    }


def submit(
    workspace: Workspace, slug: str, *, dataset: str = "", yes: bool = False, what_if: bool = False, **options: Any
) -> Job | WhatIf:
    """Freeze the subject's photos unless a dataset is named, and enqueue a training on it.

    ConsentNeeded: it costs more than goes without asking, and ``yes`` was not said. With ``what_if`` nothing is
    enqueued and nothing sent that costs: it gives what would be.
    """
    named = ("template", "captioner", "allow_few")
    freeze_options: dict[str, Any] = {key: options.pop(key) for key in named if key in options}
    with workspace.database.read() as session:
        kind = reading.find_subject_row(session, slug).kind
        manifest = dataset_queries.to_dataset(dataset_of(session, slug, dataset)).manifest if dataset else None
    wanted = request(workspace, subject=slug, kind=kind, **options)
    trainer: Trainer = plugins.back_end("limner.trainers", wanted["trainer"], settings=workspace.settings)
    freeze_options |= {"base": wanted["base"], "resolution": wanted["recipe"]["resolution"]}
    if what_if:
        manifest = manifest or freezing.would_freeze(workspace, slug, **freeze_options)[0]
        return asking.what_if([trainer.plan(training_stage.order_of(workspace, wanted, manifest))])
    manifest = manifest or freezing.freeze(workspace, slug, **freeze_options).manifest
    wanted["dataset"] = digest = manifest.digest
    order = training_stage.order_of(workspace, wanted, manifest)
    _check(trainer, order)
    costs.allow(workspace, trainer.estimate(order), subject=slug, yes=yes, what="training")
    submitter = workspace.submitter
    with workspace.database.write() as session:
        training_stage.add_row(session, wanted, digest)
        row = jobs.add_job(
            session, kind="train", stages=[wanted], subject=slug, target=wanted["training"], owner=workspace.owner
        )
        submitter.submit(session, row.id, 1, waits=waits(workspace, wanted))
        return job_queries.to_job(row)


def dataset_of(session: Session, slug: str, name: str) -> DatasetRow:
    """The dataset of that name. NotFound: there is none; Conflict: it is another subject's."""
    row = dataset_queries.find_dataset_row(session, name)
    if row.subject != slug:
        raise Conflict(f"The dataset {row.digest[:12]}… is not of '{slug}'.", remedy="Name one of its own.", thing=slug)
    return row


def _check(trainer: Trainer, order: TrainingOrder) -> None:
    asking.refuse_unready(trainer.describe())
    refuse(trainer.check(order), RecipeRefused)


def order_without_photos(workspace: Workspace, wanted: dict[str, Any]) -> tuple[Trainer, TrainingOrder]:
    """A request's trainer and order while no dataset is there yet: enough to say what it would cost and send."""
    trainer: Trainer = plugins.back_end("limner.trainers", wanted["trainer"], settings=workspace.settings)
    with workspace.database.read() as session:
        subject = reading.subject_facts(reading.find_subject_row(session, wanted["subject"]))
    unknown = DatasetManifest("", subject, wanted["recipe"]["resolution"], ())
    return trainer, training_stage.order_of(workspace, wanted, unknown)


def estimate(workspace: Workspace, wanted: dict[str, Any]) -> Estimate:
    """What a training will cost of which no dataset is there yet. NotReady: the trainer lacks something here."""
    trainer, order = order_without_photos(workspace, wanted)
    asking.refuse_unready(trainer.describe())
    return trainer.estimate(order)


def waits(workspace: Workspace, wanted: dict[str, Any]) -> bool:
    """Whether a request's trainer is a vendor, so that the job mostly waits."""
    trainer: Trainer = plugins.back_end("limner.trainers", wanted["trainer"], settings=workspace.settings)
    return bool(trainer.describe().vendor)


def resume(workspace: Workspace, training: str, *, yes: bool = False, what_if: bool = False) -> Job | WhatIf:
    """Go on with a cancelled or failed training from its last checkpoint, as a new job.

    A trainer that keeps no checkpoints starts anew, and is paid anew: ConsentNeeded where that costs much. With
    ``what_if`` nothing is enqueued and nothing sent that costs: it gives what would be.
    """
    if what_if:
        with workspace.database.read() as session:
            trainer, order = _of_stopped(workspace, session, _stopped(session, training))
        return asking.what_if([trainer.plan(order)])
    submitter = workspace.submitter
    with workspace.database.write() as session:
        wanted = _stopped(session, training)
        trainer, order = _of_stopped(workspace, session, wanted)
        check_consent(trainer.estimate(order), workspace.settings.consent_above, yes=yes)
        last = session.scalars(
            select(JobRow).where(JobRow.target == training).order_by(JobRow.created_at.desc()).limit(1)
        ).first()
        job = jobs.add_job(
            session,
            kind="train",
            stages=[wanted],
            subject=wanted["subject"],
            target=training,
            owner=last.owner if last is not None else workspace.owner,
        )
        submitter.submit(session, job.id, 1, waits=waits(workspace, wanted))
        if last is not None:
            jobs.note_resumed(last, job)
        return job_queries.to_job(job)


def _stopped(session: Session, training: str) -> dict[str, Any]:
    """The stage's request of a training that can go on. NotFound; Conflict: it is done, or it runs."""
    row = session.get(TrainingRow, training)
    if row is None:
        raise NotFound(f"There is no training '{training}'.", remedy="`limner trainings list`.", thing=training)
    if row.state == JobState.DONE:
        raise Conflict(f"{training} is done already.", remedy="Start another with `limner train`.", thing=training)
    wanted = {
        "stage": "train",
        "subject": row.subject,
        "training": row.id,
        "base": row.base,
        "trainer": row.trainer,
        "recipe": row.recipe,
        "dataset": row.dataset,
        "sample_prompts": row.sample_prompts,
        "reopen": True,
    }
    jobs.refuse_twice(session, training, [wanted])
    return wanted


def _of_stopped(workspace: Workspace, session: Session, wanted: dict[str, Any]) -> tuple[Trainer, TrainingOrder]:
    trainer: Trainer = plugins.back_end("limner.trainers", wanted["trainer"], settings=workspace.settings)
    manifest = dataset_queries.to_dataset(session.get_one(DatasetRow, wanted["dataset"])).manifest
    return trainer, training_stage.order_of(workspace, wanted, manifest)
