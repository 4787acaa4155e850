"""Pictures side by side: grids over two axes, votes between pictures, and what the votes say so far."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from limner.records.stored import Generation, Image, WhatIf
from limner.types import JobState
from limner.wire import Data, Written, shows

__all__ = ["Checkpoint", "Grid", "GridAxis", "GridCell", "GridPlan", "Pair", "Ranking", "Standing", "Vote"]


def _ids(generations: tuple[Generation | None, ...]) -> list[str | None]:
    return [made.id if made else None for made in generations]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The weights of a training after ``step``. ``name`` is how a generation names them: ``training_1f0c…#100``.

    ``lora`` is the version that they are, such as ``zibbo@v2``, "" while nobody has picked them. Sizes are bytes.
    """

    name: str
    training: str
    step: int
    digest: str
    byte_size: int
    lora: str = ""


@dataclass(frozen=True, slots=True)
class GridAxis:
    """What differs along one side of a grid: scale, steps, seed, guidance, checkpoint, lora or prompt; and its values.

    ``name`` is "" for a side along which nothing differs; it then has one value, None.
    """

    name: str
    values: tuple[Any, ...]

    def label(self, value: Any) -> str:
        """A value in words."""
        if not self.name:
            return ""
        if self.name in ("prompt", "lora"):
            return str(value)
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        return f"step {shown}" if self.name == "checkpoint" else f"{self.name} {shown}"


@shows("images")
@dataclass(frozen=True, slots=True)
class GridCell:
    """One cell: its two values, and one generation a prompt, in the order of the prompts; None where it was erased."""

    x: Any
    y: Any
    generations: Annotated[tuple[Generation | None, ...], Written(_ids, list[str | None])]

    @property
    def images(self) -> tuple[Image, ...]:
        """The pictures that are there."""
        return tuple(image for made in self.generations if made is not None for image in made.images)


@shows("expected", "state")
@dataclass(frozen=True, slots=True)
class Grid:
    """Pictures of one wish that differ along two axes. ``cells`` are rows: one a value of ``y``, in it one a value of
    ``x``. ``training`` is the one whose checkpoints are compared, "" for any other grid; ``votes`` is their number.
    """

    id: str
    training: str
    prompts: tuple[str, ...]
    request: Data
    x: GridAxis
    y: GridAxis
    cells: tuple[tuple[GridCell, ...], ...]
    votes: int
    created_at: datetime

    @property
    def generations(self) -> tuple[Generation, ...]:
        """All that were not erased."""
        return tuple(made for row in self.cells for cell in row for made in cell.generations if made is not None)

    @property
    def images(self) -> tuple[Image, ...]:
        """All pictures that are there."""
        return tuple(image for made in self.generations for image in made.images)

    @property
    def expected(self) -> int:
        """How many pictures it will have, erased ones left out."""
        return sum(made.count for made in self.generations)

    @property
    def state(self) -> JobState:
        """Running while one cell is not done, then done; failed or cancelled if a cell is."""
        states = {made.state for made in self.generations}
        for state in (JobState.RUNNING, JobState.WAITING):
            if state in states:
                return state if states == {state} else JobState.RUNNING
        return next((state for state in (JobState.FAILED, JobState.CANCELLED) if state in states), JobState.DONE)


@dataclass(frozen=True, slots=True)
class GridPlan:
    """What a grid would be: generations, pictures, and what all of it costs. Nothing was sent that costs."""

    generations: int
    pictures: int
    what_if: WhatIf


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures to choose between. The labels say what each is; show them only after the vote."""

    left: Image
    right: Image
    left_label: str
    right_label: str


@dataclass(frozen=True, slots=True)
class Vote:
    """One choice between two pictures, with what each of them was."""

    winner: Image
    loser: Image
    winner_label: str
    loser_label: str
    created_at: datetime


@shows("share")
@dataclass(frozen=True, slots=True)
class Standing:
    """How often one candidate won. ``low`` and ``high`` bound its true share of wins with 95 % confidence (Wilson)."""

    label: str
    values: Data
    wins: int
    votes: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Its share of wins so far, 0 to 1; a half where it was in no vote yet."""
        return self.wins / self.votes if self.votes else 0.5


@dataclass(frozen=True, slots=True)
class Ranking:
    """The candidates of one axis ("" for combinations of both), best first.

    ``decided``: the first one's interval lies above all others'. ``votes`` are those in which candidates differ.
    """

    axis: str
    standings: tuple[Standing, ...]
    votes: int
    decided: bool
