"""Blobs: content-addressed, immutable bytes in an object store (a local folder, S3, GCS, Azure)."""

from __future__ import annotations

import hashlib
import os
import shutil
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
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._store = LocalStore(prefix=str(folder))

    @staticmethod
    def _key(digest: str) -> str:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise NotFound(f"'{digest[:80]}' is not the digest of a blob.", thing="blob")
        return f"{digest[:2]}/{digest[2:]}"

    def put(self, data: bytes) -> str:
        """Store bytes; give their digest."""
        digest = hashlib.sha256(data).hexdigest()
        self._put(digest, data)
        return digest

    def put_file(self, path: Path) -> str:
        """Store a file's bytes, streamed; give their digest."""
        digest = file_digest(path)
        if not self.has(digest):
            self._put(digest, path)
        return digest

    def _put(self, digest: str, content: bytes | Path) -> None:
        try:
            obstore.put(self._store, self._key(digest), content, mode="create")
        except AlreadyExistsError:
            return
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
        """A local file with the blob's bytes; it must not be changed."""
        path = self.folder / self._key(digest)
        if not path.is_file():
            raise NotFound(
                f"The blob {digest[:12]}… is missing from {self.folder}.",
                remedy="Restore it from a copy of the folder, or add the photo or lora again.",
                thing=digest,
            )
        return path

    def read(self, digest: str) -> bytes:
        """The blob's bytes, checked against its digest."""
        data = self.path(digest).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise StorageFailed(
                f"The blob {digest[:12]}… in {self.folder} is damaged: its bytes do not match its digest.",
                remedy="Restore it from a copy of the folder.",
                thing=digest,
            )
        return data

    def export(self, digest: str, destination: Path) -> Path:
        """Copy a blob to a file of the user's, whole or not at all."""
        source = self.path(digest)
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = destination.with_name(f".{destination.name[:200]}.partial")
        try:
            shutil.copyfile(source, partial)
            os.replace(partial, destination)  # noqa: PTH105 - the atomic rename is the point
        except OSError as failure:
            partial.unlink(missing_ok=True)
            raise StorageFailed(
                f"{destination} could not be written: {failure.strerror}.",
                remedy="Free some space or choose another place.",
                thing=str(destination),
            ) from failure
        return destination

    def remove(self, digest: str) -> None:
        """Erase a blob; harmless when it is gone already."""
        (self.folder / self._key(digest)).unlink(missing_ok=True)

    def digests(self) -> list[str]:
        """All stored digests, sorted."""
        return sorted(p.parent.name + p.name for p in self.folder.glob("??/*") if len(p.name) == 62)
