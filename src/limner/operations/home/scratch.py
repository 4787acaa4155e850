"""Scratch folders of work that is no job: gone when it ends, and swept by others if its process was killed.

A lock on a file in it says that somebody works there; it ends with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["scratch", "sweep"]

PREFIXES = ("pick-", "import-")
LOCK = ".lock"
OLD_SECONDS = 3600.0


@contextmanager
def scratch(home: Path, prefix: str) -> Iterator[Path]:
    """A folder in ``runs``, one of ``PREFIXES`` in front of its name, until the block ends."""
    runs = home / "runs"
    runs.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder, handle = _made(runs, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _made(runs: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(dir=runs, prefix=prefix))
        try:
            handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # swept before it could be locked
        fcntl.flock(handle, fcntl.LOCK_EX)
        if (folder / LOCK).exists():
            return folder, handle
        os.close(handle)


def sweep(home: Path) -> None:
    """Delete the folders whose process has died."""
    for prefix in PREFIXES:
        for folder in (home / "runs").glob(f"{prefix}*"):
            try:
                handle = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                # Just made, or left by an earlier release or by a sweep that was killed.
                with suppress(OSError):
                    if folder.stat().st_mtime < time.time() - OLD_SECONDS:
                        shutil.rmtree(folder)
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            except BlockingIOError:
                continue
            finally:
                os.close(handle)
