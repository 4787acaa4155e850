"""Images: found, shown, marked, downloaded and deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BeforeValidator, Field, StrictBool, StrictInt

from limner.records import (
    GalleryChoices,
    GalleryFilter,
    GalleryImage,
    ImageDetail,
    Job,
    MonthCount,
    Reproduction,
    WhatIf,
    Wish,
)
from limner.web.api import files
from limner.web.api.cursors import Cursor, Limit, link_next
from limner.web.api.idempotency import Once
from limner.web.api.path_parameters import ImageNumber, ThumbnailWidth, api_router, looked_at, started
from limner.web.api.shapes import MOST_INT, Body, Counted, Page, Resume, only_text
from limner.web.api.spending import WhatIfAsked, refuse_dear
from limner.web.visit import StudioOf, Visit
from limner.wire import Data

__all__ = ["router"]

router = api_router("images")

Day = Annotated[date, BeforeValidator(only_text)]


class ImageChange(Body):
    """What is to be another one of a picture."""

    favourite: StrictBool


class ImageNumbers(Body):
    """Pictures, by their numbers."""

    images: list[Annotated[StrictInt, Field(ge=0, le=MOST_INT)]] = Field(min_length=1, max_length=5_000)


class Favourites(ImageNumbers):
    """Pictures to be marked as favourites, or no longer."""

    favourite: StrictBool = True


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a picture's file says of itself, and whether its signature holds."""

    image: int
    facts: Data


def _wanted(
    subject: Annotated[str, Query(max_length=64, description="A subject's slug.")] = "",
    lora: Annotated[str, Query(max_length=100, description="zibbo@v2, or a slug for all its versions.")] = "",
    text: Annotated[str, Query(max_length=500, description="A part of the prompt.")] = "",
    generator: Annotated[str, Query(max_length=100, description="Who drew.")] = "",
    favourite: Annotated[bool, Query(description="Only favourites.")] = False,
    since: Annotated[Day | None, Query(description="From this day on, UTC.")] = None,
    until: Annotated[Day | None, Query(description="Up to this day, UTC.")] = None,
    seed: Annotated[int | None, Query(ge=0, le=MOST_INT)] = None,
) -> GalleryFilter:
    return GalleryFilter(subject, lora, text, generator, favourite, since, until, seed)


Wanted = Annotated[GalleryFilter, Depends(_wanted)]


@router.get("/images", operation_id="list_images", summary="List the pictures")
def images(
    request: Request, response: Response, studio: StudioOf, wanted: Wanted, limit: Limit = 50, cursor: Cursor = ""
) -> Page[GalleryImage]:
    """Those of a filter, newest first."""
    found = studio.gallery.page(wanted, cursor=cursor, limit=limit)
    link_next(request, response, found.older)
    return Page(list(found.images), found.older or None)


@router.get("/image-months", operation_id="count_images_by_month", summary="Count the pictures by month")
def months(studio: StudioOf, wanted: Wanted) -> tuple[MonthCount, ...]:
    """Those of a filter, newest month first."""
    return studio.gallery.months(wanted)


@router.get("/image-choices", operation_id="list_image_choices", summary="See what pictures can be filtered by")
def choices(studio: StudioOf) -> GalleryChoices:
    """Subjects, loras and generators of which there are pictures."""
    return studio.gallery.choices()


@router.post("/image-favourites", operation_id="mark_images", summary="Mark pictures as favourites, or no longer")
def mark(studio: StudioOf, wanted: Favourites) -> Counted:
    """All or none."""
    return Counted(count=studio.gallery.set_favourite(wanted.images, wanted.favourite))


@router.post("/image-deletions", operation_id="delete_images", summary="Erase pictures")
def delete_many(studio: StudioOf, wanted: ImageNumbers) -> Counted:
    """All or none. What they were asked for with stays."""
    return Counted(count=studio.gallery.delete(wanted.images))


@router.post(
    "/image-archive",
    operation_id="download_images",
    summary="Download pictures as a zip",
    response_class=Response,
    responses=files.ZIP,
)
def archive(studio: StudioOf, wanted: ImageNumbers) -> Response:
    """The original files, with metadata.jsonl."""
    packed = studio.gallery.archive(wanted.images)
    headers = {
        "Content-Length": str(packed.byte_size),
        "Content-Disposition": 'attachment; filename="limner-pictures.zip"',
    }
    return StreamingResponse(packed.chunks(), media_type="application/zip", headers=headers)


@router.get("/images/{image}", operation_id="get_image", summary="See a picture")
def show(studio: StudioOf, image: ImageNumber) -> ImageDetail:
    """With all that is stored of how it was made."""
    return studio.gallery.detail(image)


@router.patch("/images/{image}", operation_id="update_image", summary="Mark a picture as a favourite, or no longer")
def change(studio: StudioOf, image: ImageNumber, wanted: ImageChange) -> ImageDetail:
    """Gives it as it is then."""
    studio.gallery.set_favourite([image], wanted.favourite)
    return studio.gallery.detail(image)


@router.delete("/images/{image}", status_code=204, operation_id="delete_image", summary="Erase a picture")
def delete(studio: StudioOf, image: ImageNumber) -> None:
    """Its file and thumbnails too."""
    studio.gallery.delete([image])


@router.get(
    "/images/{image}/file",
    operation_id="download_image",
    summary="Download a picture",
    response_class=Response,
    responses=files.PICTURE,
)
def file(
    request: Request,
    studio: StudioOf,
    image: ImageNumber,
    share: Annotated[bool, Query(description="A copy that says only that AI made it.")] = False,
) -> Response:
    """As it was drawn, its provenance in it."""
    if share:
        headers = {"Content-Disposition": f'attachment; filename="picture-{image}.png"'}
        return Response(studio.gallery.share_copy(image), media_type="image/png", headers=headers)
    return files.picture_file(request, studio.gallery.picture(image))


@router.get(
    "/images/{image}/thumbnail",
    operation_id="download_image_thumbnail",
    summary="Download a picture made small",
    response_class=Response,
    responses=files.WEBP,
)
def thumbnail(request: Request, studio: StudioOf, image: ImageNumber, width: ThumbnailWidth = 320) -> Response:
    """A WebP of it."""
    return files.thumbnail_file(request, studio, studio.gallery.picture(image), width)


@router.get("/images/{image}/provenance", operation_id="inspect_image", summary="See what a picture's file says")
def provenance(studio: StudioOf, image: ImageNumber) -> Provenance:
    """Its metadata, and whether its signature and digests hold."""
    return Provenance(image, studio.gallery.inspect(image))


@router.get("/images/{image}/wish", operation_id="get_image_wish", summary="See what was asked for")
def wish(studio: StudioOf, image: ImageNumber) -> Wish:
    """As it can be asked for again, with the seed of this picture."""
    return studio.generations.request_of(image)


@router.post(
    "/images/{image}/reproduction",
    status_code=202,
    operation_id="reproduce_image",
    summary="Draw a picture again from its own provenance",
    responses={200: {"model": WhatIf, "description": "What would be done, with ``what_if``"}},
    response_model=Job,
)
def reproduce(
    response: Response,
    visit: Visit,
    studio: StudioOf,
    once: Once,
    image: ImageNumber,
    wanted: Resume,
    what_if: WhatIfAsked = False,
) -> Any:
    """Then ask whether it came out the same, with the job that this gives."""
    path = studio.gallery.picture(image).path
    if what_if:
        return looked_at(studio.generations.reproduce(path, what_if=True))
    refuse_dear(visit, None, lambda: studio.generations.reproduce(path, what_if=True).estimate)
    return started(response, once(studio, lambda: studio.generations.reproduce(path, yes=wanted.yes)))


@router.get(
    "/images/{image}/reproduction", operation_id="get_reproduction", summary="See whether a picture came out the same"
)
def reproduced(
    studio: StudioOf,
    image: ImageNumber,
    job: Annotated[str, Query(min_length=1, max_length=80, description="The job that drew it again.")],
) -> Reproduction:
    """Whether the pixels are the same, and what differs if not."""
    return studio.generations.reproduced(studio.gallery.picture(image).path, studio.jobs.get(job))
