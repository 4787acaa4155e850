"""Trainings: rows to records."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.operations.home.workspace import Workspace
from limner.operations.jobs.queries import failure, to_progress
from limner.operations.trainings.artifacts import curve_of
from limner.records import Training
from limner.store.models import JobRow, LoraRow, SampleRow, TrainingRow
from limner.training.divergence import divergence
from limner.types import JobState, Progress

__all__ = ["to_training"]


def to_training(workspace: Workspace, session: Session, row: TrainingRow) -> Training:
    lora = session.scalars(select(LoraRow).where(LoraRow.training == row.id)).first()
    samples = session.scalars(
        select(SampleRow.digest).where(SampleRow.training == row.id).order_by(SampleRow.step, SampleRow.position)
    )
    losses = tuple(curve_of(session, row.id, "loss"))
    return Training(
        id=row.id,
        subject=row.subject,
        dataset=row.dataset,
        base=row.base,
        trainer=row.trainer,
        recipe=row.recipe,
        state=JobState(row.state),
        progress=_progress(session, row),
        losses=losses,
        samples=tuple(workspace.blobs.place(digest) for digest in samples),
        error=failure(row.error),
        lora=f"{lora.subject}@v{lora.version}" if lora else "",
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        sample_prompts=tuple(row.sample_prompts),
        rates=tuple(curve_of(session, row.id, "rate")),
        findings=divergence(losses, row.recipe),
    )


def _progress(session: Session, row: TrainingRow) -> Progress | None:
    """How far it is: while it runs its newest job says so, which may have come to no other stage yet."""
    query = select(JobRow.progress).where(JobRow.target == row.id).order_by(JobRow.created_at.desc()).limit(1)
    if not (row.progress and JobState(row.state).ended):
        said = to_progress(session.scalar(query))
        if said is not None and said.stage == "training":
            return said
    return to_progress(row.progress)
