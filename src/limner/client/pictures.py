"""Generations, images and grids by the API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from limner.client.connection import Connection
from limner.web.api.schemas.grids import Grid, GridPlan, GridWish, Pair, Ranking, Vote, VoteGiven
from limner.web.api.schemas.jobs import Job, Resume, WhatIf
from limner.web.api.schemas.pictures import (
    Choices,
    Counted,
    Favourites,
    GenerateWish,
    Generation,
    Image,
    ImageChange,
    ImageChoices,
    ImageDetail,
    ImageNumbers,
    MonthCount,
    PromptTemplate,
    Provenance,
    Reproduction,
    StartedGeneration,
    Wish,
)

__all__ = ["Generations", "Grids", "Images"]


class Generations:
    """``client.generations``: requests for pictures."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def start(self, wish: GenerateWish, *, key: str = "") -> StartedGeneration:
        """Draw; with a ``key`` of your own at most once. ConsentNeeded, SpendingRefused: nothing was started."""
        return self._connection.post(StartedGeneration, "/generations", wish, key=key)

    def what_if(self, wish: GenerateWish) -> WhatIf:
        """What would be done and what it costs; nothing is sent that costs."""
        return self._connection.post(WhatIf, "/generations", wish, what_if=True)

    def choices(self, wish: GenerateWish) -> Choices:
        """The generators, compared."""
        return self._connection.post(Choices, "/generation-choices", wish)

    def get(self, generation: str) -> Generation:
        """With the pictures that are there by now."""
        return self._connection.get(Generation, f"/generations/{generation}")

    def wish(self, generation: str) -> Wish:
        """What was asked for."""
        return self._connection.get(Wish, f"/generations/{generation}/wish")

    def templates(self, kind: str = "") -> list[PromptTemplate]:
        """Prompts to begin with."""
        return self._connection.value(list[PromptTemplate], "/prompt-templates", kind=kind)


class Images:
    """``client.images``: the pictures."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, limit: int | None = None, **wanted: Any) -> Iterator[Image]:
        """Newest first, of a filter: subject, lora, text, generator, favourite, since, until, seed."""
        return self._connection.pages(Image, "/images", limit=limit, **wanted)

    def months(self, **wanted: Any) -> list[MonthCount]:
        """How many there are in each month."""
        return self._connection.value(list[MonthCount], "/image-months", **wanted)

    def choices(self) -> ImageChoices:
        """What they can be filtered by."""
        return self._connection.get(ImageChoices, "/image-choices")

    def get(self, image: int) -> ImageDetail:
        """With all that is stored of how it was made."""
        return self._connection.get(ImageDetail, f"/images/{image}")

    def set_favourite(self, image: int, favourite: bool = True) -> ImageDetail:
        """Mark it, or no longer."""
        return self._connection.change("PATCH", ImageDetail, f"/images/{image}", ImageChange(favourite=favourite))

    def mark(self, images: Sequence[int], favourite: bool = True) -> Counted:
        """Mark several, all or none."""
        return self._connection.post(Counted, "/image-favourites", Favourites(images=list(images), favourite=favourite))

    def delete(self, *images: int) -> Counted:
        """Erase them, all or none."""
        return self._connection.post(Counted, "/image-deletions", ImageNumbers(images=list(images)))

    def archive(self, images: Sequence[int]) -> bytes:
        """A zip of them with their metadata."""
        body = ImageNumbers(images=list(images))
        return self._connection.answer("POST", "/image-archive", body=body).content

    def file(self, image: int, *, share: bool = False) -> bytes:
        """As it was drawn, or a copy that says only that AI made it."""
        return self._connection.answer("GET", f"/images/{image}/file", query={"share": share}).content

    def thumbnail(self, image: int, *, width: int = 320) -> bytes:
        """A WebP of it."""
        return self._connection.answer("GET", f"/images/{image}/thumbnail", query={"width": width}).content

    def provenance(self, image: int) -> Provenance:
        """What its file says of itself."""
        return self._connection.get(Provenance, f"/images/{image}/provenance")

    def wish(self, image: int) -> Wish:
        """What was asked for, with its seed."""
        return self._connection.get(Wish, f"/images/{image}/wish")

    def reproduce(self, image: int, *, yes: bool = False, key: str = "") -> Job:
        """Draw it again from its own provenance; with a ``key`` of your own at most once."""
        return self._connection.post(Job, f"/images/{image}/reproduction", Resume(yes=yes), key=key)

    def reproduced(self, image: int, job: str) -> Reproduction:
        """Whether it came out the same."""
        return self._connection.get(Reproduction, f"/images/{image}/reproduction", job=job)


class Grids:
    """``client.grids``: pictures side by side, and votes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, training: str = "", *, limit: int | None = None) -> Iterator[Grid]:
        """Newest first."""
        return self._connection.pages(Grid, "/grids", training=training, limit=limit)

    def start(self, wish: GridWish, *, key: str = "") -> Grid:
        """Draw one: all of its pictures or none; with a ``key`` of your own at most once."""
        return self._connection.post(Grid, "/grids", wish, key=key)

    def what_if(self, wish: GridWish) -> GridPlan:
        """What it would be and cost."""
        return self._connection.post(GridPlan, "/grids", wish, what_if=True)

    def get(self, grid: str) -> Grid:
        """With the pictures that are there by now."""
        return self._connection.get(Grid, f"/grids/{grid}")

    def delete(self, grid: str) -> None:
        """Forget it and its votes; its pictures stay."""
        self._connection.answer("DELETE", f"/grids/{grid}")

    def jobs(self, grid: str) -> list[str]:
        """The ids of its jobs that go on."""
        return self._connection.value(list[str], f"/grids/{grid}/jobs")

    def cancel(self, grid: str) -> Grid:
        """Stop it."""
        return self._connection.post(Grid, f"/grids/{grid}/cancel")

    def pair(self, grid: str, *, skipped: Sequence[tuple[int, int]] = ()) -> Pair:
        """The two pictures to vote on next. NotFound: there are none left."""
        words = ",".join(f"{left}-{right}" for left, right in skipped)
        return self._connection.get(Pair, f"/grids/{grid}/pair", skipped=words)

    def vote(self, grid: str, winner: int, loser: int, *, after: int | None = None) -> Vote:
        """Say which is better."""
        return self._connection.post(Vote, f"/grids/{grid}/votes", VoteGiven(winner=winner, loser=loser, after=after))

    def votes(self, grid: str) -> list[Vote]:
        """Newest first."""
        return self._connection.value(list[Vote], f"/grids/{grid}/votes")

    def undo_vote(self, grid: str) -> Vote:
        """Take the newest back. NotFound: there is none."""
        return Vote.model_validate_json(self._connection.answer("DELETE", f"/grids/{grid}/votes/last").content)

    def ranking(self, grid: str) -> list[Ranking]:
        """What the votes say."""
        return self._connection.value(list[Ranking], f"/grids/{grid}/ranking")

    def labels(self, grid: str) -> dict[int, str]:
        """What each picture is."""
        return self._connection.value(dict[int, str], f"/grids/{grid}/labels")

    def sheet(self, grid: str) -> bytes:
        """The whole of it as one PNG."""
        return self._connection.answer("GET", f"/grids/{grid}/sheet").content

    def archive(self, grid: str) -> bytes:
        """A zip of its pictures and votes."""
        return self._connection.answer("GET", f"/grids/{grid}/archive").content
