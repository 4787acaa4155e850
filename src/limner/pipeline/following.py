"""Following jobs: look, wait, cancel, resume. Whoever waits also sees to it that a worker lives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from limner.errors import Cancelled, Conflict, LimnerError, of_code
from limner.money.consent import check_consent
from limner.money.sums import total
from limner.pipeline import erasing, jobs, lookups, reading
from limner.pipeline.workspace import Workspace
from limner.records import Failure, Job, WhatIf
from limner.store.models import JobRow
from limner.types import JobState

__all__ = ["cancel", "failure_of", "go_on", "resume", "watch", "watch_async"]

LOOK_SECONDS = 0.2
WORKER_SECONDS = 2.0


def watch(workspace: Workspace, job: str) -> Iterator[Job]:
    """Give the job whenever it has changed, until it has ended."""
    seen: Job | None = None
    ensured = 0.0
    while True:
        current = lookups.job(workspace, job)
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
        current = await asyncio.to_thread(lookups.job, workspace, job)
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
        error = job.error or Failure()
        return Cancelled(
            error.message or "The job was cancelled; what was done so far is kept.",
            remedy=error.remedy or f"Go on with: limner jobs resume {job.id}",
            thing=job.id,
        )
    error = job.error or Failure(message="The job failed.", thing=job.id)
    return of_code(error.code, error.message, remedy=error.remedy, thing=error.thing, candidates=error.candidates or ())


def go_on(workspace: Workspace) -> None:
    """See to it that a worker lives if a job has not ended: the last one may have died with nobody watching.

    What a process that died was erasing is erased to the end here.
    """
    erasing.finish_later(workspace)
    if jobs.waiting_jobs(workspace.everyone.database):
        workspace.ensure_worker()


def cancel(workspace: Workspace, job: str) -> Job:
    """Ask a job to stop at its next safe point."""
    found = lookups.job(workspace, job)
    with workspace.database.write() as session:
        row = jobs.request_cancel(session, found.id)
        record = reading.to_job(row)
    if not record.state.ended:
        workspace.ensure_worker()
    return record


def resume(workspace: Workspace, job: str, *, yes: bool = False, what_if: bool = False) -> Job | WhatIf:
    """Do a cancelled or failed job again from the stage that it stopped in, as a new job.

    Conflict: it has not stopped, or another job does the same already. ConsentNeeded: a training may have to be
    started anew at a vendor's, and costs more than goes without asking. ``what_if``: only say what would be done.
    """
    # The stages load a good deal that watching does not need.
    from limner.pipeline import trainings

    submitter = workspace.submitter
    found = lookups.job(workspace, job)
    if found.state not in (JobState.CANCELLED, JobState.FAILED):
        raise Conflict(
            f"The job {found.id} is {found.state}.", remedy="Only a stopped job can be resumed.", thing=found.id
        )
    with workspace.database.read() as session:
        row = session.get_one(JobRow, found.id)
        stages = [{**stage, "reopen": True} for stage in row.request["stages"]]
        done = [entry for entry in row.stages if entry["state"] == JobState.DONE]
    if what_if:
        return _what_if(workspace, found.kind, stages[len(done) :])
    training = [stage for stage in stages[len(done) :] if stage["stage"] == "train"]
    cost = total(trainings.estimate(workspace, stage) for stage in training)
    check_consent(cost, workspace.settings.consent_above, yes=yes)
    with workspace.database.write() as session:
        jobs.refuse_twice(session, found.target, stages)
        stopped = session.get_one(JobRow, found.id)
        again = jobs.add_job(
            session,
            kind=found.kind,
            stages=stages,
            subject=found.subject,
            target=found.target,
            owner=stopped.owner,
        )
        jobs.note_resumed(stopped, again)
        # The stages that had ended keep their results and are not run again.
        again.stages = done
        waits = found.kind == "import" or any(trainings.waits(workspace, one) for one in training)
        submitter.submit(session, again.id, len(stages), waits=waits)
        return reading.to_job(again)


def _what_if(workspace: Workspace, kind: str, stages: Sequence[dict[str, Any]]) -> WhatIf:
    """What the stages that are left would do, and cost at most."""
    from limner.pipeline import asking, generating, paying, whole

    if kind != "generate":
        return asking.what_if(*whole.plans(workspace, stages))
    steps = []
    for stage in stages:
        done = paying.given_up(workspace, stage["generation"]) | lookups.drawn(workspace, stage["generation"])
        steps.append(generating.plans(workspace, stage, done=done))
    return asking.what_if(*steps)
