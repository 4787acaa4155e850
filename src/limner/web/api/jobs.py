"""Jobs: long work, followed as it goes."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from limner.records import Job, JobEvent
from limner.web.api.cursors import PartAsked
from limner.web.api.path_parameters import JobId, OfSubject, api_router, started, written
from limner.web.api.shapes import Page, Resume
from limner.web.api.spending import LOOKED_AT, Spending
from limner.web.live import event_stream, live_of
from limner.web.visit import StudioOf

__all__ = ["router"]

router = api_router("jobs")


@router.get("/jobs", operation_id="list_jobs", summary="List the jobs")
def jobs(studio: StudioOf, part: PartAsked, subject: OfSubject = "") -> Page[Job]:
    """Of one subject or of all, newest first."""
    return part.fetched(lambda limit, before: studio.jobs.all(subject, limit=limit, before=before))


@router.get("/jobs/{job}", operation_id="get_job", summary="See a job")
def show(studio: StudioOf, job: JobId) -> Job:
    """By its id, or the newest of a training or generation by theirs."""
    return studio.jobs.get(job)


@router.get("/jobs/{job}/history", operation_id="list_job_events", summary="See what happened to a job")
def history(studio: StudioOf, job: JobId) -> list[JobEvent]:
    """In that order."""
    return studio.jobs.events(job)


@router.get(
    "/jobs/{job}/events",
    operation_id="follow_job",
    summary="Follow a job",
    response_class=Response,
    responses={200: {"description": "Events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def events(request: Request, studio: StudioOf, job: JobId) -> Response:
    """Server-sent events: the whole job as JSON whenever it has changed, until the event ``end``.

    A comment comes every 15 s while nothing changes. A stream that breaks off without ``end`` is to be opened again.
    """
    found = studio.jobs.get(job).id
    home = str(studio.settings.home)
    return event_stream(request, live_of(request).job(found), lambda job: _written(job, home))


@router.post("/jobs/{job}/cancel", status_code=202, operation_id="cancel_job", summary="Stop a job")
def cancel(response: Response, studio: StudioOf, job: JobId) -> Job:
    """At its next safe point; what was done is kept."""
    return started(response, studio.cancel(job))


@router.post(
    "/jobs/{job}/resume",
    status_code=202,
    operation_id="resume_job",
    summary="Go on with a stopped job",
    responses=LOOKED_AT,
    response_model=Job,
)
def resume(studio: StudioOf, spending: Spending, job: JobId, wanted: Resume) -> Any:
    """From where it stopped, as a new job."""
    return spending(partial(studio.runs.resume, studio.jobs.get(job)), yes=wanted.yes)


def _written(job: Job, home: str) -> str:
    return written(job).decode().replace(home, "HOME")
