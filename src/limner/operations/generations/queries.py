"""Generations and images: rows to records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.operations.home.workspace import Workspace
from limner.records import (
    Generation,
    Image,
)
from limner.store.models import (
    GenerationRow,
    GenerationSubjectRow,
    ImageRow,
)
from limner.types import (
    JobState,
)

__all__ = ["drawn", "images_of", "to_generation", "to_image"]


def drawn(workspace: Workspace, generation: str) -> frozenset[int]:
    """The places of a generation that have their picture."""
    with workspace.database.read() as session:
        return frozenset(session.scalars(select(ImageRow.position).where(ImageRow.generation == generation)))


def to_image(workspace: Workspace, row: ImageRow, prompt: str) -> Image:
    return Image(
        id=row.id,
        generation=row.generation,
        position=row.position,
        digest=row.digest,
        prompt=prompt,
        seed=row.seed,
        width=row.width,
        height=row.height,
        seconds=row.seconds,
        path=workspace.blobs.place(row.digest),
        created_at=row.created_at,
        generator=row.generator,
        favourite=row.favourite,
    )


def to_generation(
    workspace: Workspace, session: Session, row: GenerationRow, images: Iterable[ImageRow] | None = None
) -> Generation:
    """A generation with its images, or with those given, where many were read at once."""
    if images is None:
        images = session.scalars(select(ImageRow).where(ImageRow.generation == row.id).order_by(ImageRow.position))
    return Generation(
        id=row.id,
        prompt=row.prompt,
        base=row.base,
        generator=row.generator,
        loras=tuple(row.loras),
        width=row.width,
        height=row.height,
        steps=row.steps,
        guidance=row.guidance,
        seed=row.seed,
        count=row.count,
        state=JobState(row.state),
        error=row.error,
        images=tuple(to_image(workspace, image, row.prompt) for image in images),
        created_at=row.created_at,
    )


def images_of(session: Session, subject: str | None, limit: int) -> Sequence[tuple[ImageRow, str]]:
    """The newest images, of one subject or of all, with their prompts."""
    query = select(ImageRow, GenerationRow.prompt).join(GenerationRow).order_by(ImageRow.id.desc()).limit(limit)
    if subject:
        query = query.join(GenerationSubjectRow, GenerationSubjectRow.generation == GenerationRow.id).where(
            GenerationSubjectRow.subject == subject
        )
    return [(row, prompt) for row, prompt in session.execute(query)]
