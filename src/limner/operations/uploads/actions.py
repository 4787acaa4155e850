"""Files on their way in: received piece by piece, resumed where they stopped, taken in as one batch.

The bytes lie in the home's folder ``uploads`` under the upload's id, and the length of that file is the offset: no row
can say more than was written, whatever breaks. A batch becomes one intake; its files are linked for it, not copied.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from sqlalchemy import and_, case, delete, func, select, update
from sqlalchemy.orm import Session

from limner.errors import Conflict, InputRefused, NotFound
from limner.operations.home.facet import Facet
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.operations.jobs import queries as job_queries
from limner.operations.subjects import queries as subject_queries
from limner.operations.uploads.receiver import DigestDiffers, Receiver, Room, Spool
from limner.operations.uploads.request import IntakeRequest
from limner.operations.uploads.safe_layout import Drop, lay_out, shown_name
from limner.records import Job, Upload, UploadBatch
from limner.store.models import JobRow, PhotoRow, now
from limner.store.web_models import UploadRow

__all__ = ["Uploads", "finish", "forget", "prepare"]

ID = re.compile(r"upload_[0-9a-f]{16}")
BATCH = re.compile(r"batch_[0-9a-f]{16,32}")
DIGEST = re.compile(r"[0-9a-f]{64}")


class Uploads(Facet):
    """Files on their way into a subject's photos, for those who cannot name a path on this machine."""

    def open(self, slug: str) -> UploadBatch:
        """A new, empty batch for a subject; what was left too long by others is deleted on the way."""
        with self._workspace.database.read() as session:
            subject_queries.find_subject_row(session, slug)
        self.sweep()
        # The worker is awake by the time the files are here.
        self._workspace.ensure_worker()
        return UploadBatch(f"batch_{uuid4().hex[:16]}", slug)

    def add(
        self, slug: str, batch: str, name: str, byte_size: int, *, digest: str = "", position: int | None = None
    ) -> Upload:
        """Announce a file of a batch. InputRefused: it is too large, or one too many. StorageFailed: no room for it.

        ``name`` may be a path below a dropped folder; it is kept as text. ``digest`` is its SHA-256, if known. The same
        file at the same ``position`` again is the same upload. Conflict: the batch was taken in already.
        """
        row = self._announced(slug, batch, name, byte_size, digest)
        with self._workspace.database.write() as session:
            entered = self._entered(session, row, position)
            if entered is row:
                self._refuse_without_room(row)
            return self._record(entered)

    def arrive(
        self, slug: str, batch: str, name: str, byte_size: int, *, digest: str = "", position: int | None = None
    ) -> Receiver | Upload:
        """``add`` and ``receive`` in one, for a file that comes with its announcement; what broke off is kept too.

        If some of it is here already, the upload that it is; nothing is to be received then.
        """
        row = self._announced(slug, batch, name, byte_size, digest)
        with self._workspace.database.read() as session:
            found, _ = self._there(session, row, position)
            if found is not None:
                return self._record(found)
        self._refuse_without_room(row)
        enter = self._enter_arrived(row, position)
        return Receiver(self._file(row.id), self._record(row), 0, self._room(), self._settle, enter)

    def _enter_arrived(self, row: UploadRow, position: int | None) -> Callable[[int, str], Upload]:
        def enter(received: int, digest: str) -> Upload:
            if digest:
                row.received, row.digest = received, digest
            with self._workspace.database.write() as session:
                entered = self._entered(session, row, position)
                record = self._record(entered)
            if entered is not row:
                # Its first try broke off and was entered while this one was on its way: that one is gone on with.
                self._file(row.id).unlink(missing_ok=True)
            return record

        return enter

    def _announced(self, slug: str, batch: str, name: str, byte_size: int, digest: str) -> UploadRow:
        """A row for a file as announced, if it may come at all; not in the database yet."""
        settings = self._workspace.settings
        if not BATCH.fullmatch(batch):
            raise InputRefused("That is not the id of a batch.", remedy="Open a batch first.", thing="batch")
        if digest and not DIGEST.fullmatch(digest):
            raise InputRefused(
                "The digest is no SHA-256.", remedy="Send 64 hexadecimal digits in lower case, or none.", thing="sha256"
            )
        if byte_size < 0 or byte_size > settings.max_upload_bytes:
            raise InputRefused(
                f"{shown_name(name)[:120]} has {byte_size:,} bytes; at most {settings.max_upload_bytes:,} are taken.",
                remedy="Send a smaller file, or raise LIMNER_MAX_UPLOAD_BYTES.",
                thing=shown_name(name)[:120],
            )
        return UploadRow(
            id=f"upload_{uuid4().hex[:16]}",
            owner=self._workspace.owner,
            subject=slug,
            batch=batch,
            position=0,
            name=shown_name(name),
            byte_size=byte_size,
            received=0,
            digest=digest,
            created_at=now(),
            expires_at=now() + timedelta(hours=settings.upload_hours),
        )

    def _entered(self, session: Session, row: UploadRow, position: int | None) -> UploadRow:
        """The row in the session, or the one that is there for the same file at the same position."""
        found, count = self._there(session, row, position)
        if found is not None:
            return found
        row.position = count if position is None else position
        session.add(row)
        return row

    def _there(self, session: Session, row: UploadRow, position: int | None) -> tuple[UploadRow | None, int]:
        """The same file at the same position, if it is there, and how many files the batch has.

        Conflict: the batch is another subject's, or was taken in. InputRefused: it is full.
        """
        same = and_(
            UploadRow.name == row.name,
            UploadRow.subject == row.subject,
            UploadRow.position == position,
            UploadRow.byte_size == row.byte_size,
        )
        about = func.count(), func.max(UploadRow.subject), func.max(UploadRow.job), func.max(case((same, UploadRow.id)))
        count, subject, job, found = session.execute(select(*about).where(UploadRow.batch == row.batch)).one()
        if found is not None:
            return session.get_one(UploadRow, found), int(count)
        if not count:
            # Otherwise there are files of the subject, which would have gone with it.
            subject_queries.find_subject_row(session, row.subject)
        elif subject != row.subject:
            raise Conflict("The batch is another subject's.", remedy="Open a batch of its own.", thing=row.batch)
        if job:
            raise Conflict(
                "The batch was taken in already.", remedy="Open a new batch for more files.", thing=row.batch
            )
        if count >= self._workspace.settings.max_upload_files:
            raise InputRefused(
                f"A batch has at most {self._workspace.settings.max_upload_files:,} files.",
                remedy="Take this one in, then send the rest; or raise LIMNER_MAX_UPLOAD_FILES.",
                thing=row.batch,
            )
        return None, int(count)

    def _room(self) -> Room:
        return Room(self._workspace.home, self._workspace.settings.disk_reserve)

    def _refuse_without_room(self, row: UploadRow) -> None:
        """StorageFailed: with what others have announced and not sent yet, the file has no room on the disk."""
        room = self._room()
        left = room.left() - row.byte_size
        open_files = select(UploadRow).where(UploadRow.job == "", UploadRow.received < UploadRow.byte_size)
        with self._workspace.everyone.database.read() as session:
            others = session.scalars(open_files).all()
            # Most disks have room for all of it, so that the files need not be looked at.
            if left < sum(one.byte_size for one in others):
                left -= sum(one.byte_size - self._received(one) for one in others)
        if left < 0:
            raise room.none(row.name[:120], row.byte_size)

    def get(self, upload: str) -> Upload:
        """One upload. NotFound: there is none, or it has expired."""
        with self._workspace.database.read() as session:
            return self._record(self._row(session, upload))

    def batch(self, batch: str) -> UploadBatch:
        """A batch and its files. NotFound: it has none."""
        with self._workspace.database.read() as session:
            rows = self._rows(session, batch)
            return UploadBatch(batch, rows[0].subject, tuple(map(self._record, rows)), rows[0].job)

    def pending(self, slug: str) -> list[UploadBatch]:
        """The subject's batches that were not taken in yet, oldest first."""
        with self._workspace.database.read() as session:
            subject_queries.find_subject_row(session, slug)
            query = select(UploadRow).where(UploadRow.subject == slug, UploadRow.job == "")
            found: dict[str, list[Upload]] = {}
            for row in session.scalars(query.order_by(UploadRow.created_at, UploadRow.position)):
                found.setdefault(row.batch, []).append(self._record(row))
        return [UploadBatch(batch, slug, tuple(files)) for batch, files in found.items()]

    def known(self, slug: str, digests: Sequence[str]) -> dict[str, str]:
        """Of these SHA-256 of files, those that are photos of the subject already, with the photos' digests."""
        asked = set(digests)
        source = PhotoRow.report["source_digest"].as_string()
        with self._workspace.database.read() as session:
            subject_queries.find_subject_row(session, slug)
            rows = session.execute(select(source, PhotoRow.digest).where(PhotoRow.subject == slug)).all()
        return {said: photo for said, photo in rows if said and said in asked}

    def receive(self, upload: str, offset: int) -> Receiver:
        """Take bytes from ``offset`` on: a context manager with ``write``. One at a time.

        Conflict: somebody else sends it now, the offset is not the length of what is here, or it was taken in.
        """
        record = self.get(upload)
        if record.job:
            raise Conflict("The upload was taken in already.", remedy="Nothing is left to send.", thing=upload)
        return Receiver(self._file(record.id), record, offset, self._room(), self._settle)

    def spool(self) -> Spool:
        """A place for a file whose size is not known yet; ``keep`` makes it an upload."""
        file = self._file(f"spool_{uuid4().hex[:16]}")
        remedy = "Send a smaller file, or raise LIMNER_MAX_UPLOAD_BYTES."
        return Spool(file, self._workspace.settings.max_upload_bytes, self._room(), remedy=remedy)

    def spool_lora(self) -> Spool:
        """A place for the file of a LoRA, to be imported from there and then discarded."""
        from limner.loras.file.header import LARGEST_FILE

        file = self._file(f"lora_{uuid4().hex[:16]}.safetensors")
        # Importing may convert it, and keeps a copy.
        return Spool(file, LARGEST_FILE, self._room(), remedy="Is it a LoRA? None is so large.", copies=2)

    def keep(self, slug: str, batch: str, name: str, spool: Spool) -> Upload:
        """Make what was spooled a whole upload of a batch; the bytes are not copied. Errors as ``add``."""
        spool.close()
        row = self._announced(slug, batch, name, spool.size, "")
        with self._workspace.database.write() as session:
            upload = self._record(self._entered(session, row, None))
        spool.file.replace(self._file(upload.id))
        self._settle(upload, spool.digest)
        return self.get(upload.id)

    def _settle(self, record: Upload, digest: str) -> None:
        """Keep the digest of a file that is whole. DigestDiffers: another one was announced."""
        if record.digest and record.digest != digest:
            with self._file(record.id).open("r+b") as stream:
                stream.truncate(0)
            raise DigestDiffers(
                f"{record.name[:120]} arrived with other bytes than announced.",
                remedy="Send it again from the start.",
                thing=record.id,
            )
        with self._workspace.database.write() as session:
            values = {"received": record.byte_size, "digest": digest}
            session.execute(update(UploadRow).where(UploadRow.id == record.id).values(**values))

    def remove(self, upload: str) -> None:
        """Give an upload up, bytes and all. Conflict: it was taken in."""
        with self._workspace.database.write() as session:
            row = self._row(session, upload)
            if row.job:
                raise Conflict("The upload was taken in already.", remedy="Remove the photo instead.", thing=upload)
            session.delete(row)
        self._file(upload).unlink(missing_ok=True)

    def remove_batch(self, batch: str) -> None:
        """Give all of a batch up. Conflict: it was taken in."""
        with self._workspace.database.write() as session:
            rows = self._rows(session, batch)
            if rows[0].job:
                raise Conflict("The batch was taken in already.", remedy="Remove the photos instead.", thing=batch)
            session.execute(delete(UploadRow).where(UploadRow.id.in_([row.id for row in rows])))
        for row in rows:
            self._file(row.id).unlink(missing_ok=True)

    def commit(
        self, batch: str, count: int, *, replace_captions: bool = False, captions_from_photos: bool = False
    ) -> Job:
        """Take a batch in; the same batch again gives the same job. Captions go as in ``Studio.add_photos``.

        Conflict: the batch has not exactly ``count`` files, or not all of them are whole; nothing is taken then.
        """
        submitter = self._workspace.submitter
        with self._workspace.database.write() as session:
            rows = self._rows(session, batch)
            if rows[0].job:
                return job_queries.to_job(session.get_one(JobRow, rows[0].job))
            if len(rows) != count:
                raise Conflict(
                    f"{len(rows)} of {count} files have arrived.", remedy="Send what is missing.", thing=batch
                )
            missing = [row for row in rows if self._received(row) != row.byte_size]
            if missing:
                raise Conflict(
                    f"{len(missing)} of {count} files have not arrived whole, such as {missing[0].name[:120]}.",
                    remedy="Go on sending them, or leave them out.",
                    thing=batch,
                )
            slug = rows[0].subject
            request = IntakeRequest(
                subject=slug,
                batch=batch,
                replace_captions=replace_captions,
                captions_from_photos=captions_from_photos,
            )
            job = lifecycle.add_job(session, kind="intake", stages=[request], subject=slug)
            for row in rows:
                row.job = job.id
            submitter.submit(session, job.id, 1)
            made = job_queries.to_job(job)
        return self._started(made)

    def sweep(self) -> int:
        """Delete what has expired, and files that no upload names; how many uploads went."""
        database = self._workspace.database
        running = select(JobRow.id).where(JobRow.ended_at.is_(None))
        over = (UploadRow.expires_at < now(), UploadRow.job.not_in(running))
        with database.read() as session:
            expired = list(session.scalars(select(UploadRow.id).where(*over)))
        if expired:
            with database.write() as session:
                session.execute(delete(UploadRow).where(UploadRow.id.in_(expired)))
        forget(self._workspace, expired)
        folder = self._workspace.home / "uploads"
        # Only who sees everybody's rows can tell that a file has none.
        if self._workspace.owner is None and folder.is_dir():
            with database.read() as session:
                named = set(session.scalars(select(UploadRow.id)))
            # A young file may be one whose row was not there yet.
            young = now().timestamp() - 3600
            with os.scandir(folder) as entries:
                strays = [one.name for one in entries if one.name not in named and one.stat().st_mtime < young]
            forget(self._workspace, strays)
        return len(expired)

    def _row(self, session: Session, upload: str) -> UploadRow:
        row = session.get(UploadRow, upload) if ID.fullmatch(upload) else None
        if row is None:
            raise NotFound("There is no such upload.", remedy="Send the file anew.", thing=shown_name(upload)[:80])
        return row

    def _rows(self, session: Session, batch: str) -> list[UploadRow]:
        query = select(UploadRow).where(UploadRow.batch == batch).order_by(UploadRow.position, UploadRow.id)
        rows = list(session.scalars(query)) if BATCH.fullmatch(batch) else []
        if not rows:
            raise NotFound("There is no such batch.", remedy="Open a new one.", thing=shown_name(batch)[:80])
        return rows

    def _file(self, upload: str) -> Path:
        return self._workspace.home / "uploads" / upload

    def _received(self, row: UploadRow) -> int:
        if row.job:
            return row.byte_size
        try:
            return self._file(row.id).stat().st_size
        except FileNotFoundError:
            return 0

    def _record(self, row: UploadRow) -> Upload:
        return Upload(
            id=row.id,
            subject=row.subject,
            batch=row.batch,
            position=row.position,
            name=row.name,
            byte_size=row.byte_size,
            received=self._received(row),
            digest=row.digest,
            job=row.job or "",
            created_at=row.created_at,
            expires_at=row.expires_at,
        )


def prepare(workspace: Workspace, slug: str, batch: str, folder: Path) -> Drop:
    """The files of a subject's batch, linked into ``folder`` for the intake. NotFound: they are gone."""
    uploads = Uploads(workspace).batch(batch).uploads
    # Who knows the id of somebody else's batch still brings nothing into it.
    files = [(upload, workspace.home / "uploads" / upload.id) for upload in uploads if upload.subject == slug]
    for upload, file in files:
        if not upload.byte_size:
            # An empty file has no bytes that would have made it; it is to be in the report too.
            file.parent.mkdir(mode=0o700, exist_ok=True)
            file.touch(0o600)
    there = [(upload, file) for upload, file in files if file.is_file()]
    if not there:
        raise NotFound("The files of this intake are gone.", remedy="Send them again.", thing=batch)
    return lay_out(there, folder)


def finish(workspace: Workspace, slug: str, batch: str) -> None:
    """Delete the files of a batch that was taken in; its rows stay a while, so that it keeps its job."""
    with workspace.database.read() as session:
        rows = select(UploadRow.id).where(UploadRow.batch == batch, UploadRow.subject == slug)
        taken = list(session.scalars(rows))
    forget(workspace, taken)
    Uploads(workspace).sweep()


def forget(workspace: Workspace, uploads: Sequence[str]) -> list[str]:
    """Delete the bytes of uploads; say which could not be."""
    left = []
    for upload in uploads:
        try:
            (workspace.home / "uploads" / upload).unlink(missing_ok=True)
        except OSError as failure:
            left.append(f"the upload {upload}: {failure.strerror}")
    return left
