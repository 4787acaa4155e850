"""A lock on a file that says whether a process lives: it ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

__all__ = ["is_held", "take_lock"]


def take_lock(path: Path, *, create: bool = True) -> int | None:
    """Take the lock, to be held until the handle is closed; None: somebody has it. FileNotFoundError."""
    handle = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0) | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def is_held(path: Path) -> bool:
    """Whether a live process holds the lock; a missing file means that nobody does.

    Asked with a shared lock, held for an instant, so that those who ask do not take each other for a holder.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
