"""Jobs: what runs, waits and has ended, and each with its stages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, urlencode
from uuid import uuid4

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from limner.errors import Conflict, ConsentNeeded
from limner.records import Job, JobEvent
from limner.studio import Studio
from limner.types import JobState
from limner.web.access.identity import Visitor
from limner.web.live import event_stream, live_of
from limner.web.visit import Notice, StudioOf, Visit, back, page

__all__ = ["JobLine", "line_of", "router"]

router = APIRouter()

MOST = 60
TABS = {
    "all": ("All", tuple(JobState)),
    "now": ("Now", (JobState.WAITING, JobState.RUNNING)),
    "stopped": ("Stopped", (JobState.FAILED, JobState.CANCELLED)),
    "done": ("Done", (JobState.DONE,)),
}
KINDS = {
    "intake": "Take in photos of {}",
    "train": "Train {}",
    "publish": "Publish {}",
    "generate": "Draw pictures of {}",
    "run": "Photos to pictures of {}",
    "grid": "Draw a grid of {}",
}
STAGES = {
    "intake": "Take in photos",
    "freeze": "Freeze the dataset",
    "train": "Train",
    "publish": "Publish",
    "generate": "Draw pictures",
}


async def _sent(request: Request) -> FormData:
    return await request.form()


Sent = Annotated[FormData, Depends(_sent)]


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job as the list shows it: what it does in words, and where to see what it makes."""

    job: Job
    title: str
    makes: str
    makes_title: str

    @property
    def resumable(self) -> bool:
        return self.job.state in (JobState.FAILED, JobState.CANCELLED)


def line_of(job: Job) -> JobLine:
    """A job in words."""
    words = KINDS.get(job.kind, f"{job.kind} {{}}")
    title = words.format(job.subject) if job.subject else words.removesuffix(" {}").removesuffix(" of")
    makes, makes_title = "", ""
    if job.kind in ("train", "run") and job.target:
        makes, makes_title = f"/trainings/{quote(job.target)}", "The run"
    elif job.kind == "generate" and job.target:
        makes, makes_title = f"/generations/{quote(job.target)}", "The pictures"
    elif job.kind == "publish" and job.target:
        makes, makes_title = f"/loras/{quote(job.target)}", "The LoRA"
    elif job.subject:
        makes, makes_title = f"/subjects/{quote(job.subject)}/photos", "The photos"
    return JobLine(job, title, makes, makes_title)


def _lines(studio: Studio, slug: str, state: str) -> list[JobLine]:
    wanted = TABS[state][1]
    return [line_of(job) for job in studio.jobs(slug, limit=MOST * 4) if job.state in wanted][:MOST]


@router.get("/jobs")
def jobs(request: Request, visit: Visit, studio: StudioOf, state: str = "all", subject: str = "") -> Response:
    """The newest jobs; live."""
    state = state if state in TABS else "all"
    query = urlencode({"state": state, **({"subject": subject} if subject else {})})
    return page(
        request,
        visit,
        "pages/jobs.html",
        lines=_lines(studio, subject, state),
        tabs=[(key, words, f"/jobs?{urlencode({'state': key})}") for key, (words, _) in TABS.items()],
        state=state,
        subject=subject,
        query=query,
        nav="jobs",
    )


@router.get("/jobs/live")
async def jobs_live(
    request: Request, visit: Visit, studio: StudioOf, state: str = "all", subject: str = ""
) -> Response:
    """The list of jobs whenever it has changed."""
    state = state if state in TABS else "all"
    template = request.app.state.templates.get_template("fragments/jobs_list.html")

    def render(lines: list[JobLine]) -> str:
        html: str = template.render(lines=lines, csrf_token=visit.csrf)
        return html

    source = live_of(request).follow(
        ("jobs", visit.owner, subject, state),
        lambda: _lines(studio, subject, state),
        lambda _: False,
        lambda lines: any(not line.job.state.ended for line in lines),
    )
    return event_stream(request, source, render)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with its events."""

    line: JobLine
    events: tuple[JobEvent, ...]
    waiting: tuple[str, ...]


def _view(studio: Studio, job: str) -> JobView:
    found = studio.job(job)
    return JobView(line_of(found), tuple(studio.job_events(found.id)), tuple(found.stage_names[len(found.stages) :]))


@router.get("/jobs/{job}")
def show(request: Request, visit: Visit, studio: StudioOf, job: str) -> Response:
    """One job with its stages; live while it goes on."""
    view = _view(studio, job)
    if view.line.job.id != job:
        return back(f"/jobs/{view.line.job.id}")
    return _page(request, visit, view)


def _page(
    request: Request, visit: Visitor, view: JobView, *, question: ConsentNeeded | None = None, status: int = 200
) -> Response:
    context = {"view": view, "stages": STAGES, "question": question, "wish": uuid4().hex, "nav": "jobs"}
    return page(request, visit, "pages/job.html", status=status, **context)


@router.get("/jobs/{job}/live")
async def live(request: Request, visit: Visit, studio: StudioOf, job: str) -> Response:
    """One job whenever it has changed."""
    found = await asyncio.to_thread(studio.job, job)
    template = request.app.state.templates.get_template("fragments/job_live.html")

    def render(view: JobView) -> str:
        html: str = template.render(view=view, stages=STAGES, csrf_token=visit.csrf)
        return html

    source = live_of(request).follow(
        ("job page", found.id), lambda: _view(studio, found.id), lambda view: view.line.job.state.ended
    )
    return event_stream(request, source, render)


@router.post("/jobs/{job}/cancel")
def cancel(visit: Visit, studio: StudioOf, job: str) -> Response:
    """Ask a job to stop at its next safe point."""
    del visit
    found = studio.cancel(job)
    words = (
        f"The job has ended already: it is {found.state}."
        if found.state.ended
        else "It stops at its next safe point. What was done is kept."
    )
    return back(f"/jobs/{found.id}", Notice("note", words))


@router.post("/jobs/{job}/resume")
def resume(request: Request, visit: Visit, studio: StudioOf, job: str, sent: Sent) -> Response:
    """Do a stopped job again from where it stopped, as a new job."""
    agreed = sent.get("yes") == "yes"
    try:
        again = studio.once(str(sent.get("wish") or uuid4().hex), lambda: studio.resume(job, yes=agreed))
    except ConsentNeeded as question:
        return _page(request, visit, _view(studio, job), question=question, status=question.status)
    except Conflict as refusal:
        return back(f"/jobs/{job}", Notice("warning", refusal.message, refusal.remedy))
    return back(f"/jobs/{again.id}", Notice("note", "The job goes on."))
