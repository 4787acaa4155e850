"""Jobs: what runs, waits and has ended, and each with its stages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import quote, urlencode
from uuid import uuid4

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from limner.errors import Conflict, ConsentNeeded
from limner.records import Job, JobEvent
from limner.studio import Studio
from limner.types import UNDER_WAY, JobState
from limner.web.live import live_part
from limner.web.visit import Notice, Sent, StudioOf, Visit, back, page, wish_of

__all__ = ["JobLine", "Running", "line_of", "router", "running"]

router = APIRouter()

MOST = 60
MOST_RUNNING = 1000
TABS = {
    "all": ("All", tuple(JobState)),
    "now": ("Now", UNDER_WAY),
    "stopped": ("Stopped", (JobState.FAILED, JobState.CANCELLED)),
    "done": ("Done", (JobState.DONE,)),
}
KINDS = {
    "intake": "Take in photos of {}",
    "train": "Train {}",
    "publish": "Publish {}",
    "import": "Import a LoRA of {}",
    "generate": "Draw pictures of {}",
    "run": "Photos to pictures of {}",
    "verify": "Verify everything",
}
STAGES = {
    "intake": "Take in photos",
    "freeze": "Freeze the dataset",
    "train": "Train",
    "publish": "Publish",
    "import": "Import the LoRA",
    "generate": "Draw pictures",
    "verify": "Verify everything",
}


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job as the list shows it: what it does in words, and where to see what it makes."""

    job: Job
    title: str
    makes: str
    makes_title: str

    @property
    def resumable(self) -> bool:
        return self.job.state in (JobState.FAILED, JobState.CANCELLED) and not self.job.resumed_as


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
    elif job.kind == "import":
        # Until it is done there may be no such subject.
        made = str(job.result.get("lora", ""))
        makes, makes_title = (f"/loras/{quote(made)}", "The LoRA") if made else ("", "")
    elif job.kind == "verify":
        makes, makes_title = "/system#verified", "System health"
    elif job.subject:
        makes, makes_title = f"/subjects/{quote(job.subject)}/photos", "The photos"
    return JobLine(job, title, makes, makes_title)


@dataclass(frozen=True, slots=True)
class Running:
    """Work of one sort for one subject that goes on now: the job that is furthest, and how many more there are."""

    line: JobLine
    more: int


def running(studio: Studio, slug: str = "", *, but: str = "") -> list[Running]:
    """What has not ended, of one sort and subject together: the cells of a grid must not hide a training."""
    groups: dict[tuple[str, str | None], list[Job]] = {}
    for job in studio.jobs.all(slug, limit=MOST_RUNNING, states=UNDER_WAY):
        if job.kind != but:
            groups.setdefault((job.kind, job.subject), []).append(job)
    found = [Running(line_of(max(some, key=_furthest)), len(some) - 1) for some in groups.values()]
    return sorted(found, key=lambda one: _furthest(one.line.job), reverse=True)


def _furthest(job: Job) -> tuple[bool, float]:
    return job.state is JobState.RUNNING, -job.created_at.timestamp()


Before = Annotated[str, Query(max_length=100)]
"""The time and id of the last job of the part before, joined by a comma."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of the jobs, newest first, and where the part with older ones begins ("" if there are none)."""

    lines: list[JobLine]
    older: str


def _part(studio: Studio, slug: str, state: str, before: str) -> _Part:
    found = studio.jobs.all(slug, limit=MOST + 1, states=TABS[state][1], before=_place(before))
    last = found[MOST - 1] if len(found) > MOST else None
    return _Part([line_of(job) for job in found[:MOST]], f"{last.created_at.isoformat()},{last.id}" if last else "")


def _place(before: str) -> tuple[datetime, str] | None:
    at, _, job = before.partition(",")
    try:
        return (datetime.fromisoformat(at), job) if job else None
    except ValueError:
        return None  # of a link that was cut off: begin with the newest


@router.get("/jobs")
def jobs(request: Request, studio: StudioOf, state: str = "all", subject: str = "", before: Before = "") -> Response:
    """Jobs, newest first; the first part of them is live."""
    state = state if state in TABS else "all"
    part = _part(studio, subject, state, before)
    asked = {"state": state, **({"subject": subject} if subject else {})}
    return page(
        request,
        "pages/jobs.html",
        lines=part.lines,
        older=f"/jobs?{urlencode({**asked, 'before': part.older})}" if part.older else "",
        newest=f"/jobs?{urlencode(asked)}" if before else "",
        tabs=[(key, words, f"/jobs?{urlencode({'state': key})}") for key, (words, _) in TABS.items()],
        state=state,
        subject=subject,
        query=urlencode(asked),
        nav="jobs",
    )


@router.get("/jobs/live")
async def jobs_live(
    request: Request, visit: Visit, studio: StudioOf, state: str = "all", subject: str = ""
) -> Response:
    """The list of jobs whenever it has changed."""
    state = state if state in TABS else "all"
    return live_part(
        request,
        "fragments/jobs_list.html",
        key=("jobs", visit.owner, subject, state),
        look=lambda: _part(studio, subject, state, "").lines,
        ended=lambda _: False,
        context=lambda lines: {"lines": lines},
        works=lambda lines: any(not line.job.state.ended for line in lines),
    )


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with its events, and the grid that it draws a cell of ("" for none)."""

    line: JobLine
    events: tuple[JobEvent, ...]
    waiting: tuple[str, ...]
    grid: str


def _view(studio: Studio, job: str) -> JobView:
    found = studio.jobs.get(job)
    grids = studio.grids.list(generation=found.target, limit=1) if found.kind == "generate" else ()
    waiting = tuple(found.stage_names[len(found.stages) :])
    return JobView(line_of(found), tuple(studio.jobs.events(found.id)), waiting, grids[0].id if grids else "")


@router.get("/jobs/{job}")
def show(request: Request, studio: StudioOf, job: str) -> Response:
    """One job with its stages; live while it goes on."""
    view = _view(studio, job)
    if view.line.job.id != job:
        return back(f"/jobs/{view.line.job.id}")
    return _page(request, view)


def _page(request: Request, view: JobView, *, question: ConsentNeeded | None = None, status: int = 200) -> Response:
    return page(
        request,
        "pages/job.html",
        status=status,
        view=view,
        stages=STAGES,
        question=question,
        wish=uuid4().hex,
        nav="jobs",
    )


@router.get("/jobs/{job}/live")
async def live(request: Request, studio: StudioOf, job: str) -> Response:
    """One job whenever it has changed."""
    found = await asyncio.to_thread(studio.jobs.get, job)
    return live_part(
        request,
        "fragments/job_live.html",
        key=("job page", found.id),
        look=lambda: _view(studio, found.id),
        ended=lambda view: view.line.job.state.ended,
        context=lambda view: {"view": view, "stages": STAGES},
    )


@router.post("/jobs/{job}/cancel")
def cancel(studio: StudioOf, job: str) -> Response:
    """Ask a job to stop at its next safe point."""
    found = studio.cancel(job)
    words = (
        f"The job has ended already: it is {found.state}."
        if found.state.ended
        else "It stops at its next safe point. What was done is kept."
    )
    return back(f"/jobs/{found.id}", Notice("note", words))


@router.post("/jobs/{job}/resume")
def resume(request: Request, studio: StudioOf, job: str, sent: Sent) -> Response:
    """Do a stopped job again from where it stopped, as a new job."""
    agreed = sent.get("yes") == "yes"
    try:
        again = studio.jobs.once(wish_of(sent), lambda: studio.resume(job, yes=agreed))
    except ConsentNeeded as question:
        return _page(request, _view(studio, job), question=question, status=question.status)
    except Conflict as refusal:
        return back(f"/jobs/{job}", Notice("warning", refusal.message, refusal.remedy))
    return back(f"/jobs/{again.id}", None if again.state.ended else Notice("note", "The job goes on."))
