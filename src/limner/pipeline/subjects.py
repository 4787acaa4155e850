"""Subjects: adding one, and erasing one everywhere with a report of what could not be erased."""

from __future__ import annotations

import shutil

from sqlalchemy import delete, or_, select, union
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from limner import plugins
from limner.datasets.triggers import check_slug, check_trigger, propose_trigger
from limner.errors import Conflict, InputRefused, LimnerError, NotFound
from limner.pipeline import intents, reading, thumbnails, uploads
from limner.pipeline.workspace import Workspace
from limner.records import Erasure, Subject
from limner.store.models import (
    BlobRow,
    CheckpointRow,
    ConsentRow,
    DatasetPhotoRow,
    DatasetRow,
    GenerationRow,
    GenerationSubjectRow,
    ImageRow,
    IntakeRow,
    JobRow,
    LoraRow,
    PhotoRow,
    PublicationRow,
    SampleRow,
    SubjectRow,
    TrainingRow,
    now,
)
from limner.store.web_models import UploadRow
from limner.types import Consent, JobState, SubjectKind

__all__ = ["CLASS_WORDS", "add", "count_rows", "record_consent", "remove", "unused_blobs", "withdraw_consent"]

CLASS_WORDS = {
    SubjectKind.PERSON: "person",
    SubjectKind.PET: "pet",
    SubjectKind.PRODUCT: "product",
    SubjectKind.CHARACTER: "character",
    SubjectKind.STYLE: "style",
}


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
    try:
        kind = SubjectKind(kind)
    except ValueError:
        raise InputRefused(
            f"'{kind}' is not a kind of subject.", remedy=f"One of: {', '.join(SubjectKind)}.", thing=str(kind)
        ) from None
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
            raise Conflict(f"The slug '{slug}' is taken.", remedy="Choose another slug.", thing=slug) from None
        if consent is not None:
            given = {
                "statement": consent.statement,
                "given_by": consent.given_by,
                "given_at": consent.given_at or now(),
            }
            session.add(ConsentRow(subject=slug, **given))
            session.flush()
        record = reading.to_subject(session, row)
    return Subject(**{field: getattr(record, field) for field in record.__dataclass_fields__} | {"findings": findings})


def record_consent(workspace: Workspace, slug: str, consent: Consent) -> Subject:
    """Put a consent on record, in place of an earlier one, which stays on record as withdrawn."""
    with workspace.database.write() as session:
        row = reading.find_subject_row(session, slug)
        _withdraw(session, slug)
        given = {"statement": consent.statement, "given_by": consent.given_by, "given_at": consent.given_at or now()}
        session.add(ConsentRow(subject=slug, **given))
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


def count_rows(session: Session, slug: str) -> dict[str, int]:
    """How many rows of each kind name the subject."""
    trainings = select(TrainingRow.id).where(TrainingRow.subject == slug)
    loras = select(LoraRow.id).where(LoraRow.subject == slug)
    generations = select(GenerationSubjectRow.generation).where(GenerationSubjectRow.subject == slug)
    queries = {
        "photos": select(PhotoRow.id).where(PhotoRow.subject == slug),
        "datasets": select(DatasetRow.digest).where(DatasetRow.subject == slug),
        "trainings": trainings,
        "loras": loras,
        "publications": select(PublicationRow.id).where(PublicationRow.lora.in_(loras)),
        "images": select(ImageRow.id).where(ImageRow.generation.in_(generations)),
        "jobs": select(JobRow.id).where(JobRow.subject == slug),
    }
    return {kind: len(session.execute(query).all()) for kind, query in queries.items()}


def unused_blobs(session: Session) -> list[str]:
    """The digests that no row names any more."""
    used = union(
        select(PhotoRow.digest),
        select(DatasetPhotoRow.digest),
        select(CheckpointRow.digest),
        select(SampleRow.digest),
        select(LoraRow.digest),
        select(ImageRow.digest),
    )
    return list(session.scalars(select(BlobRow.digest).where(BlobRow.digest.not_in(used))))


def _strays(session: Session, stored: list[str]) -> tuple[list[str], list[str]]:
    """Of the stored blobs those without a row, as a process leaves that was killed between the two; and a remark.

    While jobs run they may be a job's that has not come to its row yet: then none is given, and the remark says so.
    """
    named = set(session.scalars(select(BlobRow.digest)))
    strays = [digest for digest in stored if digest not in named]
    busy = select(JobRow.id).where(JobRow.state.in_([JobState.WAITING, JobState.RUNNING])).limit(1)
    if not strays or not session.scalar(busy):
        return strays, []
    return [], [
        f"{len(strays)} stored files that no row names: jobs of other subjects run, and they may be theirs. "
        "They go with the next subject that you remove while nothing runs."
    ]


def _unpublish(workspace: Workspace, published: list[tuple[str, str]]) -> list[str]:
    """Delete repos, given as (hub, repo); say which could not be."""
    left = []
    for hub, repo in published:
        try:
            plugins.back_end("limner.hubs", hub, settings=workspace.settings).delete(repo)
        except NotFound:
            continue
        except LimnerError as failure:
            left.append(f"{repo} on the hub '{hub}': {failure}")
    return left


def _erase_files(workspace: Workspace, digests: list[str], folders: list[str]) -> list[str]:
    """Erase blobs and working folders; say which could not be."""
    left = []
    for digest in digests:
        try:
            workspace.blobs.remove(digest)
            thumbnails.forget(workspace, digest)
        except OSError as failure:
            left.append(f"the blob {digest[:12]}…: {failure.strerror}")
    for folder in folders:
        (workspace.home / "logs" / "trainings" / f"{folder}.txt").unlink(missing_ok=True)
        try:
            shutil.rmtree(workspace.home / "runs" / folder)
        except FileNotFoundError:
            continue
        except OSError as failure:
            left.append(f"the working folder {failure.filename}: {failure.strerror}")
    return left


def remove(workspace: Workspace, slug: str, *, publications: bool = True) -> Erasure:
    """Erase a subject: rows, blobs, working folders and, unless told otherwise, its publications.

    Pictures that also show another subject are erased too, because this subject is in them. Conflict while a job of
    the subject runs. What could not be erased is named in ``left``. What was paid stays in the ledger as bare amounts.
    """
    left: list[str] = []
    with workspace.database.read() as session:
        reading.find_subject_row(session, slug)
    # From here on with everybody's rows: a blob may be another owner's too, and a picture may show this subject still.
    workspace = workspace.everyone
    with workspace.database.read() as session:
        drawn_in = select(GenerationSubjectRow.generation).where(GenerationSubjectRow.subject == slug)
        running = select(JobRow.id).where(
            or_(JobRow.subject == slug, JobRow.target.in_(drawn_in)),
            JobRow.state.in_([JobState.WAITING, JobState.RUNNING]),
        )
        busy = session.scalars(running).first()
        if busy:
            raise Conflict(
                f"The job {busy} of '{slug}' has not ended.",
                remedy=f"Cancel it first: limner jobs cancel {busy}.",
                thing=slug,
            )
        counted = count_rows(session, slug)
        published = sorted(
            {
                (row.hub, row.repo)
                for row in session.scalars(
                    select(PublicationRow)
                    .join(LoraRow, LoraRow.id == PublicationRow.lora)
                    .where(LoraRow.subject == slug)
                )
            }
        )
        generations = list(session.scalars(drawn_in))
        trainings = list(session.scalars(select(TrainingRow.id).where(TrainingRow.subject == slug)))
        jobs = list(session.scalars(select(JobRow.id).where(JobRow.subject == slug)))
        orders = trainings + generations
        arriving = list(session.scalars(select(UploadRow.id).where(UploadRow.subject == slug)))
    left += (
        _unpublish(workspace, published)
        if publications
        else [f"{repo} on the hub '{hub}' (you asked to keep publications)" for hub, repo in published]
    )
    # Grids load all that is needed for drawing.
    from limner.pipeline import grids

    # A walk over the disk: done before the one writer's lock is taken.
    stored = workspace.blobs.digests()
    with workspace.database.write() as session:
        intents.forget_subject(session, slug, jobs=jobs, orders=orders)
        grids.forget(session, generations)
        session.execute(delete(GenerationRow).where(GenerationRow.id.in_(generations)))
        session.execute(delete(JobRow).where(JobRow.subject == slug))
        session.execute(delete(IntakeRow).where(IntakeRow.subject == slug))
        session.execute(delete(SubjectRow).where(SubjectRow.slug == slug))
        session.flush()
        orphans = unused_blobs(session)
        strays, remark = _strays(session, stored)
        session.execute(delete(BlobRow).where(BlobRow.digest.in_(orphans)))
    orphans += strays
    left += remark + _erase_files(workspace, orphans, orders + jobs) + uploads.forget(workspace, arriving)
    return Erasure(slug, {**counted, "blobs": len(orphans)}, tuple(left))
