"""What is named in addresses, with the limits of each name."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import TypeAdapter

from limner.records import Job
from limner.web.api.route import ApiRoute
from limner.web.api.shapes import MOST_INT

__all__ = [
    "BaseId",
    "DatasetName",
    "GenerationId",
    "GridId",
    "ImageNumber",
    "JobId",
    "LoraName",
    "OfSubject",
    "PhotoDigest",
    "Position",
    "Slug",
    "Step",
    "ThumbnailWidth",
    "TrainingId",
    "UserName",
    "VendorName",
    "api_router",
    "looked_at",
    "started",
    "written",
]


def _name(title: str, most: int = 80) -> object:
    return Path(min_length=1, max_length=most, description=title)


Slug = Annotated[str, _name("The subject's slug.", 64)]
PhotoDigest = Annotated[str, Path(pattern="^[0-9a-f]{6,64}$", description="The photo's digest, or six or more digits.")]
DatasetName = Annotated[str, _name("A dataset's digest (six digits will do), or a subject's slug for its newest.", 64)]
TrainingId = Annotated[str, _name("The training's id.")]
LoraName = Annotated[str, _name("``zibbo@v1``, ``zibbo`` for the newest, or eight or more digits of its digest.", 100)]
GenerationId = Annotated[str, _name("The generation's id.")]
ImageNumber = Annotated[int, Path(ge=0, le=MOST_INT, description="The image's number.")]
GridId = Annotated[str, _name("The grid's id.")]
JobId = Annotated[str, _name("The job's id.")]
BaseId = Annotated[str, _name("The base's id.", 100)]
VendorName = Annotated[str, _name("The vendor: replicate, fal, huggingface, together.", 40)]
UserName = Annotated[str, _name("The user's name.", 64)]
Step = Annotated[int, Path(ge=0, le=10_000_000, description="The training's step.")]
Position = Annotated[int, Path(ge=0, le=10_000, description="The place of the prompt, from 0.")]
OfSubject = Annotated[str, Query(max_length=64, description="Only those of this subject, by its slug.")]
ThumbnailWidth = Annotated[int, Query(ge=1, le=10_000, description="Its width in pixels: one of those there are.")]


def api_router(tag: str) -> APIRouter:
    """A router whose routes do what all of the API do."""
    return APIRouter(tags=[tag], route_class=ApiRoute)


@cache
def _written_as(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def written(record: Any) -> bytes:
    """A record as the API gives it."""
    kind: Any = type(record)
    return _written_as(kind).dump_json(record)


def looked_at(answer: Any) -> Response:
    """The answer to ``what_if``: 200, not the 202 of what was started."""
    return Response(written(answer), media_type="application/json")


def started(response: Response, job: Job) -> Job:
    """Say where the job is that was just started."""
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job
