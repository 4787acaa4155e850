"""Following jobs: look, wait, cancel, resume. Whoever waits also sees to it that a worker lives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

from limner import errors
from limner.errors import BaseUnclear, Cancelled, LimnerError
from limner.operations.home import blob_erasure as erasing
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle as jobs
from limner.operations.jobs import queries as job_queries
from limner.records import Job
from limner.types import JobState

__all__ = ["cancel", "failure_of", "go_on", "watch", "watch_async"]

LOOK_SECONDS = 0.2
WORKER_SECONDS = 2.0


_BY_CODE = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LimnerError)
}


def watch(workspace: Workspace, job: str) -> Iterator[Job]:
    """Give the job whenever it has changed, until it has ended."""
    seen: Job | None = None
    ensured = 0.0
    while True:
        current = job_queries.job(workspace, job)
        if current != seen:
            seen = current
            yield current
        if current.state.ended:
            return
        if time.monotonic() - ensured > WORKER_SECONDS:
            workspace.ensure_worker()
            ensured = time.monotonic()
        time.sleep(LOOK_SECONDS)


async def watch_async(workspace: Workspace, job: str) -> AsyncIterator[Job]:
    """The same without blocking the event loop."""
    seen: Job | None = None
    ensured = 0.0
    while True:
        current = await asyncio.to_thread(job_queries.job, workspace, job)
        if current != seen:
            seen = current
            yield current
        if current.state.ended:
            return
        if time.monotonic() - ensured > WORKER_SECONDS:
            await asyncio.to_thread(workspace.ensure_worker)
            ensured = time.monotonic()
        await asyncio.sleep(LOOK_SECONDS)


def failure_of(job: Job) -> LimnerError | None:
    """The error that a job ended with: of the class that was raised in the worker, or None if it is done."""
    if job.state is JobState.DONE or not job.state.ended:
        return None
    if job.state is JobState.CANCELLED:
        error = job.error or {}
        return Cancelled(
            error.get("message") or "The job was cancelled; what was done so far is kept.",
            remedy=error.get("remedy") or f"Go on with: limner jobs resume {job.id}",
            thing=job.id,
        )
    error = job.error or {"message": "The job failed.", "remedy": "", "thing": job.id}
    kind = _BY_CODE.get(error.get("code", ""), LimnerError)
    failure = kind(error["message"], remedy=error.get("remedy", ""), thing=error.get("thing", ""))
    if isinstance(failure, BaseUnclear):
        failure.candidates = tuple(error.get("candidates", ()))
    return failure


def go_on(workspace: Workspace) -> None:
    """See to it that a worker lives if a job has not ended: the last one may have died with nobody watching.

    What a process that died was erasing is erased to the end here.
    """
    erasing.finish_later(workspace)
    if jobs.waiting_jobs(workspace.everyone.database):
        workspace.ensure_worker()


def cancel(workspace: Workspace, job: str) -> Job:
    """Ask a job to stop at its next safe point."""
    found = job_queries.job(workspace, job)
    with workspace.database.write() as session:
        row = jobs.request_cancel(session, found.id)
        record = job_queries.to_job(row)
    if not record.state.ended:
        workspace.ensure_worker()
    return record
