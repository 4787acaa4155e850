"""The lock that says whether a home's worker lives."""

from __future__ import annotations

from pathlib import Path

from limner.process_lock import is_held, take_lock

__all__ = ["is_at_work", "worker_lives"]


def _lock_path(home: Path) -> Path:
    folder = home / "run"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / "worker.lock"


def _take(home: Path) -> int | None:
    return take_lock(_lock_path(home))


def worker_lives(home: Path) -> bool:
    """Whether a worker of this home is alive; known by a lock, so that a process id used again cannot mislead."""
    return is_held(_lock_path(home))


def is_at_work(home: Path, pid: int) -> bool:
    """Whether this process was the last worker of this home to begin its work; from then on it takes jobs."""
    try:
        return _lock_path(home).read_text(encoding="ascii") == str(pid)
    except (OSError, UnicodeDecodeError):
        return False
