"""Files that after a crash or a full disk are there whole, as they were before, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_file", "sync_folder", "write_atomically"]


@contextmanager
def atomic_file(path: Path, *, mode: int = 0o644, durable: bool = True, first: bool = False) -> Iterator[BinaryIO]:
    """A file to write that appears under its name when all of it is there; a failure leaves what was there before.

    ``first``: whoever was first stays, of two processes that make the same. Not ``durable``: a crash of the whole
    machine may lose it, which is quicker. OSError.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".partial")
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            if durable:
                os.fsync(file.fileno())
        if first:
            # A link, unlike a rename, fails where another process was first.
            with suppress(FileExistsError):
                path.hardlink_to(partial)
        else:
            partial.replace(path)
        if durable:
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True, first: bool = False) -> None:
    """Write a file as ``atomic_file`` does."""
    with atomic_file(path, mode=mode, durable=durable, first=first) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
