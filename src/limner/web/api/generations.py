"""Generations: pictures asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response
from pydantic import Field, StrictBool, StrictFloat, StrictInt

from limner.options import GenerateOptions
from limner.records import Choices, Generation, Job, PromptTemplate, WhatIf, Wish
from limner.types import SubjectKind
from limner.web.api.idempotency import Once
from limner.web.api.path_parameters import GenerationId, api_router, looked_at, started
from limner.web.api.shapes import MOST_INT, Amount, Body
from limner.web.api.spending import WhatIfAsked, refuse_dear
from limner.web.visit import StudioOf, Visit

__all__ = ["PictureWish", "picture_options", "router"]

router = api_router("generations")


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


@dataclass(frozen=True, slots=True)
class StartedGeneration:
    """A generation that was started, and its job."""

    job: Job
    generation: Generation


@router.post(
    "/generations",
    status_code=202,
    operation_id="start_generation",
    summary="Draw pictures",
    responses={200: {"model": WhatIf, "description": "What would be done, with ``what_if``"}},
    response_model=StartedGeneration,
)
def start(
    response: Response, visit: Visit, studio: StudioOf, once: Once, wanted: GenerateWish, what_if: WhatIfAsked = False
) -> Any:
    """With one or several loras, or none. Follow the job that it gives."""
    options = picture_options(wanted)
    if what_if:
        return looked_at(studio.generations.start(wanted.prompt, what_if=True, **options))
    refuse_dear(
        visit, wanted.max_cost, lambda: studio.generations.start(wanted.prompt, what_if=True, **options).estimate
    )
    job = started(response, once(studio, lambda: studio.generations.start(wanted.prompt, yes=wanted.yes, **options)))
    made = studio.generations.get(job.target)
    return StartedGeneration(job=job, generation=made)


@router.post("/generation-choices", operation_id="compare_generators", summary="Compare the generators for a wish")
def choices(studio: StudioOf, wanted: GenerateWish) -> Choices:
    """What each would cost and take, or why it cannot draw it here and what mends that. Nothing is sent that costs."""
    return studio.generations.offers(wanted.prompt, **picture_options(wanted))


@router.get("/generations/{generation}", operation_id="get_generation", summary="See a generation")
def show(studio: StudioOf, generation: GenerationId) -> Generation:
    """With the pictures that are there by now."""
    return studio.generations.get(generation)


@router.get("/generations/{generation}/wish", operation_id="get_generation_wish", summary="See what was asked for")
def wish(studio: StudioOf, generation: GenerationId) -> Wish:
    """As it can be asked for again."""
    return studio.generations.request_of(studio.generations.get(generation).id)


@router.get("/prompt-templates", operation_id="list_prompt_templates", summary="List prompts to begin with")
def templates(
    studio: StudioOf, kind: Annotated[SubjectKind | None, Query(description="For subjects of this kind.")] = None
) -> list[PromptTemplate]:
    """{trigger} stands for that of the subject."""
    return studio.generations.prompt_templates(kind or "")


def picture_options(wanted: PictureWish) -> GenerateOptions:
    """What was said of the pictures, as the studio takes it."""
    chosen = set(PictureWish.model_fields)
    given: Any = wanted.model_dump(include=chosen)
    return {name: value for name, value in given.items() if name in wanted.model_fields_set}  # type: ignore[return-value]
