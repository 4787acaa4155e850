"""Blobs: content-addressed, immutable bytes in an object store; today a local folder.

A blob is on the disk, not only in its cache, before ``put`` gives its digest, because the row that names it is.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore

from limner.errors import NotFound, StorageFailed

__all__ = ["Blobs", "file_digest"]

CHUNK = 1 << 20


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Blobs:
    """Bytes by their SHA-256. Writing the same bytes twice is harmless; nothing is ever changed in place."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._store = LocalStore(prefix=str(folder))

    @staticmethod
    def _key(digest: str) -> str:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise NotFound(f"'{digest[:80]}' is not the digest of a blob.", thing="blob")
        return f"{digest[:2]}/{digest[2:]}"

    def put(self, data: bytes) -> str:
        """Store bytes; give their digest. StorageFailed: the disk is full or refuses; nothing half is left."""
        digest = hashlib.sha256(data).hexdigest()
        self._put(digest, data)
        return digest

    def put_file(self, path: Path) -> str:
        """Store a file's bytes, streamed; give their digest. Errors as ``put``."""
        digest = file_digest(path)
        self._put(digest, path)
        return digest

    def _put(self, digest: str, content: bytes | Path) -> None:
        key = self._key(digest)
        try:
            try:
                obstore.put(self._store, key, content, mode="create")
            except AlreadyExistsError:
                if file_digest(self.folder / key) == digest:
                    return
                # Damaged on the disk since; these are the right bytes.
                obstore.put(self._store, key, content, mode="overwrite")
            _sync(self.folder / key)
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

    def path(self, digest: str) -> Path:
        """A local file with the blob's bytes; it must not be changed. NotFound: it is missing."""
        path = self.folder / self._key(digest)
        if not path.is_file():
            raise NotFound(
                f"The blob {digest[:12]}… is missing from {self.folder}.",
                remedy="Restore it from a copy of the folder, or add the photo or lora again.",
                thing=digest,
            )
        return path

    def read(self, digest: str) -> bytes:
        """The blob's bytes, checked against its digest. NotFound: it is missing. StorageFailed: it is damaged."""
        data = self.path(digest).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise StorageFailed(
                f"The blob {digest[:12]}… in {self.folder} is damaged: its bytes do not match its digest.",
                remedy="Restore it from a copy of the folder, or add the photo or lora again.",
                thing=digest,
            )
        return data

    def export(self, digest: str, destination: Path) -> Path:
        """Copy a blob to a file of the user's, whole or not at all. StorageFailed: it cannot be written there."""
        source = self.path(digest)
        partial = destination.with_name(f".{secrets.token_hex(6)}.partial")
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, partial)
            partial.replace(destination)
        except OSError as failure:
            raise StorageFailed(
                f"{destination} could not be written: {failure.strerror}.",
                remedy="Free some space or choose another place.",
                thing=str(destination),
            ) from failure
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
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
        return sorted(p.parent.name + p.name for p in self.folder.glob("??/*") if len(p.name) == 62)


def _sync(path: Path) -> None:
    """Bring a file, its name and its folder's name from the system's cache onto the disk."""
    for place in (path, path.parent, path.parent.parent):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
