"""Job rows: what a user sees of durable work. Everything here is a short transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from limner.errors import BaseUnclear, Cancelled, Conflict, LimnerError, NotFound
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import idempotency
from limner.operations.jobs.queries import to_job
from limner.operations.jobs.request import StageRequest
from limner.operations.webhooks import queue
from limner.records import Job
from limner.store import Database
from limner.store.models import GenerationRow, JobRow, SubjectRow, TrainingRow, now
from limner.store.web_models import EventRow
from limner.types import UNDER_WAY, JobState, Progress
from limner.vendors.secrets.redaction import redact

__all__ = [
    "JobProgress",
    "add_job",
    "as_error",
    "enqueue",
    "fail_all",
    "new_id",
    "note_resumed",
    "refuse_twice",
    "request_cancel",
    "resume_job",
    "waiting_jobs",
]

PROGRESS_SECONDS = 0.25


def new_id(kind: str) -> str:
    """A fresh id that says what it names: ``job_...``, ``training_...``."""
    return f"{kind}_{uuid4().hex[:16]}"


def add_job(
    session: Session,
    *,
    kind: str,
    stages: Sequence[StageRequest],
    subject: str | None,
    target: str = "",
    owner: str | None = None,
    job: str = "",
) -> JobRow:
    """Add a waiting job with its stages to the caller's transaction. Conflict: another one was made for its key."""
    requests = [one.to_json() for one in stages]
    return _add(session, kind=kind, requests=requests, subject=subject, target=target, owner=owner, job=job)


def enqueue(
    workspace: Workspace,
    kind: str,
    stages: Sequence[StageRequest],
    *,
    subject: str | None,
    target: str = "",
    job: str = "",
    waits: bool = False,
    first: Callable[[Session], object] = lambda _: None,
) -> Job:
    """Add a job and put it on the queue, both or neither, and in the same transaction ``first`` what it needs there.

    ``job`` is its id where a stage names it; ``waits``: it mostly waits for a vendor.
    """
    submitter = workspace.submitter  # made before the transaction, because that writes too
    with workspace.database.write() as session:
        first(session)
        row = add_job(session, kind=kind, stages=stages, subject=subject, target=target, owner=workspace.owner, job=job)
        submitter.submit(session, row.id, len(stages), waits=waits)
        return to_job(row)


def resume_job(session: Session, stopped: JobRow) -> JobRow:
    """Add a job that goes on with a stopped one, from the stage in which that stopped.

    Conflict: another one does so already.
    """
    requests = [{**one, "reopen": True} for one in stopped.request["stages"]]
    _refuse_twice(session, stopped.target, requests)
    again = _add(
        session,
        kind=stopped.kind,
        requests=requests,
        subject=stopped.subject,
        target=stopped.target,
        owner=stopped.owner,
    )
    note_resumed(stopped, again)
    # The stages that had ended keep their results and are not run again.
    again.stages = [entry for entry in stopped.stages if entry["state"] == JobState.DONE]
    return again


def _add(
    session: Session,
    *,
    kind: str,
    requests: Sequence[Mapping[str, Any]],
    subject: str | None,
    target: str,
    owner: str | None,
    job: str = "",
) -> JobRow:
    row = JobRow(
        id=job or new_id("job"),
        kind=kind,
        subject=subject,
        target=target,
        owner=owner or session.scalar(select(SubjectRow.owner).where(SubjectRow.slug == subject)),
        request={"stages": list(requests)},
        state=JobState.WAITING,
        progress={},
        stages=[],
    )
    session.add(row)
    session.flush()
    for made in _made_by(session, row):
        made.state, made.error, made.ended_at = JobState.WAITING, None, None
    _say(session, row)
    idempotency.note_job(session, row.id)
    return row


def refuse_twice(session: Session, target: str, stages: Sequence[StageRequest]) -> None:
    """Conflict: a job that has not ended does the same. Two at one training or generation would pay for it twice."""
    _refuse_twice(session, target, [one.to_json() for one in stages])


def _refuse_twice(session: Session, target: str, requests: Sequence[Mapping[str, Any]]) -> None:
    makes = _makes(requests)
    alive = select(JobRow).where(JobRow.state.in_(UNDER_WAY), JobRow.target == target)
    for row in session.scalars(alive):
        if makes & _makes(row.request["stages"]):
            thing = target or row.id
            raise Conflict(
                f"{thing} is running already, as {row.id}.", remedy=f"Watch it: limner jobs watch {row.id}", thing=thing
            )


def note_resumed(stopped: JobRow, again: JobRow) -> None:
    """Write on a stopped job which one goes on with it, in the transaction that adds that."""
    stopped.request = {**stopped.request, "resumed_as": again.id}


def _makes(requests: Sequence[Mapping[str, Any]]) -> set[str]:
    """What stages make: trainings and generations by their ids, all else by what was asked for."""
    return {
        one.get("training") or one.get("generation") or json.dumps({**one, "reopen": True}, sort_keys=True)
        for one in requests
    }


def _say(session: Session, row: JobRow) -> None:
    """Write the event of a job's new state into the transaction that changes it."""
    event = EventRow(kind=f"job.{JobState(row.state)}", job=row.id, owner=row.owner)
    session.add(event)
    queue.queue(session, event)


def as_error(failure: BaseException) -> dict[str, object]:
    """An error as rows keep it: the class's code, message, remedy, thing and exit code."""
    if isinstance(failure, LimnerError):
        return {
            "code": failure.code,
            "message": redact(failure.message),
            "remedy": redact(failure.remedy),
            "thing": failure.thing,
            "exit_code": failure.exit_code,
            "status": failure.status,
            **({"candidates": list(failure.candidates)} if isinstance(failure, BaseUnclear) else {}),
        }
    return {
        "code": "unexpected",
        "message": redact(f"An unexpected {type(failure).__name__} stopped the work: {str(failure)[:500]}"),
        "remedy": "The log has the details; `limner doctor` says where it is. Resuming is safe.",
        "thing": "",
        "exit_code": 1,
        "status": 500,
    }


def request_cancel(session: Session, job: str) -> JobRow:
    """Ask a job to stop at its next safe point; a job that still waits ends at once."""
    row = session.get(JobRow, job)
    if row is None:
        raise NotFound(f"There is no job '{job}'.", remedy="List them with `limner jobs list`.", thing=job)
    if not JobState(row.state).ended:
        row.cancel_requested = True
    return row


def waiting_jobs(database: Database) -> int:
    """How many jobs have not ended."""
    with database.read() as session:
        rows = session.scalars(select(JobRow.id).where(JobRow.state.in_(UNDER_WAY)))
        return len(rows.all())


class JobProgress:
    """Reports one job's progress into its row, at most four times a second, and sees a wish to cancel."""

    def __init__(self, database: Database, job: str) -> None:
        self._database = database
        self._job = job
        self._written = 0.0
        self._stage = ""
        self._looked = 0.0
        self._cancelled = False

    def report(self, progress: Progress, besides: Callable[[Session], None] | None = None) -> bool:
        """Keep the newest progress; the end of a stage is always written. Whether it was, with ``besides``."""
        moment = time.monotonic()
        whole = progress.total > 0 and progress.done >= progress.total
        if moment - self._written < PROGRESS_SECONDS and progress.stage == self._stage and not whole:
            return False
        self._written, self._stage = moment, progress.stage
        with self._database.write() as session:
            session.execute(update(JobRow).where(JobRow.id == self._job).values(progress=asdict(progress)))
            if besides is not None:
                besides(session)
        return True

    @property
    def cancelled(self) -> bool:
        """Whether the user asked for a stop; looked up at most twice a second."""
        moment = time.monotonic()
        if not self._cancelled and moment - self._looked > 0.5:
            self._looked = moment
            with self._database.read() as session:
                self._cancelled = bool(session.scalar(select(JobRow.cancel_requested).where(JobRow.id == self._job)))
        return self._cancelled

    def check_cancelled(self) -> None:
        """Raise Cancelled if the user asked for a stop."""
        if self.cancelled:
            raise Cancelled("Stopped as you asked; what was done so far is kept.", thing=self._job)


def start_stage(database: Database, job: str, stage: int) -> tuple[Mapping[str, Any], list[Any], bool] | None:
    """Mark a stage as running; give its request, the results of those before it, and whether it had ended already.

    None: the job itself has ended, as one that failed because no worker could be started.
    """
    with database.write() as session:
        row = session.get_one(JobRow, job)
        if JobState(row.state).ended:
            return None
        stages = [dict(entry) for entry in row.stages]
        request = dict(row.request["stages"][stage])
        if len(stages) > stage and stages[stage]["state"] == JobState.DONE:
            return request, stages, True
        del stages[stage:]
        stages.append({"stage": request["stage"], "state": JobState.RUNNING, "started_at": now().isoformat()})
        row.stages = stages
        if row.state != JobState.RUNNING:
            row.state = JobState.RUNNING
            _say(session, row)
        row.started_at = row.started_at or now()
        return request, stages[:-1], False


def end_stage(
    database: Database,
    job: str,
    stage: int,
    *,
    result: Mapping[str, Any] | None = None,
    error: BaseException | None = None,
) -> bool:
    """Record how a stage ended; True if the job goes on."""
    with database.write() as session:
        row = session.get_one(JobRow, job)
        stages = [dict(entry) for entry in row.stages]
        entry = stages[stage]
        entry["ended_at"] = now().isoformat()
        if error is None:
            entry["state"], entry["result"] = JobState.DONE, dict(result or {})
        else:
            entry["state"] = JobState.CANCELLED if isinstance(error, Cancelled) else JobState.FAILED
            row.error = as_error(error)
        row.stages = stages
        return error is None


def end_job(database: Database, job: str) -> None:
    """Set the job's last state from its stages."""
    with database.write() as session:
        row = session.get_one(JobRow, job)
        if JobState(row.state).ended:
            return
        states = [entry["state"] for entry in row.stages]
        whole = len(states) == len(row.request["stages"]) and all(s == JobState.DONE for s in states)
        row.state = JobState.DONE if whole else states[-1] if states else JobState.CANCELLED
        row.ended_at = now()
        # A job that was stopped before its stage began: the stage could not say so.
        for made in _made_by(session, row):
            if not JobState(made.state).ended:
                made.state, made.error, made.ended_at = row.state, row.error, row.ended_at
        _say(session, row)
        row.result = {k: v for entry in row.stages for k, v in (entry.get("result") or {}).items()}


def fail_all(database: Database, error: LimnerError) -> int:
    """End every job that has not ended as failed, because there is nobody to do it; how many."""
    with database.write() as session:
        rows = session.scalars(select(JobRow).where(JobRow.state.in_(UNDER_WAY))).all()
        for row in rows:
            row.state, row.error, row.ended_at = JobState.FAILED, as_error(error), now()
            row.stages = [
                {**entry, "state": JobState.FAILED, "ended_at": now().isoformat()}
                if entry["state"] == JobState.RUNNING
                else entry
                for entry in row.stages
            ]
            for made in _made_by(session, row):
                if not JobState(made.state).ended:
                    made.state, made.error, made.ended_at = row.state, row.error, row.ended_at
            _say(session, row)
        return len(rows)


def _made_by(session: Session, job: JobRow) -> list[TrainingRow | GenerationRow]:
    """The rows of a job's trainings and generations, but for those that are done."""
    names = [stage.get("training") or stage.get("generation") for stage in job.request["stages"]]
    return [
        *session.scalars(select(TrainingRow).where(TrainingRow.id.in_(names), TrainingRow.state != JobState.DONE)),
        *session.scalars(
            select(GenerationRow).where(GenerationRow.id.in_(names), GenerationRow.state != JobState.DONE)
        ),
    ]
