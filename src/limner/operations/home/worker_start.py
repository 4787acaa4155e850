"""Starting workers: one a home, watched until it is at work; after the third that dies, the jobs that wait are told."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from limner.errors import WorkerFailed
from limner.operations.home.log_tail import log_tail
from limner.process_lock import is_held, take_lock
from limner.processes import our_environment, python_module

__all__ = ["WorkerStart", "forget_failure", "last_failure", "take_worker_lock", "worker_lives"]

log = logging.getLogger(__name__)

NICENESS = 5
"""A worker and the trainings that it starts stand back for whoever waits for a page or a command on this machine."""
DEATHS = 3
LOOK_SECONDS = 0.1
_FAILURE = "worker.failure"
TOLD_LINES = 6
"""Of the end of a dead worker's log, which is its traceback's."""


def _lock_path(home: Path) -> Path:
    folder = home / "run"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / "worker.lock"


def take_worker_lock(home: Path) -> int | None:
    """Become the home's worker; None if another one lives."""
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


class WorkerStart:
    """Starts the workers of one home for one process. ``give_up`` is told why, once ``DEATHS`` of them have died."""

    def __init__(self, home: Path, log_file: Path, give_up: Callable[[WorkerFailed], object]) -> None:
        self._home = home
        self._log_file = log_file
        self._give_up = give_up
        self._one_at_a_time = threading.Lock()
        self._watching: threading.Thread | None = None
        self._failed: WorkerFailed | None = None

    def ensure(self, environment: Mapping[str, str]) -> None:
        """Start a worker in a session of its own unless one lives or is starting; does not wait for it."""
        with self._one_at_a_time:
            if (self._watching is not None and self._watching.is_alive()) or worker_lives(self._home):
                return
            self._failed = None
            first = self._start(environment)
            self._watching = threading.Thread(
                target=self._watch, args=(first, environment), name="limner-worker-start", daemon=True
            )
            self._watching.start()

    def wait(self, seconds: float) -> None:
        """Wait until the worker that is starting is at work. WorkerFailed: it was given up."""
        if self._watching is not None:
            self._watching.join(seconds)
        if self._failed is not None:
            raise self._failed

    def _start(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        self._log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self._log_file, "ab", opener=_private) as sink:
            return subprocess.Popen(
                python_module("limner.operations.jobs.worker", "--nice", str(NICENESS)),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=our_environment(environment),
                start_new_session=True,
                close_fds=True,
            )

    def _watch(self, worker: subprocess.Popen[bytes], environment: Mapping[str, str]) -> None:
        try:
            for _ in range(DEATHS - 1):
                if self._came_to_work(worker):
                    return
                worker = self._start(environment)
            if not self._came_to_work(worker):
                self._tell(worker.returncode)
        except Exception:
            log.exception("The start of a worker could not be watched.")

    def _came_to_work(self, worker: subprocess.Popen[bytes]) -> bool:
        """Wait until a worker takes jobs, or leaves them to another one; False if it died before."""
        while worker.poll() is None:
            if is_at_work(self._home, worker.pid):
                return True
            time.sleep(LOOK_SECONDS)
        return worker.returncode == 0

    def _tell(self, status: int) -> None:
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        tail = log_tail(self._log_file, TOLD_LINES).strip()
        message = f"The worker that does the jobs could not be started: {DEATHS} died at once, the last with {ended}."
        if tail:
            message += f" Its log ends: {tail}"
        failure = self._home / "run" / _FAILURE
        with open(failure, "w", encoding="utf-8", opener=_private) as file:
            file.write(message)
        self._failed = WorkerFailed(
            message,
            remedy=f"Mend what it names (the whole log: {self._log_file}), then: limner jobs resume",
            thing="worker",
        )
        self._give_up(self._failed)


def last_failure(home: Path) -> str:
    """Why no worker could be started when one was last needed; "" if one could."""
    try:
        return (home / "run" / _FAILURE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def forget_failure(home: Path) -> None:
    """A worker is at work."""
    (home / "run" / _FAILURE).unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
