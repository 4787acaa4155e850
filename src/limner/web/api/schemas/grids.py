"""Grids over two axes, votes, and what they say."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt

from limner.types import JobState
from limner.web.api.schemas.jobs import WhatIf
from limner.web.api.schemas.pictures import DrawnImage, PictureWish
from limner.web.api.schemas.plain import MOST_INT, Amount, Answer, Body, PlainData

__all__ = [
    "Axis",
    "AxisWanted",
    "Grid",
    "GridCell",
    "GridPlan",
    "GridWish",
    "Pair",
    "Ranking",
    "Standing",
    "Vote",
    "VoteGiven",
]

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


class Axis(Answer):
    """One side of a grid; ``name`` is "" for a side along which nothing differs, with one value, null."""

    name: str
    values: list[Any]


def _ids(generations: Any) -> Any:
    return [getattr(one, "id", one) for one in generations]


class GridCell(Answer):
    """One cell: its two values, the ids of its generations (null: erased), and the pictures that are there."""

    x: Any = None
    y: Any = None
    generations: Annotated[list[str | None], BeforeValidator(_ids)]
    images: list[DrawnImage]


class Grid(Answer):
    """Pictures of one wish that differ along two axes. ``cells`` are rows: one a value of ``y``.

    ``expected`` is how many pictures it will have; ``votes`` is their number.
    """

    id: str
    training: str = ""
    prompts: list[str]
    request: PlainData
    x: Axis
    y: Axis
    cells: list[list[GridCell]]
    votes: int
    expected: int
    state: JobState
    created_at: datetime


class GridPlan(Answer):
    """What a grid would be: generations, pictures, and what all of it costs. Nothing was sent that costs."""

    generations: int
    pictures: int
    what_if: WhatIf


class Pair(Answer):
    """Two pictures to choose between; show the labels only after the vote."""

    left: DrawnImage
    right: DrawnImage
    left_label: str
    right_label: str


class VoteGiven(Body):
    """Which of two pictures is better. ``after``: how many votes there were when they were shown."""

    winner: StrictInt = Field(ge=0, le=MOST_INT)
    loser: StrictInt = Field(ge=0, le=MOST_INT)
    after: StrictInt | None = Field(default=None, ge=0, le=MOST_INT)


class Vote(Answer):
    """One choice between two pictures, with what each of them was."""

    winner: DrawnImage
    loser: DrawnImage
    winner_label: str
    loser_label: str
    created_at: datetime


class Standing(Answer):
    """How often one candidate won. ``low`` and ``high`` bound its true share of wins with 95 % confidence."""

    label: str
    values: PlainData
    wins: int
    votes: int
    low: float
    high: float
    share: float


class Ranking(Answer):
    """The candidates of one axis ("" for combinations of both), best first. ``decided``: the first is surely best."""

    axis: str
    standings: list[Standing]
    votes: int
    decided: bool
