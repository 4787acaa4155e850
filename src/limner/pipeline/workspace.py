"""The workspace: settings, database and blobs of one home folder, and the worker that does its jobs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from limner.catalog import use_catalog
from limner.errors import StorageFailed
from limner.money.prices import use_home
from limner.settings import Settings
from limner.store import Blobs, Database

if TYPE_CHECKING:
    from limner.pipeline.durable import Submitter

__all__ = ["Workspace"]

log = logging.getLogger(__name__)


class Workspace:
    """Everything that the pipeline needs to find its things. Opening it creates the home folder on first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home
        if settings.catalog is not None:
            use_catalog(settings.catalog)
        use_home(self.home)
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.blobs = Blobs(self.home / "blobs")
            self.database = Database(self.home / "limner.db")
            self.database.migrate()
        except OSError as failure:
            raise StorageFailed(
                f"The folder {self.home} cannot be used: {failure.strerror}.",
                remedy="Set LIMNER_HOME to a folder that you can write to.",
                thing=str(self.home),
            ) from failure

    @cached_property
    def submitter(self) -> Submitter:
        """The way onto the queue; loads the workflow engine on first use."""
        from limner.pipeline import durable

        durable.prepare(self.database)
        return durable.Submitter(self.database)

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
        """Start a worker in a session of its own unless one lives; it ends by itself when there is nothing to do."""
        from limner.pipeline.worker import worker_lives

        if not self.settings.start_worker or worker_lives(self.home):
            return
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | self.settings.as_environment()
        with self.log_file.open("ab") as sink:
            subprocess.Popen(
                [sys.executable, "-m", "limner.pipeline.worker"],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=environment,
                start_new_session=True,
                close_fds=True,
            )

    def close(self) -> None:
        """Let go of the database."""
        if "submitter" in self.__dict__:
            self.submitter.close()
        self.database.dispose()
