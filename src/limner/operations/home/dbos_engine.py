"""Durable workflows: the only module that knows DBOS.

A job is one workflow of numbered stages. A stage that had ended when the process died is not run again; the one that
was under way is run again from its start, so stages are idempotent. DBOS recovers only the work of executor ids that it
is told of, so every process has its own id, proves by a file lock that it lives, and looks in a loop for the dead.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session

from limner.store import Database

# Without a handler of its own, DBOS would print to our user's terminal.
logging.getLogger("dbos").addHandler(logging.NullHandler())

import dbos  # noqa: E402

__all__ = ["CONTRACT", "Executor", "Submitter", "live_executors", "prepare"]

log = logging.getLogger(__name__)

APPLICATION = "limner"
CONTRACT = "1"
"""The version of the workflow's shape. Raise it only when recorded steps no longer fit the code below."""
WORKFLOW = "limner_job"
QUEUE = "limner"
JOBS_AT_ONCE = 16
WAITING_QUEUE = "limner-waiting"
WAITING_AT_ONCE = 5000
"""Jobs that mostly wait for a vendor: each is a sleeping task, so thousands are no burden."""
THREADS = 48
"""For what blocks (database, files, pictures); DBOS would start one for each of a thousand jobs."""
REAP_SECONDS = 1.0
POLL_SECONDS = 0.1


def prepare(database: Database) -> None:
    """Create or upgrade the workflow engine's tables; it takes the write lock first, so many may call it at once."""
    if database.path is not None:
        with database.read() as session:
            found = session.execute(
                text("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'dbos_migrations'")
            ).first()
            if found:
                return
    dbos.run_dbos_database_migrations(system_database_url=database.url)


class Submitter:
    """Puts jobs on the queue from any process, in the caller's own transaction."""

    def __init__(self, database: Database) -> None:
        self._client = dbos.DBOSClient(system_database_url=database.url, application_name=APPLICATION)

    def submit(self, session: Session, job: str, stages: int, *, waits: bool = False) -> None:
        """Enqueue a job; it exists if and only if the caller's transaction commits. The same id twice is one job.

        ``waits``: it mostly waits for a vendor, and takes no place among those that work here.
        """
        options: dbos.EnqueueOptions = {
            "queue_name": WAITING_QUEUE if waits else QUEUE,
            "workflow_name": WORKFLOW,
            "workflow_id": job,
            "app_version": CONTRACT,
        }
        self._client.enqueue_in_transaction(session, options, job, stages)

    def close(self) -> None:
        self._client.destroy()


def _executors(home: Path) -> Path:
    folder = home / "run" / "executors"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _held(path: Path) -> bool:
    """Whether a live process holds the lock; a missing file means that nobody does."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def live_executors(home: Path) -> list[str]:
    """The ids of the processes that work on jobs of this home now."""
    return sorted(path.stem for path in _executors(home).glob("*.lock") if _held(path))


class Executor:
    """Runs jobs in this process until it is closed. One a process."""

    def __init__(
        self,
        database: Database,
        home: Path,
        run_stage: Callable[[str, int], Awaitable[bool]],
        finish: Callable[[str], Awaitable[None]],
    ) -> None:
        self.id = f"w{os.getpid()}-{uuid4().hex[:8]}"
        self._home = home
        self._database = database
        self._closing = threading.Event()
        self._lock = _executors(home) / f"{self.id}.lock"
        self._handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        config: dbos.DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": database.url,
            "application_version": CONTRACT,
            "executor_id": self.id,
            "log_level": "WARNING",
            "enable_otlp": False,
            "max_executor_threads": THREADS,
            "notification_listener_polling_interval_sec": 0.5,
            "scheduler_polling_interval_sec": 3600.0,
        }
        dbos.DBOS(config=config)

        @dbos.DBOS.step(name="limner_stage")
        async def stage_step(job: str, stage: int) -> bool:
            return await run_stage(job, stage)

        @dbos.DBOS.step(name="limner_finish")
        async def finish_step(job: str) -> None:
            await finish(job)

        @dbos.DBOS.workflow(name=WORKFLOW, max_recovery_attempts=100_000)
        async def job_workflow(job: str, stages: int) -> None:
            for stage in range(stages):
                if not await stage_step(job, stage):
                    break
            await finish_step(job)

        dbos.DBOS.launch()
        for queue, most in ((QUEUE, JOBS_AT_ONCE), (WAITING_QUEUE, WAITING_AT_ONCE)):
            dbos.DBOS.register_queue(queue, worker_concurrency=most, polling_interval_sec=POLL_SECONDS)
        self._reaper = threading.Thread(target=self._reap, name="limner-reaper", daemon=True)
        self._reaper.start()

    def _reap(self) -> None:
        """Take over the work of executors that died. In a loop: one pass may fail or come too early."""
        while not self._closing.wait(REAP_SECONDS):
            try:
                for executor in self._pending_elsewhere():
                    if not _held(_executors(self._home) / f"{executor}.lock"):
                        dbos.DBOS._recover_pending_workflows([executor])
                        (_executors(self._home) / f"{executor}.lock").unlink(missing_ok=True)
            except Exception:
                log.exception("Looking for the work of dead processes failed; it is tried again.")

    def _pending_elsewhere(self) -> list[str]:
        with self._database.read() as session:
            rows = session.execute(
                text(
                    "SELECT DISTINCT executor_id FROM workflow_status WHERE status = 'PENDING' AND executor_id != :own"
                ),
                {"own": self.id},
            )
            return [str(row[0]) for row in rows]

    def close(self) -> None:
        """Stop taking jobs and let go of the lock. Work under way is taken up again by the next executor."""
        self._closing.set()
        self._reaper.join(timeout=5)
        dbos.DBOS.destroy(workflow_completion_timeout_sec=0)
        self._lock.unlink(missing_ok=True)
        os.close(self._handle)
