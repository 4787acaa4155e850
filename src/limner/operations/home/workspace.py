"""The workspace: settings, database and blobs of one home folder, and the worker that does its jobs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from limner.catalog import use_catalog
from limner.errors import LimnerError, StorageFailed, WorkerFailed
from limner.money.prices import use_home
from limner.operations.home.back_ends import BackEnds
from limner.setting_groups import RESTART
from limner.settings import FILE, Settings, read_settings
from limner.store import Blobs, Database
from limner.store.home import close_home

if TYPE_CHECKING:
    from limner.operations.home.dbos_engine import Submitter
    from limner.operations.home.worker_start import WorkerStart

__all__ = ["Workspace"]

log = logging.getLogger(__name__)


class Workspace:
    """Everything that the pipeline needs to find its things. Opening it creates the home folder on first use."""

    owner: str | None = None
    """Whose things are seen and made here; None for everybody's."""
    from_here: bool = True
    """Whether who asks sits at this machine, and so may name files and addresses of it."""
    _everyone: Workspace | None = None

    def __init__(
        self, settings: Settings, worker_failed: Callable[[Database, WorkerFailed], object] = lambda *_: None
    ) -> None:
        """``worker_failed`` is told why no worker of the home can be started."""
        self._worker_failed = worker_failed
        self._file = _SettingsFile(settings)
        self._opening = threading.Lock()
        self.home = settings.home
        self.back_ends = BackEnds(lambda: self.settings)
        if settings.catalog is not None:
            use_catalog(settings.catalog)
        use_home(self.home)
        try:
            close_home(self.home)
            self.blobs = Blobs(self.home / "blobs")
            self.database = Database(self.home / "limner.db")
            self._refuse_lost_database()
            self.database.migrate()
        except OSError as failure:
            raise StorageFailed(
                f"The folder {self.home} cannot be used: {failure.strerror}.",
                remedy="Set LIMNER_HOME to a folder that you can write to.",
                thing=str(self.home),
            ) from failure

    def _refuse_lost_database(self) -> None:
        """A new database beside old files would make strays of them all."""
        if not self.database.version() and next(self.blobs.files(), None) is not None:
            raise StorageFailed(
                f"The database {self.database.path} is missing or empty, but files are stored in {self.blobs.folder}.",
                remedy="Restore limner.db from a backup. To begin anew, move the folder blobs away first.",
                thing=str(self.database.path),
            )

    @property
    def settings(self) -> Settings:
        """The settings as they are now, with what was changed in ``limner.toml`` since this process began."""
        return self._file.settings()

    @property
    def everyone(self) -> Workspace:
        """The workspace in which everybody's things are seen."""
        return self._everyone or self

    def owned_by(self, owner: str) -> Workspace:
        """The same home as one user sees it. Close the one that it was made of, not this."""
        from limner.operations.home.ownership import as_seen_by

        theirs = copy(self.everyone)
        theirs.owner, theirs._everyone = owner, self.everyone
        theirs.database = as_seen_by(self.everyone.database, owner)
        return theirs

    @cached_property
    def submitter(self) -> Submitter:
        """The way onto the queue, one for all owners; loads the workflow engine on first use."""
        if self._everyone is not None:
            # Several requests may ask at the same moment, each with a workspace of its own.
            with self._opening:
                return self._everyone.submitter
        from limner.operations.home import dbos_engine

        dbos_engine.prepare(self.database)
        return dbos_engine.Submitter(self.database)

    def directory(self, name: str) -> Path:
        """The working folder of one job, training or generation; it outlives crashes."""
        folder = self.home / "runs" / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    @property
    def log_file(self) -> Path:
        """Where workers write what went wrong."""
        return self.home / "logs" / "worker.log"

    def ensure_worker(self) -> None:
        """Start a worker unless one lives; it ends by itself when there is nothing to do.

        After the third that dies before it is at work, every job that has not ended fails, with what its log says.
        """
        if self.settings.start_worker:
            self.worker_start.ensure(self.settings.as_environment())

    @cached_property
    def worker_start(self) -> WorkerStart:
        """What starts the workers of this home, one for all owners."""
        if self._everyone is not None:
            with self._opening:
                return self._everyone.worker_start
        from limner.operations.home.worker_start import WorkerStart

        return WorkerStart(self.home, self.log_file, lambda error: self._worker_failed(self.database, error))

    def close(self) -> None:
        """Let go of the database."""
        if "submitter" in self.__dict__:
            self.submitter.close()
        self.database.dispose()


class _SettingsFile:
    """The settings of a process and the file that they were read from, which others may change while it lives."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = settings.home / FILE
        self._seen = self._stamp()
        self._reading = threading.Lock()

    def settings(self) -> Settings:
        """The settings, read anew if the file is another: but for what code gave and what holds from the next start."""
        if self._stamp() != self._seen:
            with self._reading:
                if (stamp := self._stamp()) != self._seen:
                    self._take_up()
                    self._seen = stamp
        return self._settings

    def _take_up(self) -> None:
        try:
            found = read_settings(self._settings.home)
        except LimnerError as refusal:
            log.warning("%s was changed and cannot be used, so that the settings stay: %s", FILE, refusal)
            return
        kept = {"home", *RESTART, *self._settings.given}
        self._settings.take({name: getattr(found, name) for name in Settings.model_fields if name not in kept})

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
