"""The lock that says whether a home's worker lives."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

__all__ = ["is_at_work", "worker_lives"]


def _lock_path(home: Path) -> Path:
    folder = home / "run"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / "worker.lock"


def _take(home: Path) -> int | None:
    handle = os.open(_lock_path(home), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def worker_lives(home: Path) -> bool:
    """Whether a worker of this home is alive; known by a lock, so that a process id used again cannot mislead."""
    handle = os.open(_lock_path(home), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def is_at_work(home: Path, pid: int) -> bool:
    """Whether this process was the last worker of this home to begin its work; from then on it takes jobs."""
    try:
        return _lock_path(home).read_text(encoding="ascii") == str(pid)
    except (OSError, UnicodeDecodeError):
        return False
