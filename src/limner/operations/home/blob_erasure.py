"""Erasing from the disk: what is to go is written down with the change that lets go of it, and goes afterwards.

So a process that is killed in between leaves a list and no secret: the next erasure, worker or server goes on with it.
Nobody erases what is named again meanwhile: both sides look in a transaction that writes, and there is one at a time.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from sqlalchemy import delete, select, union_all
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from limner.errors import LimnerError
from limner.operations.home import scratch, thumbnails
from limner.operations.home.workspace import Workspace
from limner.store.models import (
    BlobRow,
    CheckpointRow,
    DatasetPhotoRow,
    ErasureRow,
    ImageRow,
    LoraOriginalRow,
    LoraRow,
    PhotoRow,
    SampleRow,
)

__all__ = ["NAMING", "Kind", "add_blob", "finish", "finish_later", "let_go", "note", "portions"]

log = logging.getLogger(__name__)

T = TypeVar("T")

NAMING = (PhotoRow, DatasetPhotoRow, CheckpointRow, SampleRow, LoraRow, LoraOriginalRow, ImageRow)
"""The rows that name a blob."""
AT_ONCE = 500
"""Names in one statement."""
UNLINKED_AT_ONCE = 50
"""Blobs whose files go in one transaction: whoever else wants to write waits for so many at most."""


class Kind(StrEnum):
    """What is to be erased."""

    BLOB = "blob"
    """A blob without a row, with its thumbnails."""
    FOLDER = "folder"
    """A working folder of ``runs``, with the log of the training whose it is."""
    UPLOAD = "upload"
    """The bytes of an upload."""
    LOG = "log"
    """What the database's log still holds of rows that are gone; its name is ""."""


def add_blob(session: Session, workspace: Workspace, digest: str, media_type: str, source: Path) -> None:
    """The row of a stored blob, unless it is there; its bytes are put again if they were erased since they were put."""
    values = {"digest": digest, "media_type": media_type, "byte_size": source.stat().st_size}
    session.execute(insert(BlobRow).values(**values).on_conflict_do_nothing())
    if not workspace.blobs.has(digest):
        workspace.blobs.put_file(source)


def let_go(session: Session, digests: Iterable[str]) -> list[str]:
    """Of these blobs those that no row names any more: their rows are deleted, and they are noted.

    The session has to see everybody's rows: the same bytes may be somebody else's too.
    """
    orphans: list[str] = []
    for some in portions(sorted(set(digests))):
        used = union_all(*(select(row.digest).where(row.digest.in_(some)) for row in NAMING))
        orphans += sorted(set(some) - set(session.scalars(used)))
    for some in portions(orphans):
        session.execute(delete(BlobRow).where(BlobRow.digest.in_(some)))
    note(session, Kind.BLOB, orphans)
    return orphans


def note(session: Session, kind: Kind, names: Iterable[str]) -> None:
    """Write down, in the caller's transaction, what ``finish`` is to erase."""
    for some in portions(sorted(set(names))):
        rows = [{"kind": kind, "name": name} for name in some]
        session.execute(insert(ErasureRow).values(rows).on_conflict_do_nothing())


def finish(workspace: Workspace) -> dict[str, str]:
    """Erase all that is noted; what could not be, by its name, with a sentence. That stays noted.

    Harmless in several processes at once, and after one that was killed in the middle.
    """
    workspace = workspace.everyone
    scratch.sweep(workspace.home)
    with workspace.database.read() as session:
        noted: dict[Kind, list[str]] = {}
        for row in session.scalars(select(ErasureRow).order_by(ErasureRow.name)):
            noted.setdefault(Kind(row.kind), []).append(row.name)
    left: dict[str, str] = {}
    for some in portions(noted.get(Kind.BLOB, ()), UNLINKED_AT_ONCE):
        left |= _erase_blobs(workspace, some)
    for kind, words, erase in (
        (Kind.FOLDER, "the working folder", _erase_folder),
        (Kind.UPLOAD, "the upload", _erase_upload),
    ):
        gone = []
        for name in noted.get(kind, ()):
            try:
                erase(workspace.home, name)
                gone.append(name)
            except OSError as failure:
                left[name] = f"{words} {failure.filename or name}: {failure.strerror}"
        _done(workspace, kind, gone)
    # Last, because what was deleted above went through the log as well.
    if Kind.LOG in noted and workspace.database.empty_log():
        _done(workspace, Kind.LOG, [""])
    return left


def finish_later(workspace: Workspace) -> None:
    """``finish`` what another process left, in the background: what goes wrong is logged, and tried again."""
    try:
        left = finish(workspace)
    except (LimnerError, OSError):
        log.exception("What was left to be erased could not be looked at; it is tried again.")
        return
    for sentence in left.values():
        log.warning("not erased yet: %s", sentence)


def _erase_blobs(workspace: Workspace, digests: Sequence[str]) -> dict[str, str]:
    left = {}
    with workspace.database.write() as session:
        # Whoever names one again has done so before this transaction, or finds in theirs that the bytes are gone.
        named = set(session.scalars(select(BlobRow.digest).where(BlobRow.digest.in_(digests))))
        for digest in digests:
            if digest in named:
                continue
            try:
                workspace.blobs.remove(digest)
                thumbnails.forget(workspace, digest)
            except OSError as failure:
                left[digest] = f"the blob {digest[:12]}…: {failure.strerror}"
        gone = [digest for digest in digests if digest not in left]
        session.execute(delete(ErasureRow).where(ErasureRow.kind == Kind.BLOB, ErasureRow.name.in_(gone)))
    return left


def _erase_folder(home: Path, name: str) -> None:
    (home / "logs" / "trainings" / f"{name}.txt").unlink(missing_ok=True)
    folder = home / "runs" / name
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # another process is at it too


def _erase_upload(home: Path, name: str) -> None:
    (home / "uploads" / name).unlink(missing_ok=True)


def _done(workspace: Workspace, kind: Kind, names: Sequence[str]) -> None:
    if not names:
        return
    with workspace.database.write() as session:
        for some in portions(names):
            session.execute(delete(ErasureRow).where(ErasureRow.kind == kind, ErasureRow.name.in_(some)))


def portions(names: Sequence[T], size: int = 0) -> Iterator[Sequence[T]]:
    """The names in runs of that size, by default of as many as one statement takes."""
    size = size or AT_ONCE
    for start in range(0, len(names), size):
        yield names[start : start + size]
