"""Photos and intake reports: rows to records."""

from __future__ import annotations

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.operations.home.workspace import Workspace
from limner.operations.subjects import queries as reading
from limner.records import (
    IntakeEntry,
    PhotoEntry,
)
from limner.store.models import (
    IntakeRow,
    PhotoRow,
)
from limner.types import (
    Crop,
    Photo,
    PhotoReport,
)

__all__ = ["REPORT", "photo_of", "photo_report", "photos", "to_intakes", "to_photo"]


def photos(workspace: Workspace, slug: str) -> list[PhotoEntry]:
    with workspace.database.read() as session:
        reading.find_subject_row(session, slug)
        rows = session.scalars(select(PhotoRow).where(PhotoRow.subject == slug).order_by(PhotoRow.id))
        return [to_photo(workspace, row) for row in rows]


def photo_report(workspace: Workspace, slug: str, job: str = "") -> list[IntakeEntry]:
    with workspace.database.read() as session:
        reading.find_subject_row(session, slug)
        return to_intakes(session, slug, job)


REPORT: TypeAdapter[PhotoReport] = TypeAdapter(PhotoReport)


def photo_of(row: PhotoRow, media_type: str, byte_size: int) -> Photo:
    """A stored photo as the stages need to know it."""
    return Photo(row.digest, media_type, row.width, row.height, byte_size, REPORT.validate_python(row.report))


def to_photo(workspace: Workspace, row: PhotoRow) -> PhotoEntry:
    return PhotoEntry(
        digest=row.digest,
        subject=row.subject,
        width=row.width,
        height=row.height,
        source=row.source,
        caption=row.caption,
        caption_from=row.caption_from,
        crop=Crop(**row.crop) if row.crop else None,
        report=REPORT.validate_python(row.report),
        path=workspace.blobs.place(row.digest),
        added_at=row.added_at,
    )


def to_intakes(session: Session, slug: str, job: str = "") -> list[IntakeEntry]:
    """The entries of one intake, the newest of the subject if none is named."""
    if not job:
        newest = select(IntakeRow.job).where(IntakeRow.subject == slug).order_by(IntakeRow.id.desc()).limit(1)
        job = session.scalar(newest) or ""
    rows = session.scalars(
        select(IntakeRow).where(IntakeRow.subject == slug, IntakeRow.job == job).order_by(IntakeRow.position)
    )
    return [IntakeEntry(row.position, row.photo, REPORT.validate_python(row.report)) for row in rows]
