"""Verifying the home: every blob is hashed again, every row and file held against each other; a job that can go on."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from limner.atomic_file import write_atomically
from limner.errors import LimnerError
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.operations.jobs.context import StageContext
from limner.operations.jobs.request import StageRequest
from limner.records import Job, VerifyFinding
from limner.store.blobs import file_digest
from limner.store.models import (
    BlobRow,
    CheckpointRow,
    DatasetPhotoRow,
    DatasetRow,
    GenerationRow,
    ImageRow,
    JobRow,
    LoraOriginalRow,
    LoraRow,
    PhotoRow,
    PublicationRow,
    SampleRow,
    TrainingRow,
)
from limner.store.web_models import UploadRow
from limner.types import Progress

__all__ = ["stage", "submit"]

KIND = "verify"
MOST_FINDINGS = 500
"""More are counted, and not listed."""
SAVE_SECONDS = 2.0
SETTLED_SECONDS = 3600.0
"""What is younger may be on its way to its row."""
STRAY = "Nothing needs it: `limner verify --remove-stray` deletes it."
_RUN, _UPLOAD = re.compile(r"(job|training|generation)_[0-9a-f]{16}"), re.compile(r"upload_[0-9a-f]{16}")
SMOOTHING = 0.1
"""Weight of the newest piece in the bytes a second that the estimate is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest(StageRequest):
    """One look at the whole home. ``folder`` is the job's that began it: one that goes on with it goes on there."""

    stage: ClassVar[str] = KIND

    remove_stray: bool = False
    folder: str = ""


def submit(workspace: Workspace, *, remove_stray: bool = False) -> Job:
    """Enqueue a verification of the whole home. ``remove_stray``: delete what belongs to nothing, and only that."""
    job = lifecycle.new_id("job")
    # A job that goes on with this one goes on where it stopped.
    request = VerifyRequest(remove_stray=remove_stray, folder=job)
    return lifecycle.enqueue(workspace, KIND, [request], subject=None, job=job)


async def stage(context: StageContext, request: VerifyRequest) -> Mapping[str, object]:
    """Verify. Run again it goes on after the last blob that was noted."""
    return await asyncio.to_thread(_verify, context, request)


@dataclass(slots=True)
class _State:
    """How far a verification is, as it is kept in its folder."""

    upto: str = ""
    files: int = 0
    bytes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    findings: list[VerifyFinding] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> _State:
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            findings = [VerifyFinding(**{**one, "used_by": tuple(one["used_by"])}) for one in kept.pop("findings")]
            return cls(**kept, findings=findings)
        except (OSError, ValueError, TypeError, KeyError):
            return cls()

    def write(self, path: Path) -> None:
        write_atomically(path, json.dumps(asdict(self)).encode(), durable=False)

    def add(self, finding: VerifyFinding) -> None:
        self.counts[finding.problem] = self.counts.get(finding.problem, 0) + 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)


def _verify(context: StageContext, request: VerifyRequest) -> Mapping[str, object]:
    workspace = context.workspace
    began = time.time()
    note = workspace.directory(request.folder) / "verified.json"
    state = _State.read(note)
    if not state.upto:
        for finding in _database(workspace):
            state.add(finding)
    _blobs(context, state, note, began)
    for finding in _missing(workspace):
        state.add(finding)
    for finding in (*_stray(workspace, began), *_of_hub(workspace)):
        state.add(finding)
    if request.remove_stray:
        _remove(state)
    note.unlink(missing_ok=True)
    return {**asdict(state), "folder": request.folder}


def _blobs(context: StageContext, state: _State, note: Path, began: float) -> None:
    """Hash every blob after ``state.upto``, in the order of their digests."""
    workspace = context.workspace
    whole = sum(path.stat().st_size for path in workspace.blobs.files())
    rate, saved = 0.0, time.monotonic()
    for path in workspace.blobs.files():
        digest = path.parent.name + path.name
        if digest <= state.upto:
            continue
        if context.progress.cancelled:
            state.write(note)
            context.progress.check_cancelled()
        start = time.monotonic()
        for finding in _look(workspace, path, digest, began):
            state.add(finding)
        size = path.stat().st_size if path.exists() else 0
        state.upto, state.files, state.bytes = digest, state.files + 1, state.bytes + size
        speed = size / max(time.monotonic() - start, 1e-6)
        rate = speed if not rate else rate + SMOOTHING * (speed - rate)
        left = max(0, whole - state.bytes) / max(rate, 1.0)
        context.report(Progress(KIND, state.bytes, whole, "byte", rate=rate, seconds_left=left))
        if time.monotonic() - saved > SAVE_SECONDS:
            state.write(note)
            saved = time.monotonic()


def _look(workspace: Workspace, path: Path, digest: str, began: float) -> Iterator[VerifyFinding]:
    """What is wrong with one file of the blobs' folder."""
    try:
        found = file_digest(path)
    except FileNotFoundError:
        return  # erased meanwhile
    except OSError as failure:
        found = f"unreadable: {failure.strerror}"
    with workspace.database.read() as session:
        known = session.get(BlobRow, digest) is not None
        uses = _uses(session, digest) if known else ()
    if found != digest:
        yield VerifyFinding("damaged", "blob", digest, uses, _remedy(uses))
    elif not known and path.stat().st_mtime < began - SETTLED_SECONDS:
        yield VerifyFinding("stray", "file", str(path), (), STRAY)


def _uses(session: Session, digest: str) -> tuple[str, ...]:
    """What a blob is, by the names that a user knows; the first twenty."""
    found: list[str] = []
    for subject, name in session.execute(select(PhotoRow.subject, PhotoRow.source).where(PhotoRow.digest == digest)):
        found.append(f"photo {Path(name).name or digest[:12]} of {subject}")
    query = (
        select(DatasetRow.subject, DatasetRow.digest)
        .join(DatasetPhotoRow, DatasetPhotoRow.dataset == DatasetRow.digest)
        .where(DatasetPhotoRow.digest == digest)
    )
    found += [f"photo in the dataset {dataset[:12]} of {subject}" for subject, dataset in session.execute(query)]
    loras = session.execute(select(LoraRow.subject, LoraRow.version).where(LoraRow.digest == digest))
    found += [f"lora {subject}@v{version}" for subject, version in loras]
    originals = (
        select(LoraRow.subject, LoraRow.version)
        .join(LoraOriginalRow, LoraOriginalRow.lora == LoraRow.id)
        .where(LoraOriginalRow.digest == digest)
    )
    found += [f"lora {subject}@v{version}, as it came" for subject, version in session.execute(originals)]
    checkpoints = session.execute(
        select(CheckpointRow.training, CheckpointRow.step).where(CheckpointRow.digest == digest)
    )
    found += [f"checkpoint {training}#{step}" for training, step in checkpoints]
    samples = session.execute(select(SampleRow.training, SampleRow.step).where(SampleRow.digest == digest))
    found += [f"sample of {training} at step {step}" for training, step in samples]
    found += [f"image {number}" for number in session.scalars(select(ImageRow.id).where(ImageRow.digest == digest))]
    return tuple(found[:20])


def _remedy(uses: tuple[str, ...]) -> str:
    """What to do about bytes that are lost here."""
    first = uses[0].split()[0] if uses else ""
    ways = {
        "photo": "Add the same photo again: it takes its place.",
        "lora": "Import it again from where it was published, or train again.",
        "checkpoint": "Use another checkpoint, or train again.",
        "sample": "Nothing else depends on it.",
        "image": "Draw it again, or delete it.",
    }
    return f"Restore the file from a backup of the home folder. {ways.get(first, 'Nothing depends on it.')}"


def _missing(workspace: Workspace) -> Iterator[VerifyFinding]:
    """Rows whose file is not there; read in portions, as there may be hundreds of thousands."""
    after = ""
    while True:
        with workspace.database.read() as session:
            query = select(BlobRow.digest).where(BlobRow.digest > after).order_by(BlobRow.digest).limit(1000)
            digests = session.scalars(query).all()
            lost = [(digest, _uses(session, digest)) for digest in digests if not workspace.blobs.has(digest)]
        for digest, uses in lost:
            yield VerifyFinding("missing", "blob", digest, uses, _remedy(uses))
        if len(digests) < 1000:
            return
        after = digests[-1]


def _database(workspace: Workspace) -> Iterator[VerifyFinding]:
    """What SQLite itself says of the file, and rows that name others that are not there."""
    with workspace.database.read() as session:
        said = [str(row[0]) for row in session.execute(text("PRAGMA integrity_check(20)"))]
        broken = session.execute(text("PRAGMA foreign_key_check")).fetchmany(20)
    remedy = "Stop all of Limner, and restore limner.db from a backup; blobs are untouched."
    for line in said:
        if line != "ok":
            yield VerifyFinding("damaged", "database", line[:300], (), remedy)
    for table, row, other, _ in broken:
        words = f"row {row} of {table} names a row of {other} that is not there"
        yield VerifyFinding("damaged", "database", words, (), remedy)


def _stray(workspace: Workspace, began: float) -> Iterator[VerifyFinding]:
    """Files and folders of the home that belong to no row, and that nobody has touched for a while."""
    old = began - SETTLED_SECONDS
    for path in workspace.blobs.leftovers():
        if path.stat().st_mtime < old:
            yield VerifyFinding("stray", "file", str(path), (), STRAY)
    with workspace.database.read() as session:
        runs = {*session.scalars(select(JobRow.id)), *session.scalars(select(TrainingRow.id))}
        runs |= {*session.scalars(select(GenerationRow.id))}
        uploaded = {*session.scalars(select(UploadRow.id))}
    for folder, known, form in (("runs", runs, _RUN), ("uploads", uploaded, _UPLOAD)):
        for path in sorted((workspace.home / folder).glob("*")):
            if form.fullmatch(path.name) and path.name not in known and path.stat().st_mtime < old:
                yield VerifyFinding("stray", "folder" if path.is_dir() else "file", str(path), (), STRAY)


def _of_hub(workspace: Workspace) -> Iterator[VerifyFinding]:
    """What the folder hub says of the revisions that were published into it."""
    with workspace.database.read() as session:
        query = select(PublicationRow.repo, PublicationRow.revision).where(PublicationRow.hub == "folder")
        published = sorted({(repo, revision) for repo, revision in session.execute(query)})
    if not published:
        return
    hub = workspace.back_ends.hub("folder")
    for repo, revision in published:
        try:
            problems = hub.status(repo, revision=revision).problems
        except LimnerError as failure:
            problems = (failure.message,)
        for problem in problems:
            words = f"{repo} at {revision[:12]}: {problem}"
            yield VerifyFinding("damaged", "publication", words, (), "Publish it again.")


def _remove(state: _State) -> None:
    for finding in state.findings:
        path = Path(finding.name)
        if finding.problem == "stray" and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif finding.problem == "stray":
            path.unlink(missing_ok=True)
