"""Looking things up: what is stored, as records. Ids and digests may be cut to their first digits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from limner.errors import NotFound
from limner.pipeline import reading
from limner.pipeline.workspace import Workspace
from limner.records import (
    Dataset,
    Generation,
    Image,
    IntakeEntry,
    Job,
    Lora,
    PhotoEntry,
    Publication,
    Subject,
    Training,
)
from limner.store.models import (
    LARGEST,
    DatasetRow,
    GenerationRow,
    ImageRow,
    JobRow,
    LoraRow,
    PhotoRow,
    PublicationRow,
    SubjectRow,
    TrainingRow,
)
from limner.types import JobState

__all__ = [
    "dataset",
    "datasets",
    "generation",
    "image",
    "images",
    "job",
    "jobs",
    "lora",
    "loras",
    "photo_report",
    "photos",
    "publications",
    "subject",
    "subjects",
    "training",
    "trainings",
]

DIGITS = re.compile(r"[0-9a-f]{4,16}")


def by_id(session: Session, kind: str, model: type[Any], name: str) -> Any:
    """The row of an id such as ``training_1f0c...``, or of four or more of its digits; None if there is none."""
    row = session.get(model, name)
    digits = name.removeprefix(f"{kind}_")
    if row is None and DIGITS.fullmatch(digits):
        rows = session.scalars(select(model).where(model.id.startswith(f"{kind}_{digits}")).limit(2)).all()
        if len(rows) > 1:
            raise NotFound(f"'{name}' names several {kind}s.", remedy="Give more digits.", thing=name)
        row = rows[0] if rows else None
    return row


def subjects(workspace: Workspace) -> list[Subject]:
    with workspace.database.read() as session:
        return [
            reading.to_subject(session, row) for row in session.scalars(select(SubjectRow).order_by(SubjectRow.slug))
        ]


def subject(workspace: Workspace, slug: str) -> Subject:
    with workspace.database.read() as session:
        return reading.to_subject(session, reading.find_subject_row(session, slug))


def photos(workspace: Workspace, slug: str) -> list[PhotoEntry]:
    with workspace.database.read() as session:
        reading.find_subject_row(session, slug)
        rows = session.scalars(select(PhotoRow).where(PhotoRow.subject == slug).order_by(PhotoRow.id))
        return [reading.to_photo(workspace, row) for row in rows]


def photo_report(workspace: Workspace, slug: str, job: str = "") -> list[IntakeEntry]:
    with workspace.database.read() as session:
        reading.find_subject_row(session, slug)
        return reading.to_intakes(session, slug, job)


def datasets(workspace: Workspace, slug: str = "") -> list[Dataset]:
    query = select(DatasetRow).order_by(DatasetRow.created_at.desc())
    with workspace.database.read() as session:
        rows = session.scalars(query.where(DatasetRow.subject == slug) if slug else query)
        return [reading.to_dataset(row) for row in rows]


def dataset(workspace: Workspace, name: str) -> Dataset:
    # Freezing loads the captions and crops, which nothing else here needs.
    from limner.pipeline import freezing

    with workspace.database.read() as session:
        return reading.to_dataset(freezing.find_dataset_row(session, name))


def trainings(workspace: Workspace, slug: str = "") -> list[Training]:
    query = select(TrainingRow).order_by(TrainingRow.created_at.desc())
    with workspace.database.read() as session:
        rows = session.scalars(query.where(TrainingRow.subject == slug) if slug else query)
        return [reading.to_training(workspace, session, row) for row in rows]


def training(workspace: Workspace, name: str) -> Training:
    with workspace.database.read() as session:
        row = by_id(session, "training", TrainingRow, name)
        if row is None:
            raise NotFound(f"There is no training '{name}'.", remedy="List them: limner trainings list", thing=name)
        return reading.to_training(workspace, session, row)


def loras(workspace: Workspace, slug: str = "") -> list[Lora]:
    query = select(LoraRow).order_by(LoraRow.id.desc())
    with workspace.database.read() as session:
        rows = session.scalars(query.where(LoraRow.subject == slug) if slug else query)
        return [reading.lora_record(workspace, row) for row in rows]


def lora(workspace: Workspace, name: str) -> Lora:
    with workspace.database.read() as session:
        return reading.lora_record(workspace, reading.find_lora_row(session, name))


def publications(workspace: Workspace, slug: str = "") -> list[Publication]:
    query = select(PublicationRow).join(LoraRow, LoraRow.id == PublicationRow.lora).order_by(PublicationRow.id.desc())
    with workspace.database.read() as session:
        rows = session.scalars(query.where(LoraRow.subject == slug) if slug else query)
        return [reading.to_publication(session, row) for row in rows]


def generation(workspace: Workspace, name: str) -> Generation:
    with workspace.database.read() as session:
        row = by_id(session, "generation", GenerationRow, name)
        if row is None:
            raise NotFound(f"There is no generation '{name}'.", remedy="List images: limner images list", thing=name)
        return reading.to_generation(workspace, session, row)


def drawn(workspace: Workspace, generation: str) -> frozenset[int]:
    """The places of a generation that have their picture."""
    with workspace.database.read() as session:
        return frozenset(session.scalars(select(ImageRow.position).where(ImageRow.generation == generation)))


def images(workspace: Workspace, slug: str = "", limit: int = 50) -> list[Image]:
    with workspace.database.read() as session:
        found = reading.images_of(session, slug or None, limit)
        return [reading.to_image(workspace, row, prompt) for row, prompt in found]


def image(workspace: Workspace, number: int) -> Image:
    with workspace.database.read() as session:
        row = session.get(ImageRow, number) if 0 <= number <= LARGEST else None
        if row is None:
            raise NotFound(f"There is no image {number}.", remedy="List them: limner images list", thing=str(number))
        prompt = session.get_one(GenerationRow, row.generation).prompt
        return reading.to_image(workspace, row, prompt)


def jobs(
    workspace: Workspace,
    slug: str = "",
    limit: int = 50,
    before: tuple[datetime, str] | None = None,
    states: Sequence[JobState] = (),
    kind: str = "",
) -> list[Job]:
    """The newest jobs, of those states and that kind where any are named."""
    query = select(JobRow).order_by(JobRow.created_at.desc(), JobRow.id.desc()).limit(limit)
    if states:
        query = query.where(JobRow.state.in_(states))
    if kind:
        query = query.where(JobRow.kind == kind)
    if before is not None:
        at, name = before
        query = query.where(or_(JobRow.created_at < at, and_(JobRow.created_at == at, JobRow.id < name)))
    with workspace.database.read() as session:
        rows = session.scalars(query.where(JobRow.subject == slug) if slug else query)
        return [reading.to_job(row) for row in rows]


def job(workspace: Workspace, name: str) -> Job:
    """A job by its id, or the newest job of the training or generation named."""
    with workspace.database.read() as session:
        row = by_id(session, "job", JobRow, name)
        if row is None and name:
            # A target is a training's or a generation's whole id, or a lora's name.
            query = select(JobRow).where(JobRow.target == name).order_by(JobRow.created_at.desc()).limit(1)
            row = session.scalars(query).first()
        if row is None:
            raise NotFound(f"There is no job '{name}'.", remedy="List them: limner jobs list", thing=name)
        return reading.to_job(row)
