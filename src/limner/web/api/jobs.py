"""Jobs: long work, followed as it goes."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import Response

from limner.records import Job, JobEvent, WhatIf
from limner.web.api.cursors import Cursor, Limit, link_next, place_after, place_of
from limner.web.api.idempotency import Once
from limner.web.api.path_parameters import JobId, OfSubject, api_router, looked_at, started, written
from limner.web.api.shapes import Page, Resume
from limner.web.api.spending import WhatIfAsked, refuse_dear
from limner.web.live import event_stream, live_of
from limner.web.visit import StudioOf, Visit

__all__ = ["router"]

router = api_router("jobs")


@router.get("/jobs", operation_id="list_jobs", summary="List the jobs")
def jobs(
    request: Request,
    response: Response,
    studio: StudioOf,
    subject: OfSubject = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Page[Job]:
    """Of one subject or of all, newest first."""
    before = place_after(request, cursor) if cursor else None
    found = studio.jobs.all(subject, limit=limit + 1, before=before)
    part = found[:limit]
    after = place_of(request, part[-1].created_at, part[-1].id) if len(found) > limit else None
    link_next(request, response, after)
    return Page(list(part), after)


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
    responses={200: {"model": WhatIf, "description": "What would be done, with ``what_if``"}},
    response_model=Job,
)
def resume(
    response: Response,
    visit: Visit,
    studio: StudioOf,
    once: Once,
    job: JobId,
    wanted: Resume,
    what_if: WhatIfAsked = False,
) -> Any:
    """From where it stopped, as a new job."""
    stopped = studio.jobs.get(job)
    if what_if:
        return looked_at(studio.runs.resume(stopped, what_if=True))
    refuse_dear(visit, None, lambda: studio.runs.resume(stopped, what_if=True).estimate)
    return started(response, once(studio, lambda: studio.runs.resume(stopped, yes=wanted.yes)))


def _written(job: Job, home: str) -> str:
    return written(job).decode().replace(home, "HOME")
