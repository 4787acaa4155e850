"""Grids: pictures side by side, live while they are drawn, voted on by keyboard, and a checkpoint picked."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from limner.errors import ConsentNeeded, InputRefused, LimnerError
from limner.records import Grid, Ranking
from limner.studio import Studio
from limner.web.files.responses import made_file
from limner.web.live import live_part
from limner.web.pages.grids.compare_form import CompareForm, read_compare
from limner.web.visit import Notice, Sent, StudioOf, back, is_partial, page, wish_of

__all__ = ["router"]

router = APIRouter()

MOST_SKIPPED = 300
MOST_LISTED = 30


# --- checkpoints of a training ------------------------------------------------------------------------------------


@router.get("/trainings/{training}/compare")
def compare_page(request: Request, studio: StudioOf, training: str) -> Response:
    """Which checkpoints, strengths, prompts and seed to compare; and what that costs."""
    found = studio.trainings.get(training)
    if found.id != training:
        return back(f"/trainings/{found.id}/compare")
    return _compare(request, studio, CompareForm.first(studio, found))


@router.post("/trainings/{training}/compare")
def compare(request: Request, studio: StudioOf, training: str, sent: Sent) -> Response:
    """Start a comparison; or only look at the price, where the form says so."""
    form = read_compare(sent, CompareForm.first(studio, studio.trainings.get(training)))
    if sent.get("do") == "price":
        return _compare(request, studio, form)
    try:
        grid = form.start(studio, yes=sent.get("yes") == "yes", wish=wish_of(sent))
    except ConsentNeeded as question:
        form.question = question.message
        return _compare(request, studio, form, question.status)
    except LimnerError as refusal:
        form.refuse(refusal)
        return _compare(request, studio, form, refusal.status)
    return back(f"/grids/{grid.id}")


def _compare(request: Request, studio: Studio, form: CompareForm, status: int = 200) -> Response:
    if not form.refused:
        form.look_at_price(studio)
    if is_partial(request):
        return page(request, "fragments/compare_price.html", status=200, form=form)
    grids = studio.grids.list(form.training.id)
    subject = studio.subjects.get(form.training.subject)
    return page(request, "pages/compare.html", status=status, form=form, grids=grids, subject=subject, nav="subjects")


@router.post("/trainings/{training}/pick")
def pick(studio: StudioOf, training: str, sent: Sent) -> Response:
    """Make a checkpoint the subject's next version."""
    step = str(sent.get("step", ""))
    if not step.isdecimal() or len(step) > 9:
        raise InputRefused("Which checkpoint?", remedy="Choose a step.", thing="step")
    lora = studio.trainings.pick(training, int(step))
    return back(f"/loras/{lora.name}", Notice("note", f"Step {int(step)} is {lora.name} now.", "Publish it from here."))


# --- all grids ----------------------------------------------------------------------------------------------------


@router.get("/grids")
def grids(request: Request, studio: StudioOf, before: str = "") -> Response:
    """The grids, newest first; those older than the one named by ``before``."""
    last = studio.grids.grid(before) if before else None
    found = studio.grids.list(limit=MOST_LISTED + 1, before=(last.created_at, last.id) if last else None)
    shown = found[:MOST_LISTED]
    older = f"/grids?before={shown[-1].id}" if len(found) > MOST_LISTED else ""
    return page(request, "pages/grids.html", grids=shown, older=older, newest="/grids" if before else "", nav="create")


# --- a grid -------------------------------------------------------------------------------------------------------


@router.get("/grids/{grid}")
def show(request: Request, studio: StudioOf, grid: str) -> Response:
    """A grid with its pictures, and what the votes say."""
    found = studio.grids.grid(grid)
    if found.id != grid:
        return back(f"/grids/{found.id}")
    return page(request, "pages/grid.html", **_context(studio, found), nav=_nav(found))


def _nav(grid: Grid) -> str:
    return "subjects" if grid.training else "create"


def _context(studio: Studio, grid: Grid) -> dict[str, Any]:
    """What the page and its live part are drawn from."""
    training = studio.trainings.get(grid.training) if grid.training else None
    return {
        "grid": grid,
        "training": training,
        "picked": {one.step: one.lora for one in studio.trainings.checkpoints(training.id)} if training else {},
        "errors": _errors(grid),
        "ranking": studio.grids.ranking(grid.id) if grid.votes else (),
    }


def _errors(grid: Grid) -> list[tuple[str, str, int]]:
    """What went wrong, each once: message, remedy, and in how many cells."""
    counted: dict[tuple[str, str], int] = {}
    for made in grid.generations:
        if made.error and made.error.code != "cancelled":
            words = (made.error.message, made.error.remedy)
            counted[words] = counted.get(words, 0) + 1
    return [(*words, count) for words, count in counted.items()]


@router.get("/grids/{grid}/live")
async def live(request: Request, studio: StudioOf, grid: str) -> Response:
    """The part of a grid's page that changes while it is drawn."""
    first = await asyncio.to_thread(studio.grids.grid, grid)
    context = await asyncio.to_thread(_context, studio, first)
    return live_part(
        request,
        "fragments/grid_live.html",
        key=("grid", first.id),
        look=lambda: studio.grids.grid(first.id),
        ended=lambda now: now.state.ended,
        context=lambda now: {**context, "grid": now, "errors": _errors(now), "request": request},
    )


@router.post("/grids/{grid}/cancel")
def cancel(studio: StudioOf, grid: str) -> Response:
    """Stop what is not drawn yet."""
    found = studio.grids.cancel(grid)
    return back(f"/grids/{found.id}", Notice("note", "It stops. Pictures that are there stay."))


@router.post("/grids/{grid}/delete")
def delete(studio: StudioOf, grid: str) -> Response:
    """Forget a grid; its pictures stay."""
    found = studio.grids.grid(grid)
    studio.grids.delete(found.id)
    to = f"/trainings/{found.training}/compare" if found.training else "/grids"
    return back(to, Notice("note", "The grid is gone. Its pictures are in the gallery."))


@router.get("/grids/{grid}/sheet")
def sheet(studio: StudioOf, grid: str) -> Response:
    """The whole grid as one labelled picture."""
    found = studio.grids.grid(grid)
    return made_file(lambda folder: studio.grids.sheet(found.id, folder / f"{found.id}.png"), "image/png")


@router.get("/grids/{grid}/zip")
def archive(studio: StudioOf, grid: str) -> Response:
    """All pictures of a grid, each named by its cell."""
    found = studio.grids.grid(grid)
    return made_file(lambda folder: studio.grids.archive(found.id, folder / f"{found.id}.zip"), "application/zip")


# --- votes --------------------------------------------------------------------------------------------------------


@router.get("/grids/{grid}/vote")
def vote_page(request: Request, studio: StudioOf, grid: str, skipped: str = "", said: str = "") -> Response:
    """Two pictures to choose between. What they are is told after the vote."""
    return _vote(request, studio, studio.grids.grid(grid), _pairs(skipped), said)


@router.post("/grids/{grid}/vote")
def vote(request: Request, studio: StudioOf, grid: str, sent: Sent) -> Response:
    """Take a vote, a skip or an undo, and show the next pair."""
    found = studio.grids.grid(grid)
    skipped = _pairs(str(sent.get("skipped", "")))
    do = str(sent.get("do", ""))
    if do == "undo":
        taken = studio.grids.undo_vote(found.id)
        said = "undone" if taken is not None else "none"
    elif do == "skip":
        skipped = (skipped + _pairs(f"{sent.get('left', '')}-{sent.get('right', '')}"))[-MOST_SKIPPED:]
        said = "skipped"
    else:
        left, right, after = (_number(sent.get(name)) for name in ("left", "right", "after"))
        winner, loser = (left, right) if do == "left" else (right, left)
        studio.grids.vote(found.id, winner, loser, after=after)
        said = "voted"
    if is_partial(request):
        return _vote(request, studio, studio.grids.grid(found.id), skipped, said)
    words = ",".join(f"{one}-{other}" for one, other in skipped)
    return back(f"/grids/{found.id}/vote?said={said}{f'&skipped={words}' if words else ''}")


def _vote(request: Request, studio: Studio, grid: Grid, skipped: list[tuple[int, int]], said: str) -> Response:
    pair = studio.grids.next_pair(grid.id, skipped=skipped)
    votes = studio.grids.votes(grid.id)
    context: dict[str, Any] = {
        "grid": grid,
        "pair": pair,
        "last": votes[0] if votes and said == "voted" else None,
        "said": {"undone": "The last vote is taken back.", "skipped": "Skipped.", "none": "No vote is left."}.get(said),
        "skipped": ",".join(f"{one}-{other}" for one, other in skipped),
        "skips": len(skipped),
        "decided": _decided(studio.grids.ranking(grid.id)) if votes else "",
    }
    template = "fragments/vote.html" if is_partial(request) else "pages/vote.html"
    return page(request, template, **context, nav=_nav(grid))


def _decided(rankings: tuple[Ranking, ...]) -> str:
    """What is decided, without naming it while others are still compared."""
    return ", ".join(one.axis or "the combination" for one in rankings if one.decided)


def _pairs(words: str) -> list[tuple[int, int]]:
    """``12-15,17-20`` as pairs of picture numbers; what is none is left out."""
    found = re.findall(r"(?<!\d)(\d{1,15})-(\d{1,15})(?!\d)", words[: MOST_SKIPPED * 32])
    return [(int(one), int(other)) for one, other in found]


def _number(value: object) -> int:
    words = str(value or "")
    if not words.isdecimal() or len(words) > 15:
        raise InputRefused("Which picture is better?", remedy="Load the page again, then choose one.", thing="vote")
    return int(words)
