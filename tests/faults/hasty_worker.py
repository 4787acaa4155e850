"""Workers and users for the campaign: processes forked from one that has everything imported, whose clocks run fast.

They are real processes, which can be killed at any moment. A fork takes milliseconds where a start takes seconds.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from operator import attrgetter
from typing import Any

from limner.errors import LimnerError
from tests.waiting import PATIENCE

__all__ = ["User", "hatch"]

HASTE = 50.0
"""By how much shorter every pause of such a process is."""
IMPATIENCE = 20.0
"""By how much shorter every time-out is."""
SHORTEST = 2.0
"""Seconds; no time-out becomes shorter, or a busy machine would look like a dead vendor."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.hatchery"])


def hatch(environment: Mapping[str, str]) -> ForkServerProcess:
    """Start a worker of the home that the environment names; it works until it is killed."""
    process = _context.Process(target=_work, args=(dict(environment),), daemon=True)
    process.start()
    return process


class User:
    """A process in which a user calls the studio, kept for the whole campaign, as its start is the slow part."""

    def __init__(self) -> None:
        self._ours, theirs = _context.Pipe()
        self.process = _context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def call(self, environment: Mapping[str, str], name: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of a Studio with these settings; gives what it gives, or raises its LimnerError."""
        self._ours.send((dict(environment), name, arguments, options))
        if not self._ours.poll(PATIENCE):
            raise TimeoutError(f"studio.{name} does not come back")
        failure, value = self._ours.recv()
        if failure is not None:
            raise failure
        return value

    def close(self) -> None:
        self.process.kill()
        self.process.join()


def _serve(commands: Connection) -> None:
    _check_imports()
    _hurry()
    while True:
        try:
            environment, name, arguments, options = commands.recv()
        except EOFError:
            return
        os.environ.update(environment)
        try:
            commands.send((None, _called(name, arguments, options)))
        except LimnerError as failure:
            plain = LimnerError(failure.message, remedy=failure.remedy, thing=failure.thing)
            commands.send((plain, None))
        except Exception as failure:
            commands.send((RuntimeError(f"studio.{name}: {type(failure).__name__}: {failure}"), None))


def _called(name: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    from limner import Studio
    from limner.settings import Settings

    with Studio(settings=Settings()) as studio:
        return attrgetter(name)(studio)(*arguments, **options)


def _work(environment: dict[str, str]) -> None:
    _check_imports()
    os.environ.update(environment)
    log = os.open(f"{environment['LIMNER_HOME']}/worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    _hurry()
    from limner.operations.jobs.worker import work
    from limner.settings import Settings

    work(Settings(), idle_seconds=None)


def _check_imports() -> None:
    # a module that cannot be imported is passed over in silence by the fork server
    if "tests.faults.hatchery" not in sys.modules:
        import tests.faults.hatchery  # noqa: F401


class _HastyEvent:
    """An event whose long waits are short; for the threads of the workflow engine, which look once a second."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def wait(self, timeout: float | None = None) -> bool:
        return self._event.wait(timeout / HASTE if timeout and timeout >= 0.5 else timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._event, name)


def _hurry() -> None:
    """Make every pause and every time-out of this process shorter."""
    import asyncio
    import time

    import dbos._dbos
    import httpx2

    from limner.operations.home import dbos_engine
    from limner.operations.jobs import wakeups, worker
    from limner.operations.trainings import job as training_job

    asleep, sleep, looked, woken = asyncio.sleep, time.sleep, training_job._wished_to_stop, wakeups.sleep
    queued = dbos._dbos.queue_thread

    async def nap(delay: float, result: Any = None) -> Any:
        return await asleep(delay / HASTE, result)

    asyncio.sleep = nap
    time.sleep = lambda seconds: sleep(seconds / HASTE)
    wakeups.sleep = lambda key, seconds: woken(key, seconds / HASTE)
    training_job._wished_to_stop = lambda context, training, seconds: looked(context, training, seconds / HASTE)
    dbos._dbos.queue_thread = lambda event, engine: queued(_HastyEvent(event), engine)  # type: ignore[arg-type]
    worker.LOOK_SECONDS = dbos_engine.REAP_SECONDS = 0.05
    dbos_engine.POLL_SECONDS = 0.02
    waits = httpx2.Timeout.__init__

    def impatient(self: httpx2.Timeout, *arguments: Any, **named: Any) -> None:
        waits(self, *arguments, **named)
        for part in ("connect", "read", "write", "pool"):
            seconds = getattr(self, part, None)
            if seconds:
                setattr(self, part, max(SHORTEST, seconds / IMPATIENCE))

    httpx2.Timeout.__init__ = impatient  # type: ignore[method-assign]
