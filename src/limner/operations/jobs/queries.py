"""Jobs: rows to records."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import select

from limner import errors
from limner.errors import BaseUnclear, Cancelled, LimnerError, NotFound
from limner.operations.home.workspace import Workspace
from limner.operations.ids import by_id
from limner.records import (
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

__all__ = ["PROGRESS", "failure_of", "job", "last_verification", "to_job"]


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


def _progress(data: dict[str, Any] | None) -> Progress | None:
    return PROGRESS.validate_python(data) if data else None


def _stage_run(entry: dict[str, Any]) -> StageRun:
    started, ended = entry.get("started_at"), entry.get("ended_at")
    seconds = None
    if started and ended:
        seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    return StageRun(entry["stage"], JobState(entry["state"]), seconds, entry.get("result") or {})


def to_job(row: JobRow) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        subject=row.subject,
        target=row.target,
        state=JobState(row.state),
        progress=_progress(row.progress),
        stages=tuple(_stage_run(entry) for entry in row.stages),
        stage_names=tuple(stage["stage"] for stage in row.request["stages"]),
        result=row.result or {},
        error=row.error,
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


_BY_CODE = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LimnerError)
}


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
