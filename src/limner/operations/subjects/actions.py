"""Who or what is learned, and who agreed to it."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from limner.datasets.triggers import check_slug, check_trigger, propose_slug, propose_trigger
from limner.errors import Conflict, InputRefused, NameRefused
from limner.operations.home.facet import Facet
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import queries as job_queries
from limner.operations.subjects import queries as subject_queries
from limner.plain_text import fit_for_terminal, plain_name
from limner.records import (
    Job,
    Subject,
    SubjectCard,
    SubjectProposal,
)
from limner.store.models import (
    ConsentRow,
    GenerationSubjectRow,
    ImageRow,
    JobRow,
    PhotoRow,
    SubjectRow,
    now,
)
from limner.types import UNDER_WAY, Consent, SubjectKind

__all__ = ["Subjects"]


LONGEST_NAME = 200
CLASS_WORDS = {
    SubjectKind.PERSON: "person",
    SubjectKind.PET: "pet",
    SubjectKind.PRODUCT: "product",
    SubjectKind.CHARACTER: "character",
    SubjectKind.STYLE: "style",
}


class Subjects(Facet):
    """``studio.subjects``: who or what is learned, and who agreed to it."""

    def add(
        self,
        slug: str,
        *,
        name: str = "",
        kind: SubjectKind | str = SubjectKind.PERSON,
        class_word: str = "",
        trigger: str = "",
        consent: Consent | None = None,
    ) -> Subject:
        """Add a subject. NameRefused for a slug or trigger that cannot be used, Conflict if the slug is taken."""
        check_slug(slug)
        kind = find_kind(kind)
        name = plain_name(name, "name", longest=LONGEST_NAME)
        class_word = class_word.strip() or CLASS_WORDS[kind]
        trigger = trigger.strip() or propose_trigger(name or slug)
        findings = tuple(check_trigger(trigger, class_word))
        with self._workspace.database.write() as session:
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
            record = subject_queries.to_subject(session, row)
        return replace(record, findings=findings)

    def all(self) -> list[Subject]:
        """All subjects, by slug."""
        with self._workspace.database.read() as session:
            return [
                subject_queries.to_subject(session, row)
                for row in session.scalars(select(SubjectRow).order_by(SubjectRow.slug))
            ]

    def get(self, slug: str) -> Subject:
        """One subject."""
        with self._workspace.database.read() as session:
            return subject_queries.to_subject(session, subject_queries.find_subject_row(session, slug))

    def cards(self) -> list[SubjectCard]:
        """All subjects at a glance, newest first: best picture, counts, and what runs now."""
        with self._workspace.database.read() as session:
            rows = list(session.scalars(select(SubjectRow).order_by(SubjectRow.created_at.desc(), SubjectRow.slug)))
            of = GenerationSubjectRow.subject
            shown = select(of, func.count(ImageRow.id), func.max(ImageRow.id)).join(
                ImageRow, ImageRow.generation == GenerationSubjectRow.generation
            )
            drawn = {slug: (count, newest) for slug, count, newest in session.execute(shown.group_by(of))}
            liked = {slug: best for slug, _, best in session.execute(shown.where(ImageRow.favourite).group_by(of))}
            first = select(PhotoRow.subject, func.min(PhotoRow.id).label("id")).group_by(PhotoRow.subject).subquery()
            digests = select(PhotoRow.subject, PhotoRow.digest).join(first, PhotoRow.id == first.c.id)
            photos = {row.subject: row.digest for row in session.execute(digests)}
            running: dict[str, list[Job]] = {}
            waiting = select(JobRow).where(JobRow.state.in_(UNDER_WAY), JobRow.subject.is_not(None))
            for job in session.scalars(waiting.order_by(JobRow.created_at.desc())):
                running.setdefault(job.subject or "", []).append(job_queries.to_job(job))
            return [
                SubjectCard(
                    subject=subject_queries.to_subject(session, row),
                    images=drawn.get(row.slug, (0, None))[0],
                    image=liked.get(row.slug) or drawn.get(row.slug, (0, None))[1],
                    photo=photos.get(row.slug, ""),
                    running=tuple(running.get(row.slug, ())),
                )
                for row in rows
            ]

    def propose(
        self, name: str, *, kind: str = "person", slug: str = "", trigger: str = "", class_word: str = ""
    ) -> SubjectProposal:
        """The names that a new subject would have, with what speaks against them; nothing is added."""
        try:
            usual = CLASS_WORDS[SubjectKind(kind)]
        except ValueError:
            usual = CLASS_WORDS[SubjectKind.PERSON]
        slug, class_word = slug.strip() or propose_slug(name), class_word.strip() or usual
        trigger = trigger.strip() or propose_trigger(name or slug)
        slug_problem = trigger_problem = class_word_problem = ""
        try:
            check_slug(slug)
        except NameRefused as refused:
            slug_problem = str(refused)
        else:
            with self._workspace.database.read() as session:
                if session.get(SubjectRow, slug) is not None:
                    slug_problem = f"There is a subject '{slug}' already. Choose another slug."
        try:
            check_trigger("limner_word", class_word)
        except NameRefused as refused:
            class_word_problem, class_word = str(refused), usual
        findings = []
        try:
            findings = check_trigger(trigger, class_word)
        except NameRefused as refused:
            trigger_problem = str(refused)
        return SubjectProposal(
            slug=slug,
            trigger=trigger,
            class_word=class_word,
            findings=tuple(findings),
            slug_problem=slug_problem,
            trigger_problem=trigger_problem,
            class_word_problem=class_word_problem,
        )

    def record_consent(self, slug: str, consent: Consent) -> Subject:
        """Put on record who agreed to what; an earlier consent stays on record as withdrawn."""
        with self._workspace.database.write() as session:
            row = subject_queries.find_subject_row(session, slug)
            _withdraw(session, slug)
            session.add(_consent_row(slug, consent))
            session.flush()
            return subject_queries.to_subject(session, row)

    def withdraw_consent(self, slug: str) -> Subject:
        """Note that the consent was withdrawn; erase or unpublish what should not stay."""
        with self._workspace.database.write() as session:
            row = subject_queries.find_subject_row(session, slug)
            _withdraw(session, slug)
            session.flush()
            return subject_queries.to_subject(session, row)


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


def _consent_row(slug: str, consent: Consent) -> ConsentRow:
    """NameRefused: who gave it is no plain name."""
    given_by = plain_name(consent.given_by, "name", longest=LONGEST_NAME, thing="given_by")
    statement, given_at = fit_for_terminal(consent.statement), consent.given_at or now()
    return ConsentRow(subject=slug, statement=statement, given_by=given_by, given_at=given_at)


def _withdraw(session: Session, slug: str) -> None:
    standing = select(ConsentRow).where(ConsentRow.subject == slug, ConsentRow.withdrawn_at.is_(None))
    for consent in session.scalars(standing):
        consent.withdrawn_at = now()
