"""Generations, images and the gallery."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt

from limner.types import JobState
from limner.web.api.schemas.plain import MOST_INT, Amount, Answer, Body, Failure, Finding, Money, PlainData
from limner.web.api.schemas.trainings import Started

__all__ = [
    "Choice",
    "Choices",
    "Counted",
    "DrawnImage",
    "Favourites",
    "GenerateWish",
    "Generation",
    "Image",
    "ImageChange",
    "ImageChoices",
    "ImageDetail",
    "ImageNumbers",
    "LoraAsked",
    "LoraUsed",
    "MonthCount",
    "PictureWish",
    "PromptTemplate",
    "Provenance",
    "Reproduction",
    "StartedGeneration",
    "Wish",
]


class PictureWish(Body):
    """What pictures are to look like. Sizes are pixels; what is left out is the base's own."""

    loras: list[Annotated[str, Field(max_length=2_000)]] = Field(
        default_factory=list,
        max_length=20,
        description="slug, slug@v2, owner/repo or an https address; each may end in a strength such as :0.8.",
    )
    base: str = Field(default="", max_length=100, description="The base's id; that of the loras if left out.")
    generator: str = Field(
        default="", max_length=200, description="Who draws, or several in the order in which they are tried."
    )
    model: str = Field(default="", max_length=200, description="The vendor's model; the catalog's if left out.")
    width: StrictInt | None = Field(default=None, ge=16, le=8_192)
    height: StrictInt | None = Field(default=None, ge=16, le=8_192)
    steps: StrictInt | None = Field(default=None, ge=1, le=1_000)
    guidance: StrictFloat | None = Field(default=None, ge=0, le=100)
    seed: StrictInt | None = Field(default=None, ge=0, le=MOST_INT, description="Picture i is drawn with seed + i.")
    count: StrictInt = Field(default=1, ge=1, le=1_000, description="How many pictures.")
    extra: dict[str, Any] = Field(
        default_factory=dict, max_length=100, description="Further parameters of the vendor's own interface."
    )
    publish_if_needed: StrictBool = Field(
        default=False, description="Publish a lora for everyone if the generator cannot get at it otherwise."
    )


class GenerateWish(PictureWish):
    """Pictures to be drawn."""

    prompt: str = Field(min_length=1, max_length=20_000, description="{trigger} stands for that of the first lora.")
    yes: StrictBool = Field(default=False, description="Agree to the price, where it is more than goes without asking.")
    max_cost: Amount | None = Field(default=None, description="US dollars; refused if the estimate is higher.")


class LoraUsed(Answer):
    """A lora that pictures were drawn with, and its strength."""

    name: str
    digest: str = ""
    scale: float = 1.0


class DrawnImage(Answer):
    """One picture of a generation. Its file is at ``/images/{id}/file``."""

    id: int
    generation: str
    position: int
    digest: str
    prompt: str
    seed: int
    width: int
    height: int
    seconds: float
    generator: str = ""
    created_at: datetime


class Generation(Answer):
    """One request for pictures, and those that are there by now."""

    id: str
    prompt: str
    base: str
    generator: str
    loras: list[LoraUsed] = Field(default_factory=list)
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    count: int
    state: JobState
    error: Failure | None = None
    images: list[DrawnImage] = Field(default_factory=list)
    created_at: datetime


class StartedGeneration(Started):
    """A generation that was started, and its job."""

    generation: Generation


class Image(Answer):
    """One picture as lists have it. Its file is at ``/images/{id}/file``, smaller at ``/images/{id}/thumbnail``."""

    id: int
    generation: str
    position: int
    digest: str
    width: int
    height: int
    prompt: str
    seed: int
    generator: str
    favourite: bool = False
    created_at: datetime


class ImageDetail(Image):
    """A picture with all that is stored of how it was made. Its size is in bytes."""

    media_type: str
    base: str
    loras: list[LoraUsed] = Field(default_factory=list)
    subjects: list[str] = Field(default_factory=list)
    steps: int
    guidance: float
    count: int
    seconds: float
    byte_size: int


class ImageChange(Body):
    """What is to be another one of a picture."""

    favourite: StrictBool


class ImageNumbers(Body):
    """Pictures, by their numbers."""

    images: list[Annotated[StrictInt, Field(ge=0, le=MOST_INT)]] = Field(min_length=1, max_length=5_000)


class Favourites(ImageNumbers):
    """Pictures to be marked as favourites, or no longer."""

    favourite: StrictBool = True


class Counted(Answer):
    """How many things it was done to."""

    count: int


class ImageChoices(Answer):
    """What there is to filter by: slugs, loras and generators that drew at least one picture."""

    subjects: list[str]
    loras: list[str]
    generators: list[str]


class MonthCount(Answer):
    """A month such as ``2026-11`` (UTC), its number of pictures, and how many newer ones come before."""

    month: str
    count: int
    offset: int


class LoraAsked(Answer):
    """A lora by name, and its strength."""

    name: str
    scale: float


def _asked(pairs: Any) -> Any:
    return [{"name": one[0], "scale": one[1]} if isinstance(one, tuple) else one for one in pairs]


class Wish(Answer):
    """What was asked for when pictures were made, to ask for it again; ``seed`` is that of the picture named."""

    prompt: str
    loras: Annotated[list[LoraAsked], BeforeValidator(_asked)] = Field(default_factory=list)
    base: str
    generator: str
    model: str = ""
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    count: int


class Choice(Answer):
    """One generator for a wish: its price in US dollars, its time in seconds (null: unknown), or why it cannot.

    ``mended_by`` is ``account`` or ``publishing`` where that is all that is missing.
    """

    generator: str
    title: str
    summary: str
    vendor: str
    model: str
    cost: Money
    seconds: float | None = None
    certain: bool
    note: str = ""
    sees: str = ""
    refusals: list[Finding] = Field(default_factory=list)
    warnings: list[Finding] = Field(default_factory=list)
    mended_by: str = ""
    asks: bool = False
    usable: bool


class Choices(Answer):
    """All generators for one wish: those that can draw it first, then by price; and what the wish comes to."""

    base: str
    prompt: str
    tokens: int | None = None
    most_tokens: int
    width: int
    height: int
    steps: int
    guidance: float
    count: int
    choices: list[Choice]
    findings: list[Finding] = Field(default_factory=list)


class PromptTemplate(Answer):
    """A prompt to begin with."""

    id: str
    title: str
    prompt: str
    kinds: list[str] = Field(default_factory=list)


class Reproduction(Answer):
    """A picture drawn again: whether its pixels are the same, and if not, what differs."""

    image: DrawnImage
    equal: bool
    differences: list[str]


class Provenance(Answer):
    """What a picture's file says of itself, and whether its signature holds."""

    image: int
    facts: PlainData
