"""Erasing a subject everywhere: rows, blobs, working folders, publications; what could not be erased is said."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, and_, delete, false, or_, select, union
from sqlalchemy.orm import Session

from limner import plugins
from limner.errors import Conflict, LimnerError, NotFound
from limner.operations.home import blob_erasure as erasing
from limner.operations.home.blob_erasure import Kind
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import idempotency as wishes
from limner.operations.jobs import queries as job_queries
from limner.operations.jobs.lifecycle import new_id
from limner.operations.payments import intents
from limner.operations.publications import queries as publication_queries
from limner.operations.publications import repo_owners as repos
from limner.operations.subjects import queries as reading
from limner.records import Erasure, SubjectContents
from limner.store.models import (
    BlobRow,
    DatasetRow,
    GenerationRow,
    GenerationSubjectRow,
    ImageRow,
    IntakeRow,
    JobRow,
    LoraRow,
    PhotoRow,
    PublicationRow,
    SubjectRow,
    TrainingRow,
    now,
)
from limner.store.web_models import AnswerRow, ErasedRow, UploadRow
from limner.types import UNDER_WAY

__all__ = ["KEPT_DAYS", "MADE", "busy", "contents", "count_rows", "erasures", "places", "remove", "unused_blobs"]


KEPT_DAYS = 30
"""How long the report of an erasure is kept."""


MADE = re.compile(rb"(?:job|training|generation)_[0-9a-f]{16}")
"""The ids of what is made of a subject."""


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
    used = union(*(select(row.digest) for row in erasing.NAMING))
    return list(session.scalars(select(BlobRow.digest).where(BlobRow.digest.not_in(used))))


def _strays(session: Session, stored: list[str]) -> tuple[list[str], list[str]]:
    """Of the stored blobs those without a row, as a process leaves that was killed between the two; and a remark.

    While jobs run they may be a job's that has not come to its row yet: then none is given, and the remark says so.
    """
    named = set(session.scalars(select(BlobRow.digest)))
    strays = [digest for digest in stored if digest not in named]
    busy = select(JobRow.id).where(JobRow.state.in_(UNDER_WAY)).limit(1)
    if not strays or not session.scalar(busy):
        return strays, []
    return [], [
        f"{len(strays)} stored files that no row names: jobs of other subjects run, and they may be theirs. "
        "They go with the next subject that you remove while nothing runs."
    ]


def busy(session: Session, slug: str) -> list[JobRow]:
    """The jobs that have not ended and are the subject's, or draw it."""
    drawn_in = set(session.scalars(_drawn_in(slug)))
    alive = select(JobRow).where(JobRow.state.in_(UNDER_WAY)).order_by(JobRow.created_at)
    return [
        job
        for job in session.scalars(alive)
        if job.subject == slug or job.target in drawn_in or any(_shows(one, slug) for one in job.request["stages"])
    ]


def _refuse_busy(session: Session, slug: str) -> None:
    for job in busy(session, slug):
        raise Conflict(
            f"The job {job.id} of '{slug}' has not ended.",
            remedy=f"Cancel it first: limner jobs cancel {job.id}.",
            thing=slug,
        )


def _drawn_in(slug: str) -> Select[str]:
    return select(GenerationSubjectRow.generation).where(GenerationSubjectRow.subject == slug)


def _shows(stage: Mapping[str, Any], slug: str) -> bool:
    """Whether a stage that draws was asked for a lora of the subject."""
    return any(str(use[0]).partition("@")[0] == slug for use in stage.get("loras", ()))


def places(session: Session, slug: str) -> set[tuple[str, str]]:
    """Where the subject's loras are published, as (hub, repo)."""
    rows = select(PublicationRow.hub, PublicationRow.repo).join(LoraRow, LoraRow.id == PublicationRow.lora)
    return {(hub, repo) for hub, repo in session.execute(rows.where(LoraRow.subject == slug))}


def _unpublish(workspace: Workspace, owner: str | None, published: Iterable[tuple[str, str]]) -> list[str]:
    """Delete repos, given as (hub, repo), with the rows of all that they hold; say which could not be."""
    left = []
    for hub, repo in sorted(published):
        if owner is not None and any(one.owner != owner for one in repos.held(workspace, hub, repo)):
            left.append(f"{repo} on the hub '{hub}': it holds another user's loras too, so an admin has to delete it")
            continue
        try:
            # somebody was faster, or an earlier run was killed before its rows went
            with suppress(NotFound):
                plugins.back_end("limner.hubs", hub, settings=workspace.settings).delete(repo)
        except LimnerError as failure:
            left.append(f"{repo} on the hub '{hub}': {failure}")
            continue
        with workspace.database.write() as session:
            session.execute(delete(PublicationRow).where(PublicationRow.hub == hub, PublicationRow.repo == repo))
    return left


def remove(workspace: Workspace, slug: str, *, publications: bool = True) -> Erasure:
    """Erase a subject: rows, blobs, working folders and, unless told otherwise, its publications.

    Pictures that also show another subject are erased too, because this subject is in them, and loras of others that
    were published in the same repo are taken away with it. Conflict while a job of the subject runs. What could not be
    erased is named in ``left``. What was paid stays in the ledger as bare amounts.
    """
    with workspace.database.read() as session:
        of = reading.find_subject_row(session, slug).owner
    owner = workspace.owner
    # From here on with everybody's rows: a blob may be another owner's too, and a picture may show this subject still.
    workspace = workspace.everyone
    left: list[str] = []
    told: set[tuple[str, str]] = set()
    published = 0
    while True:
        with workspace.database.read() as session:
            _refuse_busy(session, slug)
            fresh = places(session, slug) - told
            published = published or count_rows(session, slug)["publications"]
        if publications:
            left += _unpublish(workspace, owner, fresh)
        else:
            left += [f"{repo} on the hub '{hub}' (you asked to keep publications)" for hub, repo in sorted(fresh)]
        told |= fresh
        # A walk over the disk: done before the one writer's lock is taken.
        stored = workspace.blobs.digests()
        with workspace.database.write() as session:
            # Much may have happened since the first look: the hubs and the disk took their time.
            _refuse_busy(session, slug)
            if not places(session, slug) <= told:
                continue
            counted = {**count_rows(session, slug), "publications": published}
            noted = _erase_rows(session, slug)
            strays, remark = _strays(session, stored)
            orphans = erasing.let_go(session, unused_blobs(session))
            erasing.note(session, Kind.BLOB, strays)
            erasing.note(session, Kind.LOG, [""])
            break
    found = erasing.finish(workspace)
    noted += orphans + strays
    left += remark + [found[name] for name in noted if name in found]
    made = Erasure(slug, {**counted, "blobs": len(orphans) + len(strays)}, tuple(left), new_id("erasure"))
    with workspace.database.write() as session:
        session.execute(delete(ErasedRow).where(ErasedRow.created_at < now() - timedelta(days=KEPT_DAYS)))
        session.add(ErasedRow(id=made.id, owner=of, subject=slug, erased=dict(made.erased), left=list(made.left)))
    return made


def erasures(workspace: Workspace, slug: str = "") -> list[Erasure]:
    """What the erasures of the last weeks said at their end, of subjects of that slug or of all, newest first."""
    query = select(ErasedRow).order_by(ErasedRow.created_at.desc(), ErasedRow.id)
    with workspace.database.read() as session:
        rows = session.scalars(query.where(ErasedRow.subject == slug) if slug else query)
        return [Erasure(row.subject, row.erased, tuple(row.left), row.id) for row in rows]


def _erase_rows(session: Session, slug: str) -> list[str]:
    """Delete all rows that tell of a subject; the names of what was noted for the disk: folders and uploads."""
    # Grids load all that is needed for drawing.
    from limner.operations.grids import actions as grids

    shown = _drawn_in(slug)
    generations = list(session.scalars(shown))
    trainings = list(session.scalars(select(TrainingRow.id).where(TrainingRow.subject == slug)))
    own = or_(JobRow.subject == slug, JobRow.target.in_(shown))
    jobs = list(session.scalars(select(JobRow.id).where(own)))
    uploads = list(session.scalars(select(UploadRow.id).where(UploadRow.subject == slug)))
    orders = trainings + generations
    intents.forget_subject(session, slug, jobs=jobs, orders=orders)
    grids.forget(session, generations)
    _blank_stages(session, slug, set(generations))
    _forget_answers(session, slug, [*orders, *jobs])
    session.execute(delete(JobRow).where(own))
    session.execute(delete(GenerationRow).where(GenerationRow.id.in_(shown)))
    session.execute(delete(IntakeRow).where(IntakeRow.subject == slug))
    session.execute(delete(SubjectRow).where(SubjectRow.slug == slug))
    session.flush()
    erasing.note(session, Kind.FOLDER, orders + jobs)
    erasing.note(session, Kind.UPLOAD, uploads)
    return orders + jobs + uploads


def _blank_stages(session: Session, slug: str, generations: Collection[str]) -> None:
    """Of other subjects' whole runs, blank the stages that drew this one: what was asked for, and what came of it."""
    runs = select(JobRow).where(JobRow.kind == "run", JobRow.subject.is_distinct_from(slug))
    for row in session.scalars(runs):
        asked = row.request["stages"]
        gone = {at for at, one in enumerate(asked) if one.get("generation") in generations or _shows(one, slug)}
        if not gone:
            continue
        row.request = {"stages": [{"stage": one["stage"]} if at in gone else one for at, one in enumerate(asked)]}
        row.stages = [{**one, "result": {}} if at in gone else one for at, one in enumerate(row.stages)]
        row.result = {key: value for one in row.stages for key, value in (one.get("result") or {}).items()}
        row.progress = {}
        if row.error and len(row.stages) - 1 in gone:
            row.error = {**row.error, "message": "What it drew was erased.", "remedy": "", "thing": ""}


def _forget_answers(session: Session, slug: str, ids: Sequence[str]) -> None:
    """Delete the answers kept for repeated requests that tell of a subject, or of what was made of it by its id."""
    named = re.escape(slug.encode())
    tells = re.compile(rb'"(?:slug|subject)": ?"%b"|"%b@v|/subjects/%b(?![a-z0-9_-])' % (named, named, named))
    made = set(ids)
    # The row of a wish names a job and nothing else, and sees to it that nothing is bought twice.
    kept = select(AnswerRow.owner, AnswerRow.key, AnswerRow.route, AnswerRow.headers, AnswerRow.body)
    gone = []
    for owner, key, route, headers, body in session.execute(kept.where(AnswerRow.route != wishes.ROUTE)):
        told = b" ".join([route.encode(), str(headers.get("location", "")).encode(), body])
        if tells.search(told) or not made.isdisjoint(found.decode() for found in MADE.findall(told)):
            gone.append((owner, key))
    for owner, key in gone:
        session.execute(delete(AnswerRow).where(AnswerRow.owner == owner, AnswerRow.key == key))


def contents(workspace: Workspace, slug: str) -> SubjectContents:
    """What erasing a subject would take along."""
    with workspace.database.read() as session:
        reading.find_subject_row(session, slug)
        counts = count_rows(session, slug)
        # A repo goes whole, with what others of the subjects have in it.
        held = [
            and_(PublicationRow.hub == hub, PublicationRow.repo == repo) for hub, repo in sorted(places(session, slug))
        ]
        rows = session.scalars(select(PublicationRow).where(or_(false(), *held)).order_by(PublicationRow.id)).all()
        return SubjectContents(
            subject=slug,
            counts=counts,
            publications=tuple(publication_queries.to_publication(session, row) for row in rows),
            running=tuple(map(job_queries.to_job, busy(session, slug))),
        )
