"""Blobs: content-addressed, immutable bytes in an object store; today a local folder.

A blob is on the disk, not only in its cache, before ``put`` gives its digest, because the row that names it is.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from limner.atomic_file import atomic_file, sync_folder
from limner.errors import NotFound, StorageFailed

__all__ = ["Blobs", "file_digest"]

PIECE = 1 << 20
MOST_REMEMBERED = 50_000
"""Blobs that a process remembers to have read and found sound."""
_NAME = re.compile(r"[0-9a-f]{62}")
_REMEDY = "Restore it from a backup of the home folder, or add the photo or lora again."


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Blobs:
    """Bytes by their SHA-256. Writing the same bytes twice is harmless; nothing is ever changed in place."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sound: dict[str, tuple[int, int, int]] = {}
        self.folder = folder

    @staticmethod
    def _key(digest: str) -> str:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise NotFound(f"'{digest[:80]}' is not the digest of a blob.", thing="blob")
        return f"{digest[:2]}/{digest[2:]}"

    def put(self, content: bytes | Path) -> str:
        """Store bytes, or a file's, streamed; give their digest.

        StorageFailed: the disk is full or refuses; nothing half is left.
        """
        digest = file_digest(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
        self._put(digest, content)
        return digest

    def link(self, path: Path) -> str:
        """``put`` a file of ours that nobody writes to any more: it gets a second name, and no byte is copied."""
        digest = file_digest(path)
        place = self.folder / self._key(digest)
        try:
            path.chmod(0o600)
            place.parent.mkdir(exist_ok=True)
            _sync(path)
            os.link(path, place)
            _sync(place.parent, self.folder)
        except OSError:
            # There already, a disk without second names, or another disk: then as any file.
            self._put(digest, path)
        return digest

    def _put(self, digest: str, content: bytes | Path) -> None:
        # Loaded by who stores something: most commands only read.
        import obstore
        from obstore.exceptions import AlreadyExistsError
        from obstore.store import LocalStore

        key, store = self._key(digest), LocalStore(prefix=str(self.folder))
        try:
            try:
                obstore.put(store, key, content, mode="create")
            except AlreadyExistsError:
                if file_digest(self.folder / key) == digest:
                    return
                # Damaged on the disk since; these are the right bytes.
                obstore.put(store, key, content, mode="overwrite")
            _sync(self.folder / key, (self.folder / key).parent, self.folder)
        except OSError as failure:
            raise StorageFailed(
                f"A blob could not be stored in {self.folder}: {failure.strerror or failure}.",
                remedy="Free some space or check the folder's permissions, then try again.",
                thing=digest,
            ) from failure
        except obstore.exceptions.BaseError as failure:
            raise StorageFailed(
                f"A blob could not be stored in {self.folder}: {str(failure).splitlines()[0][:300]}.",
                remedy="Free some space or check the folder's permissions, then try again.",
                thing=digest,
            ) from failure

    def has(self, digest: str) -> bool:
        """Whether the bytes of this digest are stored."""
        return (self.folder / self._key(digest)).is_file()

    def place(self, digest: str) -> Path:
        """Where a blob's bytes are, for who only names or counts it. NotFound: it is missing. Nothing is read."""
        path = self.folder / self._key(digest)
        if not path.is_file():
            raise NotFound(f"The blob {digest[:12]}… is missing from {self.folder}.", remedy=_REMEDY, thing=digest)
        return path

    def path(self, digest: str) -> Path:
        """A file with the blob's bytes, checked against its digest; it must not be changed.

        A file that has not changed since this process last read all of it is not read again. NotFound: it is missing.
        StorageFailed: it is damaged.
        """
        path = self.place(digest)
        stamp = _stamp(path)
        if self._sound.get(digest) != stamp:
            if file_digest(path) != digest:
                raise self._damaged(digest)
            if len(self._sound) >= MOST_REMEMBERED:
                self._sound.clear()
            self._sound[digest] = stamp
        return path

    def read(self, digest: str) -> bytes:
        """The blob's bytes, checked against its digest. NotFound: it is missing. StorageFailed: it is damaged."""
        data = self.place(digest).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise self._damaged(digest)
        return data

    def _damaged(self, digest: str) -> StorageFailed:
        return StorageFailed(
            f"The blob {digest[:12]}… in {self.folder} is damaged: its bytes do not match its digest.",
            remedy=f"{_REMEDY} `limner verify` says what else is damaged.",
            thing=digest,
        )

    def export(self, digest: str, destination: Path) -> Path:
        """Copy a blob to a file of the user's, whole and sound or not at all. NotFound: it is missing.

        StorageFailed: it is damaged, or cannot be written there.
        """
        source = self.place(digest)
        copied = hashlib.sha256()
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as reading, atomic_file(destination, durable=False) as writing:
                while piece := reading.read(PIECE):
                    copied.update(piece)
                    writing.write(piece)
                if copied.hexdigest() != digest:
                    raise self._damaged(digest)
        except OSError as failure:
            raise StorageFailed(
                f"{destination} could not be written: {failure.strerror}.",
                remedy="Free some space or choose another place.",
                thing=str(destination),
            ) from failure
        return destination

    def remove(self, digest: str) -> None:
        """Erase a blob, and what a crash while storing it left; harmless when it is gone already."""
        path = self.folder / self._key(digest)
        # The object store writes to NAME#1 first, which a killed process leaves behind.
        for partial in path.parent.glob(f"{path.name}#*"):
            partial.unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def digests(self) -> list[str]:
        """All stored digests, sorted."""
        return [path.parent.name + path.name for path in self.files()]

    def files(self) -> Iterator[Path]:
        """The files of all blobs, in the order of their digests, a folder at a time."""
        for folder in sorted(self.folder.glob("??")):
            yield from (path for path in sorted(folder.glob("*")) if _NAME.fullmatch(path.name))

    def leftovers(self) -> Iterator[Path]:
        """Files here that are no blobs, as a process leaves that was killed while it stored one."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and not _NAME.fullmatch(path.name):
                yield path


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _sync(*places: Path) -> None:
    """Bring files, and the names in folders, from the system's cache onto the disk."""
    for place in places:
        sync_folder(place)
