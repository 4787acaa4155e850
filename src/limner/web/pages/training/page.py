"""The Train page and the page of a run, which is live while it goes on and stays as its record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from limner.errors import Conflict, ConsentNeeded, LimnerError
from limner.records import Job, TrainingRun
from limner.studio import Studio
from limner.web.live import live_part
from limner.web.pages.training.curves import curve
from limner.web.pages.training.form import PRESETS, TrainView, form_again, read_form, train_view
from limner.web.visit import Notice, Sent, StudioOf, back, is_partial, page, wish_of

__all__ = ["router"]

router = APIRouter()

LOG_LINES = 200
MOST_PLANNED = 12


# --- before -----------------------------------------------------------------------------------------------------


@router.get("/subjects/{slug}/train")
def train_page(request: Request, studio: StudioOf, slug: str, again: str = "") -> Response:
    """What a training could be, and what it would cost; a link fills the form in, or an earlier run: ``again``."""
    form = form_again(studio.trainings.get(again)) if again else read_form(request.query_params)
    return _train(request, train_view(studio, slug, form))


@router.post("/subjects/{slug}/train")
def train(request: Request, studio: StudioOf, slug: str, sent: Sent) -> Response:
    """Start a training; or only look at the price, or leave the dataset for the photos, where the form says so."""
    form = read_form(sent)
    if sent.get("do") == "photos":
        form.dataset = ""
    view = train_view(studio, slug, form)
    if sent.get("do") in ("price", "photos"):
        return _train(request, view)
    if view.errors:
        return _train(request, view, 422)
    options = form.options()
    if view.chosen is not None:
        options["trainer"] = view.chosen.trainer
    try:
        job = studio.jobs.once(wish_of(sent), lambda: studio.train(slug, yes=view.agreed, **options))
    except LimnerError as refusal:
        return _train(request, train_view(studio, slug, form, refusal), refusal.status)
    return back(f"/trainings/{job.target}")


@router.post("/subjects/{slug}/train/offer")
def offer(request: Request, studio: StudioOf, slug: str, sent: Sent) -> Response:
    """The parts of the form that depend on the rest of it: trainers, their price, the button."""
    if not is_partial(request):
        return _train(request, train_view(studio, slug, read_form(sent)))
    return page(request, "fragments/train_offer.html", view=train_view(studio, slug, read_form(sent)))


def _train(request: Request, view: TrainView, status: int = 200) -> Response:
    return page(request, "pages/train.html", status=status, view=view, presets=PRESETS, nav="subjects")


# --- a run ------------------------------------------------------------------------------------------------------


@router.get("/trainings/{training}")
def show(request: Request, studio: StudioOf, training: str) -> Response:
    """A training: live while it goes on, its record afterwards."""
    run = studio.trainings.view(training)
    if run.training.id != training:
        return back(f"/trainings/{run.training.id}")
    return _run_page(request, studio, run)


def _run_page(
    request: Request,
    studio: Studio,
    run: TrainingRun,
    *,
    question: ConsentNeeded | None = None,
    status: int = 200,
) -> Response:
    subject = studio.subjects.get(run.training.subject)
    context = _context(run) | {"subject": subject, "question": question, "wish": uuid4().hex, "nav": "subjects"}
    return page(request, "pages/training.html", status=status, **context)


def _context(run: TrainingRun) -> dict[str, Any]:
    """What the page and its live part are drawn from."""
    training = run.training
    total = int(training.recipe.get("steps", 0))
    steps = sorted({sample.step for sample in run.samples})
    rows: dict[int, dict[str, Any]] = {}
    for sample in run.samples:
        row = rows.setdefault(sample.position, {"position": sample.position, "prompt": sample.prompt, "cells": {}})
        row["cells"][sample.step] = sample
    return {
        "run": run,
        "training": training,
        "total": total,
        "loss": curve(training.losses, total),
        "rate": curve(training.rates, total, smoothed=False),
        "sample_steps": steps,
        "sample_planned": _planned(training.recipe, steps[-1] if steps else 0),
        "sample_rows": [rows[position] for position in sorted(rows)],
        "log_lines": run.log.splitlines()[-LOG_LINES:],
    }


def _planned(recipe: Mapping[str, Any], last: int) -> list[int]:
    """The next steps at which samples will be drawn."""
    total, every = int(recipe.get("steps", 0)), int(recipe.get("sample_every", 0))
    steps = {*range(every, total, every), total} if every else {total}
    return sorted(step for step in steps if step > last)[:MOST_PLANNED]


@router.get("/trainings/{training}/live")
async def live(request: Request, studio: StudioOf, training: str) -> Response:
    """The live part of a run's page, sent whole whenever something has changed."""
    run = await asyncio.to_thread(studio.trainings.view, training)
    return live_part(
        request,
        "fragments/training_live.html",
        key=("training", run.training.id),
        look=lambda: studio.trainings.view(run.training.id),
        ended=lambda now: now.over,
        context=lambda now: _context(now) | {"live": True},
    )


@router.get("/trainings/{training}/curves")
def curves(studio: StudioOf, training: str, since: int = 0) -> Response:
    """The points of the curves after a step, for the script that draws them."""
    found = studio.trainings.get(training)
    total = int(found.recipe.get("steps", 0))
    loss, rate = curve(found.losses, total), curve(found.rates, total, smoothed=False)
    body = {
        "total": total,
        "loss": loss.since(since) if loss else None,
        "rate": rate.since(since) if rate else None,
    }
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


@router.get("/trainings/{training}/log")
def log(studio: StudioOf, training: str) -> Response:
    """The end of the trainer's log as a text file."""
    return Response(studio.trainings.log(training), media_type="text/plain; charset=utf-8")


@router.post("/trainings/{training}/cancel")
def cancel(studio: StudioOf, training: str) -> Response:
    """Ask a training to stop at its next safe point."""
    found = studio.trainings.get(training)
    job = studio.cancel(found.id)
    if job.state.ended:
        return back(f"/trainings/{found.id}", Notice("note", f"The training has ended already: it is {job.state}."))
    return back(f"/trainings/{found.id}", Notice("note", "It stops at its next safe point. What was done is kept."))


@router.post("/trainings/{training}/resume")
def resume(request: Request, studio: StudioOf, training: str, sent: Sent) -> Response:
    """Go on with a stopped training. Where that is paid anew the page asks first."""
    run = studio.trainings.view(training)
    path = f"/trainings/{run.training.id}"
    agreed = sent.get("yes") == "yes"

    def go_on() -> Job:
        if run.job is not None and run.job.kind != "train":
            return studio.resume(run.job.id, yes=agreed)
        return studio.trainings.resume(run.training.id, yes=agreed)

    try:
        studio.jobs.once(wish_of(sent), go_on)
    except ConsentNeeded as question:
        return _run_page(request, studio, run, question=question, status=question.status)
    except Conflict as refusal:
        return back(path, Notice("warning", refusal.message, refusal.remedy))
    return back(path, Notice("note", "The training goes on."))
