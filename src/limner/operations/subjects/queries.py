"""Subjects: rows to records, and rows by their slug."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from limner.errors import NotFound
from limner.records import (
    Subject,
)
from limner.store.models import (
    ConsentRow,
    LoraRow,
    PhotoRow,
    SubjectRow,
)
from limner.types import (
    Consent,
    SubjectFacts,
    SubjectKind,
)

__all__ = [
    "find_subject_row",
    "subject_facts",
    "to_subject",
]


def find_subject_row(session: Session, slug: str) -> SubjectRow:
    """The subject's row; NotFound names the subjects that there are."""
    row = session.get(SubjectRow, slug)
    if row is None:
        known = session.scalars(select(SubjectRow.slug).order_by(SubjectRow.slug).limit(8)).all()
        raise NotFound(
            f"There is no subject '{slug}'.",
            remedy=f"Known: {', '.join(known)}." if known else "Add one with `limner subjects add`.",
            thing=slug,
        )
    return row


def subject_facts(row: SubjectRow) -> SubjectFacts:
    """A subject as the stages need to know it."""
    return SubjectFacts(row.slug, row.name, SubjectKind(row.kind), row.class_word, row.trigger)


def to_subject(session: Session, row: SubjectRow) -> Subject:
    consent = session.scalars(
        select(ConsentRow).where(ConsentRow.subject == row.slug, ConsentRow.withdrawn_at.is_(None)).limit(1)
    ).first()
    return Subject(
        slug=row.slug,
        name=row.name,
        kind=SubjectKind(row.kind),
        class_word=row.class_word,
        trigger=row.trigger,
        created_at=row.created_at,
        photos=session.scalar(select(func.count()).where(PhotoRow.subject == row.slug)) or 0,
        loras=session.scalar(select(func.count()).where(LoraRow.subject == row.slug)) or 0,
        consent=Consent(consent.statement, consent.given_by, consent.given_at) if consent else None,
    )
