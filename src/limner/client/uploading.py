"""Sending photos by tus: piece by piece, gone on with where the server has them, taken in as one batch."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from limner.client.connection import PAUSES, Connection
from limner.errors import Conflict, InputRefused, VendorFailed

__all__ = ["Progress", "send_file"]

PIECE = 8 * 1024 * 1024
TUS = {"Tus-Resumable": "1.0.0"}
Progress = Callable[[str, int, int], None]
"""Told of each file: its name, the bytes that are there, and how many it has."""


def send_file(
    connection: Connection,
    subject: str,
    batch: str,
    file: str | Path,
    *,
    position: int,
    on_progress: Progress | None = None,
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
    answer = connection.answer("POST", "/uploads", headers=headers)
    upload = str(answer.headers["location"]).rsplit("/", 1)[1]
    at = int(answer.headers["upload-offset"])
    with path.open("rb") as stream:
        failed = 0
        while at < size:
            stream.seek(at)
            piece = stream.read(PIECE)
            sent = {**TUS, "Upload-Offset": str(at), "Content-Type": "application/offset+octet-stream"}
            try:
                answer = connection.answer("PATCH", f"/uploads/{upload}", content=piece, headers=sent)
                at, failed = int(answer.headers["upload-offset"]), 0
            except (VendorFailed, Conflict):
                # The connection broke off, or the last piece is still being written: ask how much is there.
                if failed >= len(PAUSES):
                    raise
                time.sleep(PAUSES[failed])
                failed += 1
                at = _offset(connection, upload)
            if on_progress:
                on_progress(path.name, at, size)
    return upload


def _offset(connection: Connection, upload: str) -> int:
    """How many bytes of a file the server has."""
    answer = connection.answer("HEAD", f"/uploads/{upload}", headers=TUS)
    return int(answer.headers["upload-offset"])
