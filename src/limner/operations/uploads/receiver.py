"""The bytes of an upload onto the disk: appended in order by one sender at a time, and hashed on the way.

However they come, the disk keeps the space that the settings leave free: the database lies on it too.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from limner.errors import Conflict, InputRefused, StorageFailed
from limner.records import Upload
from limner.store import file_digest

__all__ = ["DigestDiffers", "Receiver", "Room", "Spool"]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LOOK_AGAIN = 8 << 20
"""After so many bytes the disk is asked again how much is free."""


class DigestDiffers(InputRefused):
    """What arrived is not what its sender announced; it was thrown away and can be sent again from the start."""

    code = "digest-differs"


class Room:
    """The space on the disk of a folder, but for ``reserve`` bytes of it that stay free."""

    def __init__(self, folder: Path, reserve: int) -> None:
        self._folder, self._reserve = folder, reserve
        self._seen = 0

    def left(self) -> int:
        """How many bytes may still be written."""
        return shutil.disk_usage(self._folder).free - self._reserve

    def take(self, byte_size: int) -> None:
        """Before so many bytes are written. StorageFailed: there is no room for them."""
        if byte_size > self._seen:
            left = self.left()
            if byte_size > left:
                raise self.none("the rest of it", byte_size)
            self._seen = min(left, max(byte_size, LOOK_AGAIN))
        self._seen -= byte_size

    def none(self, what: str, byte_size: int) -> StorageFailed:
        """The refusal of what has no room."""
        free = self.left() + self._reserve
        return StorageFailed(
            f"The disk has {free / 1e9:.1f} GB free, of which {self._reserve / 1e9:.1f} GB are kept; "
            f"{what} ({byte_size / 1e9:.2f} GB) has no room.",
            remedy="Free some space, then try again; what has arrived is kept.",
            thing="disk",
        )


class Receiver(AbstractContextManager["Receiver"]):
    """Takes the bytes of one upload in order, in whatever pieces they come."""

    def __init__(
        self,
        file: Path,
        record: Upload,
        offset: int,
        room: Room,
        settle: Callable[[Upload, str], None],
        enter: Callable[[int, str], Upload] | None = None,
    ) -> None:
        self._file, self._record, self._room, self._settle, self._enter = file, record, room, settle, enter
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
        byte_size = sum(map(len, pieces))
        if self._offset + byte_size > self._record.byte_size:
            raise InputRefused(
                f"More than the announced {self._record.byte_size:,} bytes arrived.",
                remedy="Announce the file's true size.",
                thing=self._record.id,
            )
        self._room.take(byte_size)
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
    """A file whose size nobody knows before its end, as a plain form sends it. ``digest`` is its SHA-256 so far.

    ``most`` bytes are taken; of one that has more, ``remedy`` says what to do. ``copies`` of it are made later.
    """

    def __init__(self, file: Path, most: int, room: Room, *, remedy: str, copies: int = 0) -> None:
        self.file, self._most, self._room, self._remedy, self._copies = file, most, room, remedy, copies
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
                remedy=self._remedy,
                thing="upload",
            )
        self._room.take(len(data))
        try:
            self._stream.write(data)
        except OSError as failure:
            raise StorageFailed(
                f"The upload cannot be written: {failure.strerror}.", remedy="Free some space, then try again."
            ) from failure
        self._hash.update(data)

    def close(self) -> None:
        """No more bytes come. StorageFailed: the disk is full, or has no room for the copies."""
        self._room.take(self.size * self._copies)
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
