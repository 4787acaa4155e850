"""Sending photos by tus: piece by piece, gone on with where the server has them, taken in as one batch."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from limner.client.connection import PAUSES, Connection
from limner.errors import Conflict, InputRefused, VendorFailed
from limner.web.api.schemas.jobs import Job
from limner.web.api.schemas.uploads import Upload, UploadBatch

__all__ = ["Uploads"]

Made = TypeVar("Made")

PIECE = 8 * 1024 * 1024
TUS = {"Tus-Resumable": "1.0.0"}
Progress = Callable[[str, int, int], None]
"""Told of each file: its name, the bytes that are there, and how many it has."""


class Uploads:
    """``client.uploads``: files on their way into a subject's photos."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, subject: str) -> UploadBatch:
        """A new, empty batch."""
        return self._connection.post(UploadBatch, "/uploads/batches", {"subject": subject})

    def batches(self, subject: str) -> list[UploadBatch]:
        """The batches of a subject that were not taken in yet."""
        return self._connection.value(list[UploadBatch], "/uploads", subject=subject)

    def batch(self, batch: str) -> UploadBatch:
        """A batch and its files."""
        return self._connection.get(UploadBatch, f"/uploads/batches/{batch}")

    def upload(self, upload: str) -> Upload:
        """One file on its way in."""
        return self._connection.get(Upload, f"/uploads/{upload}")

    def known(self, subject: str, digests: Sequence[str]) -> dict[str, str]:
        """Which files, by the SHA-256 of their bytes, are photos of the subject already."""
        answer = self._connection.answer("POST", "/uploads/known", body={"subject": subject, "digests": list(digests)})
        found: dict[str, str] = answer.json()
        return found

    def send(
        self, subject: str, batch: str, file: str | Path, *, position: int, on_progress: Progress | None = None
    ) -> str:
        """Send one file, from where the server has it on; its id. The same again goes on with the same upload."""
        path = Path(file)
        try:
            size = path.stat().st_size
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as failure:
            raise InputRefused(f"{path} cannot be read: {failure.strerror}.", thing=str(path)) from failure
        told = {
            "name": path.name, "subject": subject, "batch": batch, "position": str(position), "sha256": digest,
        }  # fmt: skip
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items())
        headers = {**TUS, "Upload-Length": str(size), "Upload-Metadata": metadata}
        answer = self._patiently(lambda: self._connection.answer("POST", "/uploads", headers=headers))
        upload = str(answer.headers["location"]).rsplit("/", 1)[1]
        at = int(answer.headers["upload-offset"])
        with path.open("rb") as stream:
            failed = 0
            while at < size:
                stream.seek(at)
                piece = stream.read(PIECE)
                sent = {**TUS, "Upload-Offset": str(at), "Content-Type": "application/offset+octet-stream"}
                try:
                    answer = self._connection.answer("PATCH", f"/uploads/{upload}", content=piece, headers=sent)
                    at, failed = int(answer.headers["upload-offset"]), 0
                except (VendorFailed, Conflict):
                    # The connection broke off, or the last piece is still being written: ask how much is there.
                    if failed >= len(PAUSES):
                        raise
                    time.sleep(PAUSES[failed])
                    failed += 1
                    at = self.offset(upload)
                if on_progress:
                    on_progress(path.name, at, size)
        return upload

    def offset(self, upload: str) -> int:
        """How many bytes of a file the server has."""
        answer = self._connection.answer("HEAD", f"/uploads/{upload}", headers=TUS)
        return int(answer.headers["upload-offset"])

    def commit(
        self, batch: str, count: int, *, replace_captions: bool = False, captions_from_photos: bool = False
    ) -> Job:
        """Take a batch in, if all its files have arrived; the same again gives the same job."""
        said = {"replace_captions": replace_captions, "captions_from_photos": captions_from_photos}
        return self._connection.post(Job, f"/uploads/batches/{batch}/commit", {"count": count, **said})

    def remove(self, upload: str) -> None:
        """Give a file up."""
        self._connection.answer("DELETE", f"/uploads/{upload}", headers=TUS)

    def remove_batch(self, batch: str) -> None:
        """Give a batch up."""
        self._connection.answer("DELETE", f"/uploads/batches/{batch}")

    def add_photos(
        self,
        subject: str,
        files: Sequence[str | Path],
        *,
        batch: str = "",
        on_progress: Progress | None = None,
        replace_captions: bool = False,
        captions_from_photos: bool = False,
    ) -> Job:
        """Send files and take them in; name the ``batch`` to go on with one that broke off."""
        if not files:
            raise InputRefused("No file was named.", remedy="Name at least one photo.", thing="files")
        name = batch or self.open(subject).id
        for position, file in enumerate(files):
            self.send(subject, name, file, position=position, on_progress=on_progress)
        return self.commit(
            name, len(files), replace_captions=replace_captions, captions_from_photos=captions_from_photos
        )

    def _patiently(self, do: Callable[[], Made]) -> Made:
        """Announcing a file twice gives the same upload, so it may be tried again."""
        for pause in PAUSES:
            try:
                return do()
            except VendorFailed:
                time.sleep(pause)
        return do()
