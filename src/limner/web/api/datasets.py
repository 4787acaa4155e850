"""Datasets: photos, captions and crops, frozen."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from fastapi.responses import Response
from pydantic import Field, StrictBool, StrictInt

from limner.records import Dataset
from limner.web.api import files
from limner.web.api.cursors import PartAsked
from limner.web.api.path_parameters import DatasetName, OfSubject, api_router
from limner.web.api.shapes import Body, Page
from limner.web.files.responses import made_file
from limner.web.visit import StudioOf

__all__ = ["router"]

router = api_router("datasets")

Layout = Literal["replicate", "fal", "kohya", "ai-toolkit", "diffusers"]


class Freeze(Body):
    """Which photos to freeze as a dataset, and for what."""

    subject: str = Field(min_length=1, max_length=64)
    base: str = Field(default="", max_length=100, description="The base's id; the setting if left out.")
    resolution: StrictInt | None = Field(default=None, ge=64, le=4_096, description="Pixels; the base's if left out.")
    template: str = Field(default="", max_length=2_000, description="Caption of photos that have none.")
    captioner: str = Field(default="", max_length=100, description="Who captions photos that have none.")
    allow_few: StrictBool = Field(default=False, description="Accept fewer than four photos.")


@router.get("/datasets", operation_id="list_datasets", summary="List the datasets")
def datasets(studio: StudioOf, part: PartAsked, subject: OfSubject = "") -> Page[Dataset]:
    """Of one subject or of all, newest first."""
    return part.page(
        studio.datasets.all(subject), lambda one: (one.created_at.isoformat(), one.digest), newest_first=True
    )


@router.post("/datasets", status_code=201, operation_id="create_dataset", summary="Freeze a subject's photos")
def freeze(response: Response, studio: StudioOf, wanted: Freeze) -> Dataset:
    """Photos, captions and crops as they are now. The same content gives the same dataset."""
    options = wanted.model_dump(exclude={"subject"}, exclude_unset=True)
    made = studio.datasets.freeze(wanted.subject, **options)
    response.headers["Location"] = f"/api/v1/datasets/{made.digest}"
    return made


@router.get("/datasets/{dataset}", operation_id="get_dataset", summary="See a dataset")
def show(studio: StudioOf, dataset: DatasetName) -> Dataset:
    """With all that it holds."""
    return studio.datasets.get(dataset)


@router.get(
    "/datasets/{dataset}/package",
    operation_id="download_package",
    summary="Download a dataset in a trainer's layout",
    response_class=Response,
    responses=files.ZIP,
)
def package(
    studio: StudioOf, dataset: DatasetName, layout: Annotated[Layout, Query(description="Whose layout.")]
) -> Response:
    """A zip as that trainer reads it."""
    found = studio.datasets.get(dataset)
    name = f"{found.subject}-{found.digest[:8]}-{layout}.zip"
    return made_file(
        lambda folder: studio.datasets.package(found.digest, layout, folder / name, zipped=True), "application/zip"
    )


@router.get(
    "/datasets/{dataset}/crop-sheet",
    operation_id="download_crop_sheet",
    summary="Download all crops as one picture",
    response_class=Response,
    responses=files.PNG,
)
def crop_sheet(studio: StudioOf, dataset: DatasetName) -> Response:
    """Each photo with its crop, bucket and caption."""
    found = studio.datasets.get(dataset)
    name = f"{found.subject}-{found.digest[:8]}.png"
    return made_file(lambda folder: studio.datasets.crop_sheet(found.digest, folder / name), "image/png")
