"""Alone with a purchase: of all tasks and processes of a home, one at a time is about a tag.

One byte of a file stands for a tag, and the lock on it is the system's: it ends with the process, however that ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["alone", "release", "take"]

FIRST_WAIT, LONGEST_WAIT = 0.01, 0.2

_mutex = threading.Lock()
# By process as well: what a forked child inherits in memory it does not hold.
_files: dict[tuple[int, Path], int] = {}
_held: set[tuple[int, Path, str]] = set()


def _offset(tag: str) -> int:
    return int.from_bytes(hashlib.sha256(tag.encode()).digest()[:7], "big")


def _file(home: Path) -> int:
    """The file's handle, open for good: closing any handle of it would end all locks of this process."""
    key = (os.getpid(), home)
    if key not in _files:
        path = home / "run" / "purchases.lock"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _files[key] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return _files[key]


def take(home: Path, tag: str) -> bool:
    """Take a tag if nobody has it."""
    key = (os.getpid(), home, tag)
    with _mutex:
        if key in _held:
            return False
        try:
            fcntl.lockf(_file(home), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(tag))
        except (BlockingIOError, PermissionError):
            return False
        _held.add(key)
        return True


def release(home: Path, tag: str) -> None:
    """Let go of a tag."""
    with _mutex:
        _held.discard((os.getpid(), home, tag))
        fcntl.lockf(_file(home), fcntl.LOCK_UN, 1, _offset(tag))


@asynccontextmanager
async def alone(home: Path, tag: str) -> AsyncIterator[None]:
    """Wait until nobody else is about the tag, and keep others waiting."""
    wait = FIRST_WAIT
    while not take(home, tag):
        await asyncio.sleep(wait)
        wait = min(LONGEST_WAIT, wait * 2)
    try:
        yield
    finally:
        release(home, tag)
