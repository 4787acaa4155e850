"""Subjects at a glance: their cards, the names that a new one would have, what erasing one takes, and the demo's."""

from __future__ import annotations

from sqlalchemy import func, select

from limner.datasets.triggers import check_slug, check_trigger, propose_slug, propose_trigger
from limner.errors import NameRefused
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import queries as job_queries
from limner.operations.subjects import editing as subjects
from limner.operations.subjects import queries as reading
from limner.records import Job, SubjectCard, SubjectProposal
from limner.store.models import (
    GenerationSubjectRow,
    ImageRow,
    JobRow,
    PhotoRow,
    SubjectRow,
)
from limner.types import UNDER_WAY, SubjectKind

__all__ = ["cards", "propose"]


def cards(workspace: Workspace) -> list[SubjectCard]:
    """All subjects with their best picture, the one that something happened to last first."""
    with workspace.database.read() as session:
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
                subject=reading.to_subject(session, row),
                images=drawn.get(row.slug, (0, None))[0],
                image=liked.get(row.slug) or drawn.get(row.slug, (0, None))[1],
                photo=photos.get(row.slug, ""),
                running=tuple(running.get(row.slug, ())),
            )
            for row in rows
        ]


def propose(
    workspace: Workspace, *, name: str, kind: str, slug: str = "", trigger: str = "", class_word: str = ""
) -> SubjectProposal:
    """The names that a new subject would have, those given checked and the others made from its name."""
    try:
        usual = subjects.CLASS_WORDS[SubjectKind(kind)]
    except ValueError:
        usual = subjects.CLASS_WORDS[SubjectKind.PERSON]
    slug, class_word = slug.strip() or propose_slug(name), class_word.strip() or usual
    trigger = trigger.strip() or propose_trigger(name or slug)
    slug_problem = trigger_problem = class_word_problem = ""
    try:
        check_slug(slug)
    except NameRefused as refused:
        slug_problem = str(refused)
    else:
        with workspace.database.read() as session:
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
