"""Generations: pictures asked for."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response

from limner.options import GenerateOptions
from limner.types import SubjectKind
from limner.web.api.idempotency import Once
from limner.web.api.named import GenerationId, all_of, api_router, looked_at, started
from limner.web.api.schemas.jobs import Job, WhatIf
from limner.web.api.schemas.pictures import (
    Choices,
    GenerateWish,
    Generation,
    PictureWish,
    PromptTemplate,
    StartedGeneration,
    Wish,
)
from limner.web.api.spending import WhatIfAsked, refuse_dear
from limner.web.visit import StudioOf, Visit

__all__ = ["picture_options", "router"]

router = api_router("generations")


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
        return looked_at(WhatIf.model_validate(studio.generations.start(wanted.prompt, what_if=True, **options)))
    refuse_dear(
        visit, wanted.max_cost, lambda: studio.generations.start(wanted.prompt, what_if=True, **options).estimate
    )
    job = started(response, once(studio, lambda: studio.generate(wanted.prompt, yes=wanted.yes, **options)))
    made = Generation.model_validate(studio.generations.get(job.target))
    return StartedGeneration(job=Job.model_validate(job), generation=made)


@router.post("/generation-choices", operation_id="compare_generators", summary="Compare the generators for a wish")
def choices(studio: StudioOf, wanted: GenerateWish) -> Choices:
    """What each would cost and take, or why it cannot draw it here and what mends that. Nothing is sent that costs."""
    return Choices.model_validate(studio.generations.offers(wanted.prompt, **picture_options(wanted)))


@router.get("/generations/{generation}", operation_id="get_generation", summary="See a generation")
def show(studio: StudioOf, generation: GenerationId) -> Generation:
    """With the pictures that are there by now."""
    return Generation.model_validate(studio.generations.get(generation))


@router.get("/generations/{generation}/wish", operation_id="get_generation_wish", summary="See what was asked for")
def wish(studio: StudioOf, generation: GenerationId) -> Wish:
    """As it can be asked for again."""
    return Wish.model_validate(studio.generations.request_of(studio.generations.get(generation).id))


@router.get("/prompt-templates", operation_id="list_prompt_templates", summary="List prompts to begin with")
def templates(
    studio: StudioOf, kind: Annotated[SubjectKind | None, Query(description="For subjects of this kind.")] = None
) -> list[PromptTemplate]:
    """{trigger} stands for that of the subject."""
    return all_of(PromptTemplate, studio.generations.prompt_templates(kind or ""))


def picture_options(wanted: PictureWish) -> GenerateOptions:
    """What was said of the pictures, as the studio takes it."""
    chosen = set(PictureWish.model_fields)
    given: Any = wanted.model_dump(include=chosen)
    return {name: value for name, value in given.items() if name in wanted.model_fields_set}  # type: ignore[return-value]
