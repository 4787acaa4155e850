"""Subjects: adding one, and erasing one everywhere with a report of what could not be erased."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from limner.datasets.triggers import check_slug, check_trigger, propose_trigger
from limner.errors import Conflict, InputRefused
from limner.operations.home.workspace import Workspace
from limner.operations.subjects import queries as reading
from limner.plain_text import fit_for_terminal, plain_name
from limner.records import Subject
from limner.store.models import (
    ConsentRow,
    SubjectRow,
    now,
)
from limner.types import Consent, SubjectKind

__all__ = [
    "CLASS_WORDS",
    "add",
    "find_kind",
    "record_consent",
    "refuse_anothers",
    "withdraw_consent",
]

LONGEST_NAME = 200
CLASS_WORDS = {
    SubjectKind.PERSON: "person",
    SubjectKind.PET: "pet",
    SubjectKind.PRODUCT: "product",
    SubjectKind.CHARACTER: "character",
    SubjectKind.STYLE: "style",
}


def find_kind(kind: SubjectKind | str) -> SubjectKind:
    """A kind by its word. InputRefused: it is none."""
    try:
        return SubjectKind(kind)
    except ValueError:
        raise InputRefused(
            f"'{kind}' is not a kind of subject.", remedy=f"One of: {', '.join(SubjectKind)}.", thing=str(kind)
        ) from None


def refuse_anothers(workspace: Workspace, slug: str) -> None:
    """Conflict: the subject is there, and another user's."""
    with workspace.everyone.database.read() as session:
        row = session.get(SubjectRow, slug)
        if row is not None and workspace.owner not in (None, row.owner):
            raise _taken(slug)


def _taken(slug: str) -> Conflict:
    return Conflict(f"The slug '{slug}' is taken.", remedy="Choose another slug.", thing=slug)


def add(
    workspace: Workspace,
    slug: str,
    *,
    name: str = "",
    kind: SubjectKind | str = SubjectKind.PERSON,
    class_word: str = "",
    trigger: str = "",
    consent: Consent | None = None,
) -> Subject:
    """Add a subject. The class word and trigger default to the kind's word and one made from the name."""
    check_slug(slug)
    kind = find_kind(kind)
    name = plain_name(name, "name", longest=LONGEST_NAME)
    class_word = class_word.strip() or CLASS_WORDS[kind]
    trigger = trigger.strip() or propose_trigger(name or slug)
    findings = tuple(check_trigger(trigger, class_word))
    with workspace.database.write() as session:
        if session.get(SubjectRow, slug) is not None:
            raise Conflict(
                f"There is a subject '{slug}' already.",
                remedy="Choose another slug, or add photos to that one.",
                thing=slug,
            )
        row = SubjectRow(slug=slug, name=name or slug, kind=kind, class_word=class_word, trigger=trigger)
        session.add(row)
        try:
            session.flush()
        except IntegrityError:
            # Somebody else's: who that is, and that subject itself, are none of this user's business.
            raise _taken(slug) from None
        if consent is not None:
            session.add(_consent_row(slug, consent))
            session.flush()
        record = reading.to_subject(session, row)
    return Subject(**{field: getattr(record, field) for field in record.__dataclass_fields__} | {"findings": findings})


def _consent_row(slug: str, consent: Consent) -> ConsentRow:
    """NameRefused: who gave it is no plain name."""
    given_by = plain_name(consent.given_by, "name", longest=LONGEST_NAME, thing="given_by")
    statement, given_at = fit_for_terminal(consent.statement), consent.given_at or now()
    return ConsentRow(subject=slug, statement=statement, given_by=given_by, given_at=given_at)


def record_consent(workspace: Workspace, slug: str, consent: Consent) -> Subject:
    """Put a consent on record, in place of an earlier one, which stays on record as withdrawn."""
    with workspace.database.write() as session:
        row = reading.find_subject_row(session, slug)
        _withdraw(session, slug)
        session.add(_consent_row(slug, consent))
        session.flush()
        return reading.to_subject(session, row)


def withdraw_consent(workspace: Workspace, slug: str) -> Subject:
    """Note that the consent was withdrawn. What is public already stays so until it is unpublished or erased."""
    with workspace.database.write() as session:
        row = reading.find_subject_row(session, slug)
        _withdraw(session, slug)
        session.flush()
        return reading.to_subject(session, row)


def _withdraw(session: Session, slug: str) -> None:
    standing = select(ConsentRow).where(ConsentRow.subject == slug, ConsentRow.withdrawn_at.is_(None))
    for consent in session.scalars(standing):
        consent.withdrawn_at = now()
