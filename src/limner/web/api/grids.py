"""Grids: pictures of one wish over two axes, votes between them, and what the votes say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Request
from fastapi.responses import Response
from pydantic import Field, StrictBool, StrictFloat, StrictInt

from limner.errors import NotFound
from limner.records import Grid, GridAxis, GridPlan, Pair, Ranking, Vote
from limner.web.api import files
from limner.web.api.cursors import Cursor, Limit, link_next, place_after, place_of
from limner.web.api.generations import PictureWish, picture_options
from limner.web.api.idempotency import Once
from limner.web.api.path_parameters import GridId, api_router, looked_at
from limner.web.api.shapes import MOST_INT, Amount, Body, Page
from limner.web.api.spending import WhatIfAsked, refuse_dear
from limner.web.files.responses import made_file
from limner.web.visit import StudioOf, Visit

__all__ = ["router"]

router = api_router("grids")

AxisName = Literal["scale", "steps", "seed", "guidance", "checkpoint", "lora", "prompt"]


class AxisWanted(Body):
    """What differs along one side of a grid. Scale, checkpoint and lora are those of the first lora."""

    name: AxisName
    values: list[
        Annotated[StrictInt, Field(ge=-MOST_INT, le=MOST_INT)] | StrictFloat | Annotated[str, Field(max_length=20_000)]
    ] = Field(min_length=1, max_length=30)


class GridWish(PictureWish):
    """A grid to be drawn: pictures of the same wish that differ along one or two axes."""

    prompts: list[Annotated[str, Field(min_length=1, max_length=20_000)]] = Field(min_length=1, max_length=20)
    x: AxisWanted
    y: AxisWanted | None = None
    training: str = Field(default="", max_length=64, description="The training whose checkpoints are an axis.")
    yes: StrictBool = Field(default=False, description="Agree to the price of all pictures together.")
    max_cost: Amount | None = Field(default=None, description="US dollars for all; refused if the estimate is higher.")


class VoteGiven(Body):
    """Which of two pictures is better. ``after``: how many votes there were when they were shown."""

    winner: StrictInt = Field(ge=0, le=MOST_INT)
    loser: StrictInt = Field(ge=0, le=MOST_INT)
    after: StrictInt | None = Field(default=None, ge=0, le=MOST_INT)


@router.get("/grids", operation_id="list_grids", summary="List the grids")
def grids(
    request: Request,
    response: Response,
    studio: StudioOf,
    limit: Limit = 50,
    cursor: Cursor = "",
    training: Annotated[str, Query(max_length=80, description="Only those of this training.")] = "",
) -> Page[Grid]:
    """Newest first."""
    before = place_after(request, cursor) if cursor else None
    found = studio.grids.list(training, limit=limit + 1, before=before)
    part = found[:limit]
    after = place_of(request, part[-1].created_at, part[-1].id) if len(found) > limit else None
    link_next(request, response, after)
    return Page(list(part), after)


@router.post(
    "/grids",
    status_code=202,
    operation_id="start_grid",
    summary="Draw a grid",
    responses={200: {"model": GridPlan, "description": "What would be done, with ``what_if``"}},
    response_model=Grid,
)
def start(
    response: Response, visit: Visit, studio: StudioOf, once: Once, wanted: GridWish, what_if: WhatIfAsked = False
) -> Any:
    """One generation a cell and prompt, all of them or none, asked about as one sum."""
    axes = {"x": _axis(wanted.x), "y": _axis(wanted.y) if wanted.y else None, "training": wanted.training}
    options: dict[str, Any] = {**axes, **picture_options(wanted)}
    if what_if:
        return looked_at(studio.grids.plan(wanted.prompts, **options))
    refuse_dear(visit, wanted.max_cost, lambda: studio.grids.price(wanted.prompts, **options)[1])
    made = studio.grids.start(wanted.prompts, yes=wanted.yes, wish=once.wish, **options)
    response.headers["Location"] = f"/api/v1/grids/{made.id}"
    return made


@router.get("/grids/{grid}", operation_id="get_grid", summary="See a grid")
def show(studio: StudioOf, grid: GridId) -> Grid:
    """With the pictures that are there by now."""
    return studio.grids.grid(grid)


@router.delete("/grids/{grid}", status_code=204, operation_id="delete_grid", summary="Forget a grid and its votes")
def delete(studio: StudioOf, grid: GridId) -> None:
    """Its pictures stay."""
    studio.grids.delete(grid)


@router.get("/grids/{grid}/jobs", operation_id="list_grid_jobs", summary="List the jobs of a grid that go on")
def jobs(studio: StudioOf, grid: GridId) -> list[str]:
    """Their ids."""
    return list(studio.grids.jobs(grid))


@router.post("/grids/{grid}/cancel", status_code=202, operation_id="cancel_grid", summary="Stop a grid")
def cancel(studio: StudioOf, grid: GridId) -> Grid:
    """Pictures that are there stay."""
    return studio.grids.cancel(grid)


@router.get("/grids/{grid}/pair", operation_id="get_pair", summary="Get the two pictures to vote on next")
def pair(
    studio: StudioOf,
    grid: GridId,
    skipped: Annotated[str, Query(max_length=4_000, pattern=r"^([0-9]{1,19}-[0-9]{1,19}(,|$))*$")] = "",
) -> Pair:
    """The most telling ones first. ``skipped`` are pairs such as ``3-7,4-9``. Not found: there are none left."""
    pairs = [tuple(map(int, one.split("-"))) for one in skipped.split(",") if one]
    found = studio.grids.next_pair(grid, skipped=[(left, right) for left, right in pairs])
    if found is None:
        raise NotFound("No pair is left to vote on.", remedy="See the ranking.", thing=grid)
    return found


@router.get("/grids/{grid}/votes", operation_id="list_votes", summary="List the votes")
def votes(studio: StudioOf, grid: GridId) -> tuple[Vote, ...]:
    """Newest first."""
    return studio.grids.votes(grid)


@router.post("/grids/{grid}/votes", status_code=201, operation_id="create_vote", summary="Say which picture is better")
def vote(studio: StudioOf, grid: GridId, given: VoteGiven) -> Vote:
    """With ``after``, the same vote sent twice counts once."""
    return studio.grids.vote(grid, given.winner, given.loser, after=given.after)


@router.delete("/grids/{grid}/votes/last", operation_id="undo_vote", summary="Take the newest vote back")
def undo(studio: StudioOf, grid: GridId) -> Vote:
    """Gives it. Not found: there is none."""
    gone = studio.grids.undo_vote(grid)
    if gone is None:
        raise NotFound("There is no vote to take back.", remedy="Vote first.", thing=grid)
    return gone


@router.get("/grids/{grid}/ranking", operation_id="get_ranking", summary="See what the votes say")
def ranking(studio: StudioOf, grid: GridId) -> tuple[Ranking, ...]:
    """Of the combinations where both axes are compared, then of each axis by itself."""
    return studio.grids.ranking(grid)


@router.get("/grids/{grid}/labels", operation_id="get_grid_labels", summary="See what each picture of a grid is")
def labels(studio: StudioOf, grid: GridId) -> dict[int, str]:
    """In words, by its number."""
    return studio.grids.labels(grid)


@router.get(
    "/grids/{grid}/sheet",
    operation_id="download_grid_sheet",
    summary="Download a grid as one picture",
    response_class=Response,
    responses=files.PNG,
)
def sheet(studio: StudioOf, grid: GridId) -> Response:
    """With its labels."""
    found = studio.grids.grid(grid).id
    return made_file(lambda folder: studio.grids.sheet(found, folder / f"{found}.png"), "image/png")


@router.get(
    "/grids/{grid}/archive",
    operation_id="download_grid",
    summary="Download the pictures of a grid as a zip",
    response_class=Response,
    responses=files.ZIP,
)
def archive(studio: StudioOf, grid: GridId) -> Response:
    """Each named by its cell, with the votes."""
    found = studio.grids.grid(grid).id
    return made_file(lambda folder: studio.grids.archive(found, folder / f"{found}.zip"), "application/zip")


def _axis(wanted: AxisWanted) -> GridAxis:
    return GridAxis(wanted.name, tuple(wanted.values))
