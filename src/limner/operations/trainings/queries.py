"""Trainings: rows to records."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.operations.home.workspace import Workspace
from limner.operations.jobs.queries import _progress
from limner.records import (
    Training,
)
from limner.store.models import (
    LoraRow,
    SampleRow,
    TrainingRow,
)
from limner.training.divergence import divergence
from limner.types import JobState

__all__ = ["to_training"]


def to_training(workspace: Workspace, session: Session, row: TrainingRow) -> Training:
    lora = session.scalars(select(LoraRow).where(LoraRow.training == row.id)).first()
    samples = session.scalars(
        select(SampleRow.digest).where(SampleRow.training == row.id).order_by(SampleRow.step, SampleRow.position)
    )
    losses = tuple((int(step), float(loss)) for step, loss in row.losses)
    return Training(
        id=row.id,
        subject=row.subject,
        dataset=row.dataset,
        base=row.base,
        trainer=row.trainer,
        recipe=row.recipe,
        state=JobState(row.state),
        progress=_progress(row.progress),
        losses=losses,
        samples=tuple(workspace.blobs.place(digest) for digest in samples),
        error=row.error,
        lora=f"{lora.subject}@v{lora.version}" if lora else "",
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        sample_prompts=tuple(row.sample_prompts),
        rates=tuple((int(step), float(rate)) for step, rate in row.rates),
        findings=divergence(losses, row.recipe),
    )
