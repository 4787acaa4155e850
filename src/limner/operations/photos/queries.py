"""Photos and intake reports: rows to records."""

from __future__ import annotations

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.catalog import find_base
from limner.datasets.buckets import check_resolution
from limner.datasets.captions.template import check_template, clean_caption
from limner.errors import NotFound
from limner.operations.home.workspace import Workspace
from limner.operations.subjects import queries as subject_queries
from limner.records import (
    IntakeEntry,
    PhotoEntry,
)
from limner.store.models import (
    IntakeRow,
    PhotoRow,
)
from limner.types import (
    Base,
    Crop,
    Photo,
    PhotoReport,
)

__all__ = [
    "REPORT",
    "base_and_resolution",
    "checked_caption",
    "find_photo_row",
    "photo_of",
    "to_intakes",
    "to_photo",
]


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


def checked_caption(text: str) -> str:
    """A caption by hand as one clean line; CaptionRefused for a placeholder that is not known."""
    caption = clean_caption(text)
    check_template(caption)
    return caption


def find_photo_row(session: Session, slug: str, digest: str) -> PhotoRow:
    """A photo of a subject by its digest, or by six or more digits of it; NotFound says how to list them."""
    subject_queries.find_subject_row(session, slug)
    query = select(PhotoRow).where(PhotoRow.subject == slug, PhotoRow.digest.startswith(digest, autoescape=True))
    rows = session.scalars(query.limit(2)).all() if digest else []
    if len(rows) != 1 or len(digest) < 6:
        raise NotFound(
            f"'{digest[:80]}' names {'several photos' if len(rows) > 1 else 'no photo'} of '{slug}'.",
            remedy=f"List them with `limner photos list {slug}` and give more digits.",
            thing=digest[:80],
        )
    return rows[0]


def base_and_resolution(workspace: Workspace, base: str, resolution: int | None) -> tuple[Base, int]:
    """The base, that of the settings if none is named, and a resolution of it, its own if none is given."""
    row = find_base(base or workspace.settings.base)
    return row, check_resolution(resolution or row.size, row.resolutions)
