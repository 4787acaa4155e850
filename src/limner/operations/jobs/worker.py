"""The worker process: does jobs until there is nothing to do.

``python -m limner.operations.jobs.worker`` is started on demand by whoever submits a job; ``limner worker`` runs one
for good.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

from limner.errors import LimnerError
from limner.operations.home import blob_erasure
from limner.operations.home.worker_start import forget_failure, take_worker_lock
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.operations.jobs.context import StageContext
from limner.operations.jobs.vendor_webhooks import listening
from limner.operations.webhooks.delivery import delivering
from limner.processes import keep_private
from limner.settings import Settings
from limner.vendors.secrets.redaction import guard_logging

__all__ = [
    "STAGES",
    "work",
]

log = logging.getLogger(__name__)

STAGES = {
    "intake": ("limner.operations.photos.job", "IntakeRequest"),
    "import": ("limner.operations.loras.job", "ImportRequest"),
    "freeze": ("limner.operations.datasets.job", "FreezeRequest"),
    "train": ("limner.operations.trainings.job", "TrainRequest"),
    "publish": ("limner.operations.publications.job", "PublishRequest"),
    "generate": ("limner.operations.generations.job", "GenerateRequest"),
    "verify": ("limner.operations.maintenance.verification", "VerifyRequest"),
}
"""The module and the request of each stage; its ``stage(context, request)`` does the work and gives a JSON result."""

LOOK_SECONDS = 0.5


def _runner(workspace: Workspace) -> Callable[[str, int], Awaitable[bool]]:
    async def run_stage(job: str, stage: int) -> bool:
        try:
            begun = await asyncio.to_thread(lifecycle.start_stage, workspace.database, job, stage)
            if begun is None:
                return False
            row, earlier, ended = begun
            if ended:
                return True
            results = {k: v for entry in earlier for k, v in (entry.get("result") or {}).items()}
            context = StageContext(workspace, job, results)
            place, kind = STAGES[row["stage"]]
            module = importlib.import_module(place)
            context.progress.check_cancelled()
            result = await module.stage(context, getattr(module, kind).from_json(row))
        except LimnerError as failure:
            log.warning("job %s stopped: %s", job, failure.code)
            return await asyncio.to_thread(lifecycle.end_stage, workspace.database, job, stage, error=failure)
        except Exception as failure:
            log.exception("job %s failed unexpectedly", job)
            return await asyncio.to_thread(lifecycle.end_stage, workspace.database, job, stage, error=failure)
        return await asyncio.to_thread(lifecycle.end_stage, workspace.database, job, stage, result=result)

    return run_stage


def work(settings: Settings, *, idle_seconds: float | None, stop: threading.Event | None = None) -> bool:
    """Do jobs until idle for that long (None: for ever) or stopped; False if another worker of this home lives."""
    stop = stop or threading.Event()
    workspace = Workspace(settings)
    handle = take_worker_lock(workspace.home)
    if handle is None:
        return False
    from limner.operations.home import dbos_engine

    dbos_engine.prepare(workspace.database)
    blob_erasure.finish_later(workspace)

    async def finish(job: str) -> None:
        await asyncio.to_thread(lifecycle.end_job, workspace.database, job)

    executor = dbos_engine.Executor(workspace.database, workspace.home, _runner(workspace), finish)
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    forget_failure(workspace.home)
    ears = ExitStack()
    ears.enter_context(listening(settings))
    ears.enter_context(delivering(workspace))
    try:
        idle = 0.0
        while not stop.wait(LOOK_SECONDS):
            idle = 0.0 if lifecycle.waiting_jobs(workspace.database) else idle + LOOK_SECONDS
            if idle_seconds is None or idle < idle_seconds:
                continue
            # Let go of the lock before the last look: a job submitted after that look finds no worker and starts one.
            os.close(handle)
            handle = None
            if not lifecycle.waiting_jobs(workspace.database):
                break
            handle = take_worker_lock(workspace.home)
            if handle is None:
                break
            idle = 0.0
    finally:
        ears.close()
        executor.close()
        if handle is not None:
            os.close(handle)
        workspace.close()
    return True


def main() -> int:
    """The entry of the process."""
    keep_private()
    parser = argparse.ArgumentParser(description="Do the jobs of one home folder.")
    parser.add_argument("--forever", action="store_true", help="do not end when idle")
    parser.add_argument("--nice", type=int, default=0, metavar="N", help="stand back for others by so much, 0 to 19")
    arguments = parser.parse_args()
    if arguments.nice:
        os.nice(arguments.nice)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    guard_logging()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = Settings()
    work(settings, idle_seconds=None if arguments.forever else settings.worker_idle_seconds, stop=stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
