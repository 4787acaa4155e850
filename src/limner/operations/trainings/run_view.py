"""A training with all that it has to show: samples, checkpoints, log, cost; and the events of a job."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from sqlalchemy import select

from limner.errors import NotFound
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import queries as job_queries
from limner.operations.payments import ledger as costs
from limner.operations.trainings import checkpoints as picking
from limner.operations.trainings import queries as training_queries
from limner.operations.trainings.artifacts import log_file
from limner.records import Cost, Job, TrainingRun, TrainingSampleEntry
from limner.store.models import DatasetRow, JobRow, SampleRow
from limner.training.divergence import divergence_in_log
from limner.vendors.secrets.redaction import redact

__all__ = ["log", "run", "samples"]


def samples(workspace: Workspace, training: str) -> list[TrainingSampleEntry]:
    """The pictures drawn by now, by step and prompt."""
    training = training_queries.training(workspace, training).id
    query = select(SampleRow).where(SampleRow.training == training).order_by(SampleRow.step, SampleRow.position)
    with workspace.database.read() as session:
        return [
            TrainingSampleEntry(training, row.step, row.position, row.prompt, row.digest)
            for row in session.scalars(query)
        ]


def log(workspace: Workspace, training: str) -> str:
    """The end of the trainer's log, without secrets; "" where there is none."""
    try:
        words = log_file(workspace, training_queries.training(workspace, training).id).read_text(
            "utf-8", errors="replace"
        )
    except FileNotFoundError:
        return ""
    return redact(words)


def run(workspace: Workspace, training: str) -> TrainingRun:
    """A training with all that its page shows. NotFound: there is none."""
    found = training_queries.training(workspace, training)
    said = log(workspace, found.id)
    if not found.findings:
        found = replace(found, findings=divergence_in_log(said, found.recipe))
    with workspace.database.read() as session:
        dataset = session.get(DatasetRow, found.dataset)
        jobs = list(session.scalars(select(JobRow.id).where(JobRow.target == found.id)))
    lines = [line for job in jobs for line in costs.entries(workspace, subject=found.subject, job=job)]
    mine = [line for line in lines if line.what == "training"]
    return TrainingRun(
        training=found,
        job=_job(workspace, found.id),
        samples=tuple(samples(workspace, found.id)),
        checkpoints=tuple(picking.checkpoints(workspace, found.id)),
        photos=dataset.photos if dataset is not None else 0,
        cost=sum((line.amount for line in mine), Decimal(0)),
        paid=_paid(mine),
        log=said,
    )


def _paid(lines: list[Cost]) -> bool:
    return bool(lines) and all(line.actual is not None for line in lines)


def _job(workspace: Workspace, training: str) -> Job | None:
    try:
        return job_queries.job(workspace, training)
    except NotFound:
        return None
