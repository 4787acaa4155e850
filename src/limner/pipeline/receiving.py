"""The bytes of an upload onto the disk: appended in order by one sender at a time, and hashed on the way."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from limner.errors import Conflict, InputRefused, StorageFailed
from limner.records import Upload
from limner.store import file_digest

__all__ = ["DigestDiffers", "Receiver", "Spool"]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DigestDiffers(InputRefused):
    """What arrived is not what its sender announced; it was thrown away and can be sent again from the start."""

    code = "digest-differs"


class Receiver(AbstractContextManager["Receiver"]):
    """Takes the bytes of one upload in order, in whatever pieces they come."""

    def __init__(
        self,
        file: Path,
        record: Upload,
        offset: int,
        settle: Callable[[Upload, str], None],
        enter: Callable[[int, str], Upload] | None = None,
    ) -> None:
        self._file, self._record, self._settle, self._enter = file, record, settle, enter
        self._stream: io.FileIO | None = None
        self._offset = offset
        # Of a file that comes in one go the digest is made on the way; else it is read once more at the end.
        self._hash = None if offset else hashlib.sha256()

    @property
    def record(self) -> Upload:
        """The upload as it was before; after the end, the one that the bytes are counted to."""
        return self._record

    @property
    def offset(self) -> int:
        """How many bytes of the upload are here."""
        return self._offset

    def __enter__(self) -> Receiver:
        self._file.parent.mkdir(mode=0o700, exist_ok=True)
        stream = open(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0)  # noqa: PTH123
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            here = stream.seek(0, os.SEEK_END)
            if here != self._offset:
                raise Conflict(
                    f"{here:,} bytes of the upload are here, not {self._offset:,}.",
                    remedy="Ask for its offset and go on from there.",
                    thing=self._record.id,
                )
        except BlockingIOError:
            stream.close()
            raise Conflict(
                "The upload is being sent from elsewhere now.", remedy="Wait for it, then go on.", thing=self._record.id
            ) from None
        except BaseException:
            stream.close()
            raise
        self._stream = stream
        return self

    def write(self, *pieces: bytes | bytearray) -> int:
        """Append bytes; give the new offset. InputRefused: more than was announced. StorageFailed: the disk is full."""
        assert self._stream is not None  # noqa: S101
        if self._offset + sum(map(len, pieces)) > self._record.byte_size:
            raise InputRefused(
                f"More than the announced {self._record.byte_size:,} bytes arrived.",
                remedy="Announce the file's true size.",
                thing=self._record.id,
            )
        try:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    written = self._stream.write(rest) or 0
                    if self._hash is not None:
                        self._hash.update(rest[:written])
                    self._offset += written
                    rest = rest[written:]
        except OSError as failure:
            what = "The disk is full" if failure.errno in DISK_FULL else f"The disk refuses: {failure.strerror}"
            raise StorageFailed(
                f"{what}; {self._offset:,} of {self._record.byte_size:,} bytes of {self._record.name[:120]} are kept.",
                remedy="Free some space, then go on with the upload.",
                thing=self._record.id,
            ) from failure
        return self._offset

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        try:
            whole = self._offset == self._record.byte_size and kind is None
            digest = self._hash.hexdigest() if whole and self._hash else ""
            if self._enter is not None:
                # Nobody knows of it before: one transaction for all that there is to say.
                right = not self._record.digest or self._record.digest == digest
                entered = self._enter(self._offset, digest if whole and right else "")
                if entered.id != self._record.id:
                    self._record, self._offset = entered, entered.received
                elif whole and not right:
                    self._settle(self._record, digest)
            elif whole:
                self._settle(self._record, self._hash.hexdigest() if self._hash else file_digest(self._file))
        finally:
            stream.close()


class Spool:
    """A file whose size nobody knows before its end, as a plain form sends it. ``digest`` is its SHA-256 so far."""

    def __init__(self, file: Path, most: int) -> None:
        self.file, self._most = file, most
        self.size = 0
        self._hash = hashlib.sha256()
        file.parent.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._stream = os.fdopen(handle, "wb")

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append bytes. InputRefused: it is larger than any upload may be. StorageFailed: the disk is full."""
        self.size += len(data)
        if self.size > self._most:
            raise InputRefused(
                f"A file has more than {self._most:,} bytes.",
                remedy="Send a smaller file, or raise LIMNER_MAX_UPLOAD_BYTES.",
                thing="upload",
            )
        try:
            self._stream.write(data)
        except OSError as failure:
            raise StorageFailed(
                f"The upload cannot be written: {failure.strerror}.", remedy="Free some space, then try again."
            ) from failure
        self._hash.update(data)

    def close(self) -> None:
        """No more bytes come. StorageFailed: the disk is full."""
        try:
            self._stream.close()
        except OSError as failure:
            raise StorageFailed(
                f"The upload cannot be written: {failure.strerror}.", remedy="Free some space, then try again."
            ) from failure

    def discard(self) -> None:
        """Throw it away, unless it was kept."""
        self._stream.close()
        self.file.unlink(missing_ok=True)
