"""Jobs: rows to records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import select

from limner.errors import Cancelled, LimnerError, NotFound
from limner.operations.home.workspace import Workspace
from limner.operations.ids import by_id
from limner.records import (
    Failure,
    Job,
    StageRun,
    Verification,
    VerifyFinding,
)
from limner.store.models import (
    JobRow,
)
from limner.types import (
    JobState,
    Progress,
)

__all__ = ["PROGRESS", "failure", "failure_of", "job", "last_verification", "to_job", "to_progress"]


def job(workspace: Workspace, name: str) -> Job:
    """A job by its id, or the newest job of the training or generation named."""
    with workspace.database.read() as session:
        row = by_id(session, "job", JobRow, name)
        if row is None and name:
            # A target is a training's or a generation's whole id, or a lora's name.
            query = select(JobRow).where(JobRow.target == name).order_by(JobRow.created_at.desc()).limit(1)
            row = session.scalars(query).first()
        if row is None:
            raise NotFound(f"There is no job '{name}'.", remedy="List them: limner jobs list", thing=name)
        return to_job(row)


PROGRESS: TypeAdapter[Progress] = TypeAdapter(Progress)


def to_progress(data: Mapping[str, Any] | None) -> Progress | None:
    return PROGRESS.validate_python(data) if data else None


def _stage_run(entry: Mapping[str, Any]) -> StageRun:
    started, ended = entry.get("started_at"), entry.get("ended_at")
    seconds = None
    if started and ended:
        seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    return StageRun(entry["stage"], JobState(entry["state"]), seconds, entry.get("result") or {})


def failure(stored: Mapping[str, Any] | None) -> Failure | None:
    """An error as a row keeps it."""
    if not stored:
        return None
    candidates = stored.get("candidates")
    return Failure(**{**stored, "candidates": None if candidates is None else tuple(candidates)})


def to_job(row: JobRow) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        subject=row.subject,
        target=row.target,
        state=JobState(row.state),
        progress=to_progress(row.progress),
        stages=tuple(_stage_run(entry) for entry in row.stages),
        stage_names=tuple(stage["stage"] for stage in row.request["stages"]),
        result=row.result or {},
        error=failure(row.error),
        cancel_requested=row.cancel_requested,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        resumed_as=row.request.get("resumed_as", ""),
    )


def last_verification(workspace: Workspace) -> Verification | None:
    """What the newest verification that came to its end found; None if there was none."""
    query = (
        select(JobRow)
        .where(JobRow.kind == "verify", JobRow.state == JobState.DONE)
        .order_by(JobRow.ended_at.desc())
        .limit(1)
    )
    with workspace.database.read() as session:
        row = session.scalars(query).first()
        if row is None or row.ended_at is None:
            return None
        result = dict(row.result or {})
        findings = tuple(VerifyFinding(**{**one, "used_by": tuple(one["used_by"])}) for one in result["findings"])
        return Verification(row.id, row.ended_at, result["files"], result["bytes"], result["counts"], findings)


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
    return LimnerError.of_code(
        error.code, error.message, remedy=error.remedy, thing=error.thing, candidates=error.candidates or ()
    )
