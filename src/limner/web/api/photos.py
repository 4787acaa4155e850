"""Photos: what intake said, captions, crops, and how fit they are. Files come in by ``uploads``."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import Response
from pydantic import Field, StrictBool, StrictInt

from limner import types
from limner.errors import InputRefused, NotFound
from limner.records import CaptionChanges, DatasetHealth, IntakeEntry, PhotoEntry, ProposedCrop
from limner.types import Finding
from limner.web.api import files
from limner.web.api.cursors import PartAsked
from limner.web.api.path_parameters import PhotoDigest, Slug, ThumbnailWidth, api_router
from limner.web.api.shapes import Body, Page
from limner.web.api.spending import WhatIfAsked
from limner.web.visit import StudioOf

__all__ = ["router"]

router = api_router("photos")

ForBase = Annotated[str, Query(max_length=100, description="The base's id; the setting if left out.")]
Resolution = Annotated[int | None, Query(ge=64, le=4_096, description="Pixels; the base's if left out.")]
Digest = Annotated[str, Field(min_length=6, max_length=64, pattern="^[0-9a-f]{6,64}$")]
Caption = Annotated[str, Field(max_length=5_000)]
MOST_PIXEL = 1_000_000
Named = Annotated[str, Field(max_length=64)]
Pixel = Annotated[int | None, Query(ge=0, le=1_000_000, description="Of a crop to try, with the other three.")]


class CropWanted(Body):
    """The part of a photo that is trained on, in its pixels; at least 64 a side."""

    left: StrictInt = Field(ge=0, le=MOST_PIXEL)
    top: StrictInt = Field(ge=0, le=MOST_PIXEL)
    width: StrictInt = Field(ge=64, le=MOST_PIXEL)
    height: StrictInt = Field(ge=64, le=MOST_PIXEL)


class PhotoChange(Body):
    """What is to be another one of a photo; what is left out stays as it is."""

    caption: str | None = Field(default=None, max_length=5_000, description='"" goes back to the template.')
    crop: CropWanted | None = Field(default=None, description="null leaves the choice to Limner again.")


class Captions(Body):
    """Captions by the digests of photos; all are taken or none."""

    captions: dict[Digest, Caption] = Field(min_length=1, max_length=2_000)


class CaptionEdit(Body):
    """One change of many captions: find and replace, and words before or after."""

    photos: list[Digest] = Field(default_factory=list, max_length=5_000, description="Only these; all if left out.")
    find: str = Field(default="", max_length=500, description="A text to look for.")
    replace: str = Field(default="", max_length=2_000, description="What stands in its place.")
    match_case: StrictBool = False
    whole_words: StrictBool = False
    prefix: str = Field(default="", max_length=2_000, description="What to put before each that lacks it.")
    suffix: str = Field(default="", max_length=2_000, description="What to put after each that lacks it.")
    fill_empty: StrictBool = Field(default=False, description="Give photos without a caption the template's first.")


class CaptionAnswer(Body):
    """What becomes of captions that came later and differ from those that are there."""

    replace: StrictBool = Field(description="true: take them; false: keep those that are there.")
    photos: list[Digest] = Field(default_factory=list, max_length=5_000, description="Only these; all if left out.")


@router.get("/subjects/{subject}/photos", operation_id="list_photos", summary="List the photos of a subject")
def photos(studio: StudioOf, part: PartAsked, subject: Slug) -> Page[PhotoEntry]:
    """The accepted photos, in the order of their arrival."""
    return part.page(studio.photos.all(subject), lambda one: (one.added_at.isoformat(), one.digest))


@router.get("/subjects/{subject}/intake", operation_id="list_intake", summary="See what intake said of each file")
def report(
    studio: StudioOf,
    part: PartAsked,
    subject: Slug,
    job: Annotated[str, Query(max_length=80, description="The intake's job; the newest if left out.")] = "",
) -> Page[IntakeEntry]:
    """The refused files too, each with the reason."""
    return part.page(studio.photos.report(subject, job), lambda one: (f"{one.position:012d}",))


@router.get("/subjects/{subject}/photo-health", operation_id="get_photo_health", summary="See how fit the photos are")
def health(studio: StudioOf, subject: Slug, base: ForBase = "", resolution: Resolution = None) -> DatasetHealth:
    """As a set for a training on a base: sizes, shapes, framing, what is alike, and captions."""
    return studio.photos.health(subject, base=base, resolution=resolution)


@router.get("/subjects/{subject}/crops", operation_id="list_proposed_crops", summary="See what would be cropped")
def crops(
    studio: StudioOf,
    subject: Slug,
    photo: Annotated[list[Named] | None, Query(max_length=500, description="Only these; all if left out.")] = None,
    base: ForBase = "",
    resolution: Resolution = None,
) -> list[ProposedCrop]:
    """The crop and bucket that freezing would take of each photo, and who chose it."""
    return studio.photos.proposed_crops(subject, photo or (), base=base, resolution=resolution)


@router.get("/subjects/{subject}/photos/{photo}", operation_id="get_photo", summary="See a photo")
def show(studio: StudioOf, subject: Slug, photo: PhotoDigest) -> PhotoEntry:
    """One photo, with its caption, crop and report."""
    return studio.photos.get(subject, photo)


@router.get(
    "/subjects/{subject}/photos/{photo}/findings",
    operation_id="list_photo_findings",
    summary="See what is noticed of a photo",
)
def findings(
    studio: StudioOf, subject: Slug, photo: PhotoDigest, base: ForBase = "", resolution: Resolution = None
) -> tuple[Finding, ...]:
    """Of its pixels, its light and its caption, by itself."""
    return studio.photos.findings(subject, photo, base=base, resolution=resolution)


@router.patch("/subjects/{subject}/photos/{photo}", operation_id="update_photo", summary="Change caption or crop")
def change(studio: StudioOf, subject: Slug, photo: PhotoDigest, wanted: PhotoChange) -> PhotoEntry:
    """What is left out stays. Send If-Match with the ETag that you saw: 412 if it was changed meanwhile."""
    crop = types.Crop(**wanted.crop.model_dump()) if wanted.crop else None
    changes_crop = "crop" in wanted.model_fields_set
    return studio.photos.change(subject, photo, caption=wanted.caption, crop=crop, changes_crop=changes_crop)


@router.delete(
    "/subjects/{subject}/photos/{photo}", status_code=204, operation_id="delete_photo", summary="Take a photo away"
)
def remove(studio: StudioOf, subject: Slug, photo: PhotoDigest) -> None:
    """Frozen datasets keep it."""
    studio.photos.remove(subject, photo)


@router.get(
    "/subjects/{subject}/photos/{photo}/file",
    operation_id="download_photo",
    summary="Download a photo",
    response_class=Response,
    responses=files.PICTURE,
)
def file(request: Request, studio: StudioOf, subject: Slug, photo: PhotoDigest) -> Response:
    """As it is stored: upright, sRGB, without metadata."""
    whole = studio.photos.get(subject, photo).digest
    return files.picture_file(request, studio.gallery.photo_picture(subject, whole))


@router.get(
    "/subjects/{subject}/photos/{photo}/thumbnail",
    operation_id="download_photo_thumbnail",
    summary="Download a photo made small",
    response_class=Response,
    responses=files.WEBP,
)
def thumbnail(
    request: Request, studio: StudioOf, subject: Slug, photo: PhotoDigest, width: ThumbnailWidth = 320
) -> Response:
    """A WebP of it."""
    whole = studio.photos.get(subject, photo).digest
    return files.thumbnail_file(request, studio, studio.gallery.photo_picture(subject, whole), width)


@router.get(
    "/subjects/{subject}/photos/{photo}/crop",
    operation_id="download_crop",
    summary="See what a training would see of a photo",
    response_class=Response,
    responses=files.JPEG,
)
def crop_picture(
    studio: StudioOf,
    subject: Slug,
    photo: PhotoDigest,
    left: Pixel = None,
    top: Pixel = None,
    width: Pixel = None,
    height: Pixel = None,
    base: ForBase = "",
    resolution: Resolution = None,
) -> Response:
    """A JPEG in the size of its bucket. With all four sides it shows a crop that is not kept."""
    sides = [left, top, width, height]
    given = [side for side in sides if side is not None]
    if given and len(given) < len(sides):
        raise InputRefused("A crop has four sides.", remedy="Give left, top, width and height.", thing="crop")
    crop = types.Crop(*given) if given else None
    data = studio.photos.crop_picture(subject, photo, crop=crop, base=base, resolution=resolution)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, no-cache"})


@router.put("/subjects/{subject}/captions", operation_id="set_captions", summary="Set the captions of several photos")
def set_captions(studio: StudioOf, subject: Slug, wanted: Captions) -> list[PhotoEntry]:
    """All are set or none; gives the photos as they are then."""
    return studio.photos.set_captions(subject, wanted.captions)


@router.post("/subjects/{subject}/caption-edits", operation_id="edit_captions", summary="Change many captions at once")
def edit(studio: StudioOf, subject: Slug, wanted: CaptionEdit, what_if: WhatIfAsked = False) -> CaptionChanges:
    """Find and replace, words before or after. ``what_if`` only says what would change; it can be taken back."""
    return studio.captions.edit(subject, what_if=what_if, **wanted.model_dump(exclude_unset=True))


@router.get(
    "/subjects/{subject}/caption-offers", operation_id="list_caption_offers", summary="See captions that came later"
)
def offers(studio: StudioOf, subject: Slug) -> CaptionChanges:
    """Those that differ from what their photos have, and were not taken: ``before`` is there, ``after`` is offered."""
    return studio.captions.offered(subject)


@router.post(
    "/subjects/{subject}/caption-offers",
    operation_id="answer_caption_offers",
    summary="Take captions that came later, or keep those that are there",
)
def answer_offers(studio: StudioOf, subject: Slug, wanted: CaptionAnswer) -> CaptionChanges:
    """Of the photos named, or of all. Gives what changed; it can be taken back."""
    return studio.captions.answer(subject, replace=wanted.replace, photos=wanted.photos)


@router.get(
    "/subjects/{subject}/caption-edits/last", operation_id="get_last_caption_edit", summary="See the last change"
)
def last_edit(studio: StudioOf, subject: Slug) -> CaptionChanges:
    """The change of many captions that can be taken back. Not found: there is none."""
    found = studio.captions.last(subject)
    if found is None:
        raise NotFound(f"No change of captions of '{subject}' can be taken back.", remedy="Make one.", thing=subject)
    return found


@router.delete(
    "/subjects/{subject}/caption-edits/last", operation_id="undo_caption_edit", summary="Take the last change back"
)
def undo(studio: StudioOf, subject: Slug) -> CaptionChanges:
    """Captions that were changed again since stay. Gives what it put back."""
    return studio.captions.undo(subject)
