"""Whether anything in a home has changed: one look for all who follow something, far cheaper than asking each row."""

from __future__ import annotations

import sqlite3
import threading

from limner.operations.home.workspace import Workspace

__all__ = ["Changes"]


class Changes:
    """Looks at a home's database on a connection of its own. Safe in several threads, one look at a time."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def number(self) -> int:
        """A number that is another as soon as anybody, in whatever process, has written to the home's database."""
        with self._lock:
            if self._connection is None:
                self._connection = sqlite3.connect(self._workspace.database.path, check_same_thread=False)
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def keep_working(self) -> None:
        """See to it that a worker lives, as everybody does who waits for a job."""
        self._workspace.ensure_worker()

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
