"""Erasing a subject everywhere: rows, blobs, working folders, publications; what could not be erased is said."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import and_, delete, false, or_, select, union
from sqlalchemy.orm import Session

from limner.errors import Conflict
from limner.operations.datasets import erase as datasets
from limner.operations.generations import erase as generations
from limner.operations.grids import erase as grids
from limner.operations.home import blob_erasure
from limner.operations.home.blob_erasure import Kind
from limner.operations.home.erasure_scope import ErasureScope
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import erase as jobs
from limner.operations.jobs import queries as job_queries
from limner.operations.jobs.lifecycle import new_id
from limner.operations.loras import erase as loras
from limner.operations.payments import erase as payments
from limner.operations.photos import erase as photos
from limner.operations.publications import erase as repos
from limner.operations.publications import queries as publication_queries
from limner.operations.subjects import erase as subjects
from limner.operations.subjects import queries as subject_queries
from limner.operations.trainings import erase as trainings
from limner.operations.uploads import erase as uploads
from limner.operations.webhooks import erase as webhooks
from limner.records import Erasure, SubjectContents
from limner.store.models import BlobRow, ErasureRow, JobRow, PublicationRow, now
from limner.store.web_models import ErasedRow
from limner.types import UNDER_WAY

__all__ = ["KEPT_DAYS", "SCOPES", "busy", "contents", "count_rows", "erasures", "remove", "unused_blobs"]


KEPT_DAYS = 30
"""How long the report of an erasure is kept."""


SCOPES: tuple[ErasureScope, ...] = (
    photos.SCOPE,
    uploads.SCOPE,
    datasets.SCOPE,
    trainings.SCOPE,
    loras.SCOPE,
    repos.SCOPE,
    generations.SCOPE,
    grids.SCOPE,
    jobs.SCOPE,
    payments.SCOPE,
    webhooks.SCOPE,
    ErasureScope(rows=(BlobRow, ErasureRow, ErasedRow)),  # let go of, noted and written below
    subjects.SCOPE,
)
"""What each room keeps; a subject's own row goes last, and takes with it what hangs on it."""


def count_rows(session: Session, slug: str) -> dict[str, int]:
    """How many rows of each kind name the subject."""
    queries = {name: query for holding in SCOPES for name, query in holding.counted.items()}
    return {name: len(session.execute(query(slug)).all()) for name, query in queries.items()}


def unused_blobs(session: Session) -> list[str]:
    """The digests that no row names any more."""
    used = union(*(select(row.digest) for row in blob_erasure.NAMING))
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
    drawn_in = set(session.scalars(generations.showing(slug)))
    alive = select(JobRow).where(JobRow.state.in_(UNDER_WAY)).order_by(JobRow.created_at)
    return [
        job
        for job in session.scalars(alive)
        if job.subject == slug or job.target in drawn_in or any(jobs.shows(one, slug) for one in job.request["stages"])
    ]


def _refuse_busy(session: Session, slug: str) -> None:
    for job in busy(session, slug):
        raise Conflict(
            f"The job {job.id} of '{slug}' has not ended.",
            remedy=f"Cancel it first: limner jobs cancel {job.id}.",
            thing=slug,
        )


def remove(workspace: Workspace, slug: str, *, publications: bool = True) -> Erasure:
    """Erase a subject: rows, blobs, working folders and, unless told otherwise, its publications.

    Pictures that also show another subject are erased too, because this subject is in them, and loras of others that
    were published in the same repo are taken away with it. Conflict while a job of the subject runs. What could not be
    erased is named in ``left``. What was paid stays in the ledger as bare amounts.
    """
    with workspace.database.read() as session:
        of = subject_queries.find_subject_row(session, slug).owner
    owner = workspace.owner
    # From here on with everybody's rows: a blob may be another owner's too, and a picture may show this subject still.
    workspace = workspace.everyone
    left: list[str] = []
    told: set[tuple[str, str]] = set()
    published = 0
    while True:
        with workspace.database.read() as session:
            _refuse_busy(session, slug)
            fresh = repos.places(session, slug) - told
            published = published or count_rows(session, slug)["publications"]
        if publications:
            left += repos.unpublish(workspace, owner, fresh)
        else:
            left += [f"{repo} on the hub '{hub}' (you asked to keep publications)" for hub, repo in sorted(fresh)]
        told |= fresh
        # A walk over the disk: done before the one writer's lock is taken.
        stored = workspace.blobs.digests()
        with workspace.database.write() as session:
            # Much may have happened since the first look: the hubs and the disk took their time.
            _refuse_busy(session, slug)
            if not repos.places(session, slug) <= told:
                continue
            counted = {**count_rows(session, slug), "publications": published}
            noted = _erase_rows(session, slug)
            strays, remark = _strays(session, stored)
            orphans = blob_erasure.let_go(session, unused_blobs(session))
            blob_erasure.note(session, Kind.BLOB, strays)
            blob_erasure.note(session, Kind.LOG, [""])
            break
    found = blob_erasure.finish(workspace)
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
    """Let each room forget a subject; the names of what was noted for the disk: folders and uploads."""
    on_disk: dict[Kind, list[str]] = {}
    for holding in SCOPES:
        if holding.on_disk:
            kind, query = holding.on_disk
            on_disk.setdefault(kind, []).extend(session.scalars(query(slug)))
    names = [name for some in on_disk.values() for name in some]
    for holding in SCOPES:
        if holding.forget:
            holding.forget(session, slug, frozenset(names))
    session.flush()
    for kind, some in on_disk.items():
        blob_erasure.note(session, kind, some)
    return names


def contents(workspace: Workspace, slug: str) -> SubjectContents:
    """What erasing a subject would take along."""
    with workspace.database.read() as session:
        subject_queries.find_subject_row(session, slug)
        counts = count_rows(session, slug)
        # A repo goes whole, with what others of the subjects have in it.
        held = [
            and_(PublicationRow.hub == hub, PublicationRow.repo == repo)
            for hub, repo in sorted(repos.places(session, slug))
        ]
        rows = session.scalars(select(PublicationRow).where(or_(false(), *held)).order_by(PublicationRow.id)).all()
        return SubjectContents(
            subject=slug,
            counts=counts,
            publications=tuple(publication_queries.to_publication(session, row) for row in rows),
            running=tuple(map(job_queries.to_job, busy(session, slug))),
        )
