"""Subjects at a glance: their cards, the names that a new one would have, what erasing one takes, and the demo's."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files

from sqlalchemy import and_, false, func, or_, select

from limner.datasets.triggers import check_slug, check_trigger, propose_slug, propose_trigger
from limner.errors import Conflict, InputRefused, NameRefused
from limner.pipeline import intake, reading, subjects
from limner.pipeline.workspace import Workspace
from limner.records import Job, SubjectCard, SubjectContents, SubjectProposal
from limner.store.models import (
    GenerationSubjectRow,
    ImageRow,
    IntakeRow,
    JobRow,
    PhotoRow,
    PublicationRow,
    SubjectRow,
)
from limner.types import UNDER_WAY, SubjectKind

__all__ = ["DEMO", "add_demo", "cards", "contents", "propose"]

DEMO = "zibbo"


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
            running.setdefault(job.subject or "", []).append(reading.to_job(job))
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


def contents(workspace: Workspace, slug: str) -> SubjectContents:
    """What erasing a subject would take along."""
    with workspace.database.read() as session:
        reading.find_subject_row(session, slug)
        counts = subjects.count_rows(session, slug)
        # A repo goes whole, with what others of the subjects have in it.
        places = [
            and_(PublicationRow.hub == hub, PublicationRow.repo == repo)
            for hub, repo in sorted(subjects.places(session, slug))
        ]
        rows = session.scalars(select(PublicationRow).where(or_(false(), *places)).order_by(PublicationRow.id)).all()
        return SubjectContents(
            subject=slug,
            counts=counts,
            publications=tuple(reading.to_publication(session, row) for row in rows),
            running=tuple(map(reading.to_job, subjects.busy(session, slug))),
        )


def add_demo(workspace: Workspace) -> Job:
    """The demo's subject with the photos that ship with Limner; the same again gives the intake that there was."""
    try:
        subjects.add(workspace, DEMO, name="Zibbo", kind=SubjectKind.CHARACTER, class_word="character", trigger="zibbo")
    except Conflict:
        with workspace.database.read() as session:
            newest = select(JobRow).where(JobRow.subject == DEMO, JobRow.kind == "intake")
            row = session.scalars(newest.order_by(JobRow.created_at.desc()).limit(1)).first()
            photos = session.scalar(select(func.count()).where(IntakeRow.subject == DEMO))
            if row is not None and (photos or row.state in UNDER_WAY):
                return reading.to_job(row)
            own = session.get(SubjectRow, DEMO)
        if own is None:
            # Another user's: slugs are one for all.
            raise InputRefused(
                f"The demo's subject '{DEMO}' is somebody else's here.",
                remedy="Start a subject of your own.",
                thing=DEMO,
            ) from None
    folder = workspace.home / "photos" / DEMO
    with as_file(files("limner.demo") / "character") as shipped:
        shutil.copytree(shipped, folder, ignore=shutil.ignore_patterns("*.md"), dirs_exist_ok=True)
    return intake.submit(workspace, DEMO, [folder])
