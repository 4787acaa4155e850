"""Create: a prompt, loras and a generator become pictures, which arrive on the page as they are drawn."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from limner.errors import Conflict, ConsentNeeded, LimnerError, NotFound
from limner.studio import Studio
from limner.web.live import live_part
from limner.web.pages.create.form import CreateForm, from_link, from_sent
from limner.web.pages.create.grid import start_grid
from limner.web.pages.create.results import Results, results_of, several_of
from limner.web.pages.create.view import CreateView, view_of
from limner.web.visit import Notice, Sent, StudioOf, back, is_from_elsewhere, is_partial, page, wish_of

__all__ = ["router"]

router = APIRouter()

GRIDS_SHOWN = 5
MOST_FOLLOWED = 50
"""Generations that one page follows."""


@router.get("/create")
def create(request: Request, studio: StudioOf) -> Response:
    """The form, as a link fills it in; with the pictures of the generation that it came from."""
    form = from_link(studio, request.query_params)
    came_from = request.query_params.get("from", "")
    shown: Results | None = None
    if came_from.startswith("generation_"):
        try:
            shown = results_of(studio, came_from)
        except NotFound:
            shown = None
    return _form_page(request, studio, view_of(studio, form, look=not is_from_elsewhere(request)), shown=shown)


@router.post("/create")
def start(request: Request, studio: StudioOf, sent: Sent) -> Response:
    """Start a generation; or only look at the prices, where the form says so."""
    form = from_sent(sent)
    if sent.get("do") == "price":
        return _form_page(request, studio, view_of(studio, form))
    view = view_of(studio, form)
    if view.errors:
        return _form_page(request, studio, view, status=422)
    if sent.get("do") == "grid":
        return _grid(request, studio, view, wish_of(sent))
    try:
        options = form.options(view.base)
        job = studio.jobs.once(wish_of(sent), lambda: studio.generate(form.prompt, yes=view.agreed, **options))
    except LimnerError as refused:
        view = view_of(studio, form, refused)
        return _form_page(request, studio, view, status=refused.status)
    if not is_partial(request):
        return back(f"/generations/{job.target}")
    # What else is drawn on the page is followed by the same stream.
    following = [job.target, *map(str, sent.getlist("following"))][:MOST_FOLLOWED]
    return _started(request, studio, form, job.target, following)


def _grid(request: Request, studio: Studio, view: CreateView, wish: str) -> Response:
    """Draw the form's wish as a grid, or say why not and what it would cost."""
    try:
        grid = start_grid(studio, view.grid, view.form.prompt, view.wanted, wish)
    except LimnerError as refused:
        view.grid.error = refused.message if isinstance(refused, ConsentNeeded) else str(refused)
        return _form_page(request, studio, view, status=refused.status)
    if is_partial(request):
        return Response(headers={"HX-Redirect": f"/grids/{grid}"})
    return back(f"/grids/{grid}")


def _form_page(
    request: Request,
    studio: Studio,
    view: CreateView,
    *,
    shown: Results | None = None,
    status: int = 200,
) -> Response:
    recent = studio.generations.images(limit=12) if shown is None else []
    template = "fragments/create_form.html" if is_partial(request) else "pages/create.html"
    grids = studio.grids.list(limit=GRIDS_SHOWN) if not is_partial(request) else ()
    answer = page(request, template, status=status, view=view, results=shown, recent=recent, grids=grids)
    if is_partial(request):
        # What is refused takes the form's place; the pictures below it stay.
        answer.headers["HX-Retarget"] = "#create-form"
        answer.headers["HX-Reswap"] = "outerMorph"
    return answer


def _started(request: Request, studio: Studio, form: CreateForm, generation: str, ids: list[str]) -> Response:
    """The new generation for the top of the results, and a form that is ready for the next wish."""
    shown = results_of(studio, generation)
    following = CreateForm().wish
    form.seed = str(shown.generation.seed) if form.lock else ""
    answer = page(request, "fragments/create_started.html", results=shown, form=form, wish=following, ids=ids)
    kept = {"from": generation} if form.lock else {"from": generation, "vary": "seed"}
    answer.headers["HX-Push-Url"] = f"/create?{urlencode(kept)}"
    return answer


@router.post("/create/choices")
def prices(request: Request, studio: StudioOf, sent: Sent) -> Response:
    """The parts of the form that depend on the rest of it: loras that go together, shapes, generators, the price."""
    return page(request, "fragments/create_parts.html", view=view_of(studio, from_sent(sent)))


# --- a generation -----------------------------------------------------------------------------------------------


@router.get("/generations/live")
async def live(
    request: Request,
    studio: StudioOf,
    ids: Annotated[list[str], Query(alias="id", min_length=1, max_length=MOST_FOLLOWED)],
) -> Response:
    """The pictures of all requests that a page shows as they come, as server-sent events.

    One stream however many they are: a browser has six connections to a server.
    """
    wanted = tuple(sorted({one.generation.id for one in await asyncio.to_thread(several_of, studio, ids)}))
    shown: dict[str, Results] = {}

    def news(now: tuple[Results, ...]) -> dict[str, Any]:
        several = [one for one in now if shown.get(one.generation.id) != one]
        shown.update((one.generation.id, one) for one in several)
        return {"several": several, "question": None}

    return live_part(
        request,
        "fragments/generations_live.html",
        key=("generations", wanted),
        look=lambda: several_of(studio, wanted),
        ended=lambda now: all(one.ended for one in now),
        context=news,
    )


@router.get("/generations/{generation}")
def show(request: Request, studio: StudioOf, generation: str) -> Response:
    """The pictures of one request, live while it is drawn."""
    found = results_of(studio, generation)
    if found.generation.id != generation:
        return back(f"/generations/{found.generation.id}")
    return _generation_page(request, studio, found)


def _generation_page(
    request: Request, studio: Studio, found: Results, *, question: LimnerError | None = None
) -> Response:
    """The page of a generation, with a question that is open."""
    grids = studio.grids.list(generation=found.generation.id)
    status = 402 if question else 200
    return page(
        request, "pages/generation.html", status=status, results=found, question=question, grids=grids, heading=False
    )


@router.post("/generations/{generation}/cancel")
def cancel(request: Request, studio: StudioOf, generation: str, sent: Sent) -> Response:
    """Stop drawing; what is drawn is kept."""
    found = results_of(studio, generation)
    if found.job is not None and not found.ended:
        studio.cancel(found.job)
    if is_partial(request):
        return Response(status_code=204)
    return back(_next(sent, found), Notice("note", "Stopping. Pictures that are drawn are kept."))


@router.post("/generations/{generation}/resume")
def resume(request: Request, studio: StudioOf, generation: str, sent: Sent) -> Response:
    """Draw what is not drawn yet."""
    found = results_of(studio, generation)
    if found.job is None:
        raise NotFound("The job that drew this is gone.", remedy="Ask for the pictures anew.", thing=generation)
    if found.ended and found.drawn < found.generation.count:
        stopped = found.job
        try:
            studio.jobs.once(wish_of(sent), lambda: studio.resume(stopped, yes=bool(sent.get("yes"))))
        except ConsentNeeded as question:
            return _generation_page(request, studio, found, question=question)
        except Conflict as refusal:
            return back(f"/generations/{found.generation.id}", Notice("warning", refusal.message, refusal.remedy))
    return back(f"/generations/{found.generation.id}")


@router.post("/generations/{generation}/decide")
def decide(studio: StudioOf, generation: str, sent: Sent) -> Response:
    """The visitor's word on a picture that may have been paid; then the rest is drawn where that is wanted."""
    found = results_of(studio, generation)
    tag = str(sent.get("tag", ""))
    if tag not in {one.tag for one in found.undecided}:
        raise NotFound("There is nothing to decide about this picture.", remedy="Load the page again.", thing=tag)
    studio.payments.decide(tag, str(sent.get("decision", "")))
    return back(f"/generations/{found.generation.id}", Notice("note", "Noted. Go on to draw what is left."))


def _next(sent: FormData, found: Results) -> str:
    to = str(sent.get("next", ""))
    return to if to.startswith(("/create", "/generations/")) else f"/generations/{found.generation.id}"
