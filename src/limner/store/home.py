"""The home folder: made, or closed if others can look into it; everything in it is its owner's alone."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

__all__ = ["close_home", "open_to_others"]

log = logging.getLogger(__name__)

OURS = frozenset(
    {"blobs", "hub", "runs", "run", "logs", "uploads", "cache", "credentials", "limner.toml", "prices.toml", ".env"}
)
"""What Limner keeps in its home, with whatever begins with ``DATABASE``."""
DATABASE = "limner.db"
OTHERS = 0o077


def close_home(home: Path) -> None:
    """Make the home folder, or take others' rights to it away, however it came to be there. OSError: it cannot be made.

    A folder that holds other things too keeps its own rights, and what is Limner's in it is closed instead.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not home.stat().st_mode & OTHERS:
        return
    ours = [entry for entry in home.iterdir() if _is_ours(entry)]
    if len(ours) == len(list(home.iterdir())):
        _close(home)
    for entry in ours:
        _close(entry)


def open_to_others(home: Path) -> list[Path]:
    """What of the home others of this machine can get at, which ``close_home`` could not change; [] if nothing."""
    if not home.stat().st_mode & OTHERS:
        return []
    return [entry for entry in sorted(home.iterdir()) if _is_ours(entry) and entry.lstat().st_mode & OTHERS]


def _is_ours(entry: Path) -> bool:
    return entry.name in OURS or entry.name.startswith(DATABASE)


def _close(entry: Path) -> None:
    """Close a file or folder; a link leads elsewhere, and what is in a folder that is closed is closed with it."""
    try:
        found = entry.lstat()
        if found.st_mode & OTHERS and not stat.S_ISLNK(found.st_mode):
            os.chmod(entry, stat.S_IMODE(found.st_mode) & ~OTHERS)  # noqa: PTH101
    except OSError as failure:
        log.warning("%s can be read by others and cannot be closed: %s", entry, failure.strerror)
