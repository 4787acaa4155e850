"""A generation as its page shows it: pictures as they come, how far it is, and what mends what went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from limner.errors import NotFound
from limner.humanize import spoken
from limner.records import Generation, Image, Job, OpenPurchase
from limner.studio import Studio
from limner.types import JobState
from limner.web.rendering.templates import plural

__all__ = ["Results", "results_of", "several_of"]


@dataclass(frozen=True, slots=True)
class Results:
    """A generation with its job (None where it was part of another job that is gone) and purchases to decide on.

    ``pictures`` has a place for each picture asked for: the image, or None while it is not drawn.
    """

    generation: Generation
    job: Job | None
    pictures: tuple[Image | None, ...]
    error: Mapping[str, Any] | None
    undecided: tuple[OpenPurchase, ...] = ()

    @property
    def state(self) -> JobState:
        """Where it is."""
        return self.generation.state

    @property
    def ended(self) -> bool:
        """Whether no more pictures come."""
        return self.state.ended

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop and has not yet."""
        return self.job is not None and self.job.cancel_requested and not self.ended

    @property
    def drawn(self) -> int:
        """How many pictures there are."""
        return len(self.generation.images)

    @property
    def seconds_left(self) -> float | None:
        """An estimate, None if unknown."""
        progress = self.job.progress if self.job is not None else None
        return progress.seconds_left if progress is not None and progress.stage == "generate" else None

    @property
    def lora_words(self) -> str:
        """The loras with their weights."""
        return ", ".join(f"{use['name']} at {float(use['scale']):g}" for use in self.generation.loras) or "none"

    @property
    def said(self) -> str:
        """One sentence for those who hear the page."""
        if self.ended:
            return f"{self.drawn} of {plural(self.generation.count, 'picture')}"
        left = f", {spoken(self.seconds_left)} left" if self.seconds_left else ""
        return f"{self.drawn} of {plural(self.generation.count, 'picture')}{left}"


def results_of(studio: Studio, generation: str) -> Results:
    """Look a generation up. NotFound: there is none of that id."""
    found = studio.generations.get(generation)
    try:
        job = studio.jobs.get(found.id)
    except NotFound:
        job = None
    by_place = {image.position: image for image in found.images}
    error = found.error
    undecided: tuple[OpenPurchase, ...] = ()
    if found.state.ended and error:
        undecided = tuple(
            one for one in studio.payments.open() if one.state == "undecided" and one.tag.startswith(f"{found.id}-")
        )
    return Results(found, job, tuple(by_place.get(place) for place in range(found.count)), error, undecided)


def several_of(studio: Studio, generations: Iterable[str]) -> tuple[Results, ...]:
    """Look several up; those that are gone are left out. NotFound: all are."""
    found, gone = [], None
    for one in generations:
        try:
            found.append(results_of(studio, one))
        except NotFound as failure:
            gone = failure
    if gone is not None and not found:
        raise gone
    return tuple(found)
