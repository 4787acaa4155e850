"""The photos of a subject: their health, their captions, and one photo at a time with its crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from limner.errors import InputRefused, NotFound
from limner.records import DatasetHealth, PhotoEntry
from limner.studio import Studio
from limner.types import Crop, Finding, Severity
from limner.web.pages import datasets
from limner.web.visit import Notice, StudioOf, back, is_partial, page

__all__ = ["router"]

router = APIRouter(prefix="/subjects/{slug}")
router.include_router(datasets.router)

SHOWN = (("all", "All"), ("warned", "With remarks"), ("uncaptioned", "No caption"), ("alike", "Alike"))
"""The filters that are always there; others are the codes of findings."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A photo as the page shows it: ``group`` numbers those that are alike, from 1; 0 is none."""

    photo: PhotoEntry
    findings: tuple[Finding, ...]
    group: int = 0


@router.get("/photos")
def check(request: Request, studio: StudioOf, slug: str, show: str = "all", base: str = "") -> Response:
    """The photos of a subject with what is to be said of them, and their captions to be edited in place."""
    return _check_page(request, studio, slug, show=show, base=base)


def _check_page(
    request: Request, studio: Studio, slug: str, *, show: str, base: str, status: int = 200, **more: Any
) -> Response:
    subject = studio.subjects.get(slug)
    health = studio.photos.health(slug, base=base)
    photos = studio.photos.all(slug)
    chosen = _chosen(health, show)
    return page(
        request,
        "pages/photos.html",
        status=status,
        nav="subjects",
        subject=subject,
        health=health,
        rows=_rows(photos, health, chosen, show),
        counts=_counts(health),
        filters=SHOWN,
        show=show,
        base=base,
        last_edit=studio.captions.last(slug),
        bases=[(one.id, one.title) for one in studio.maintenance.bases()],
        **more,
    )


def _chosen(health: DatasetHealth, show: str) -> set[str] | None:
    """The digests that a filter shows; None for all."""
    if show == "all":
        return None
    if show == "warned":
        return {digest for digest, found in health.by_photo.items() if _is_warned(found)} | _alike(health)
    if show == "uncaptioned":
        return set(health.uncaptioned)
    if show == "alike":
        return _alike(health)
    return {digest for finding in health.findings if finding.code == show for digest in finding.photos}


def _is_warned(findings: Sequence[Finding]) -> bool:
    return any(finding.severity is not Severity.NOTE for finding in findings)


def _alike(health: DatasetHealth) -> set[str]:
    return {digest for group in health.alike for digest in group}


def _counts(health: DatasetHealth) -> dict[str, int]:
    shown = {name: _chosen(health, name) for name, _ in SHOWN}
    return {name: health.photos if chosen is None else len(chosen) for name, chosen in shown.items()}


def _rows(photos: Sequence[PhotoEntry], health: DatasetHealth, chosen: set[str] | None, show: str) -> list[_Row]:
    groups = {digest: number for number, group in enumerate(health.alike, 1) for digest in group}
    rows = [
        _Row(photo, tuple(health.by_photo.get(photo.digest, ())), groups.get(photo.digest, 0))
        for photo in photos
        if chosen is None or photo.digest in chosen
    ]
    return sorted(rows, key=lambda row: row.group) if show == "alike" else rows


# --- captions -------------------------------------------------------------------------------------------------------


@router.post("/photos/{digest}/caption")
def set_caption(
    request: Request,
    studio: StudioOf,
    slug: str,
    digest: str,
    caption: Annotated[str, Form()] = "",
    show: Annotated[str, Form()] = "all",
    base: Annotated[str, Form()] = "",
    whole: Annotated[bool, Form()] = False,
) -> Response:
    """Save one caption; ``whole`` says that it was edited on the photo's own page."""
    photo = studio.photos.get(slug, digest)
    try:
        (photo,) = studio.photos.set_captions(slug, {photo.digest: caption})
    except InputRefused as refused:
        if is_partial(request):
            row = _Row(photo, ())
            return page(request, "fragments/caption_said.html", status=422, row=row, refused=refused)
        typed = {"typed": {photo.digest: caption}, "errors": {photo.digest: refused}}
        if whole:
            return _photo_page(request, studio, slug, photo.digest, status=422, **typed)
        return _check_page(request, studio, slug, show=show, base=base, status=422, **typed)
    if is_partial(request):
        row = _Row(photo, studio.photos.findings(slug, photo.digest))
        return page(request, "fragments/caption_said.html", row=row, refused=None)
    if whole:
        return back(f"/subjects/{slug}/photos/{photo.digest}", Notice("note", "The caption is saved."))
    asked = urlencode({"show": show, **({"base": base} if base else {})})
    return back(f"/subjects/{slug}/photos?{asked}#p-{photo.digest[:12]}")


class _Edit(BaseModel):
    """The form of a change of many captions. Spaces at the ends count: a prefix mostly ends in one."""

    find: str = ""
    replace: str = ""
    prefix: str = ""
    suffix: str = ""
    match_case: bool = False
    whole_words: bool = False
    fill_empty: bool = False


@router.get("/captions")
def preview_edit(request: Request, studio: StudioOf, slug: str, edit: Annotated[_Edit, Query()]) -> Response:
    """What a change of many captions would do; nothing is changed. Without a change named: the empty form."""
    return _edit_page(request, studio, slug, edit, asked=bool(request.query_params))


def _edit_page(request: Request, studio: Studio, slug: str, edit: _Edit, *, asked: bool) -> Response:
    changes, refused = None, None
    if asked:
        try:
            changes = studio.captions.edit(slug, what_if=True, **edit.model_dump())
        except InputRefused as failure:
            refused = failure
    return page(
        request,
        "pages/caption_edit.html",
        status=422 if refused else 200,
        nav="subjects",
        subject=studio.subjects.get(slug),
        photos={photo.digest: photo for photo in studio.photos.all(slug)},
        edit=edit,
        changes=changes,
        refused=refused,
        last_edit=studio.captions.last(slug),
    )


@router.post("/captions")
def apply_edit(request: Request, studio: StudioOf, slug: str, edit: Annotated[_Edit, Form()]) -> Response:
    """Change many captions. The same form sent twice finds nothing left to change."""
    try:
        done = studio.captions.edit(slug, **edit.model_dump())
    except InputRefused:
        return _edit_page(request, studio, slug, edit, asked=True)
    if not done.changes:
        return back(f"/subjects/{slug}/photos", Notice("note", "No caption had to be changed."))
    return back(f"/subjects/{slug}/photos", Notice("note", f"{_captions(len(done.changes))} changed."))


@router.post("/captions/undo")
def undo_edit(studio: StudioOf, slug: str) -> Response:
    """Take the last change of many captions back."""
    put_back = studio.captions.undo(slug)
    return back(f"/subjects/{slug}/photos", Notice("note", f"{_captions(len(put_back.changes))} put back."))


@router.post("/captions/offered")
def answer_offered(
    studio: StudioOf,
    slug: str,
    action: Annotated[str, Form()] = "keep",
    photo: Annotated[str, Form()] = "",
) -> Response:
    """Take captions that came later in place of those that are there, or keep these; of one photo or of all."""
    replace = action == "replace"
    done = studio.captions.answer(slug, replace=replace, photos=[photo] if photo else [])
    said = f"{_captions(len(done.changes))} replaced." if replace else "The captions stay as they are."
    remedy = "It can be taken back on the page of the captions." if done.changes else ""
    return back(f"/subjects/{slug}", Notice("note", said, remedy))


def _captions(count: int) -> str:
    return "1 caption was" if count == 1 else f"{count} captions were"


# --- one photo ------------------------------------------------------------------------------------------------------


@router.get("/photos/{digest}")
def one_photo(request: Request, studio: StudioOf, slug: str, digest: str) -> Response:
    """One photo: large, with its crop, its caption, and what intake said."""
    return _photo_page(request, studio, slug, digest)


def _photo_page(
    request: Request, studio: Studio, slug: str, digest: str, *, status: int = 200, **more: Any
) -> Response:
    photo = studio.photos.get(slug, digest)
    digests = [one.digest for one in studio.photos.all(slug)]
    at = digests.index(photo.digest)
    health = studio.photos.health(slug)
    (proposed,) = studio.photos.proposed_crops(slug, [photo.digest])
    return page(
        request,
        "pages/photo.html",
        status=status,
        nav="subjects",
        subject=studio.subjects.get(slug),
        photo=photo,
        row=_Row(photo, tuple(health.by_photo.get(photo.digest, ()))),
        health=health,
        proposed=proposed,
        alike=[other for group in health.alike if photo.digest in group for other in group if other != photo.digest],
        number=at + 1,
        count=len(digests),
        previous=digests[at - 1] if at else "",
        next=digests[at + 1] if at + 1 < len(digests) else "",
        **more,
    )


@router.post("/photos/{digest}/crop")
def set_crop(
    request: Request,
    studio: StudioOf,
    slug: str,
    digest: str,
    left: Annotated[str, Form()] = "",
    top: Annotated[str, Form()] = "",
    width: Annotated[str, Form()] = "",
    height: Annotated[str, Form()] = "",
    action: Annotated[str, Form()] = "save",
) -> Response:
    """Keep the crop of a photo, or with ``action`` "automatic" leave it to Limner again."""
    digest = studio.photos.get(slug, digest).digest
    here = f"/subjects/{slug}/photos/{digest}"
    if action == "automatic":
        studio.photos.set_crop(slug, digest, None)
        return back(here, Notice("note", "Limner chooses the crop again."))
    typed = {"left": left, "top": top, "width": width, "height": height}
    try:
        studio.photos.set_crop(slug, digest, _crop(typed))
    except InputRefused as refused:
        return _photo_page(request, studio, slug, digest, status=422, typed_crop=typed, crop_error=refused)
    return back(here, Notice("note", "The crop is saved."))


def _crop(typed: dict[str, str]) -> Crop:
    """The crop of four fields; a fraction of a pixel, as a pointer gives it, is rounded."""
    try:
        numbers = {name: round(float(text)) for name, text in typed.items()}
    except (ValueError, OverflowError):
        raise InputRefused(
            "Left, top, width and height must all be numbers.", remedy="Give them in pixels of the photo."
        ) from None
    return Crop(**numbers)


@router.get("/photos/{digest}/trained")
def trained_picture(
    studio: StudioOf,
    slug: str,
    digest: str,
    left: Annotated[str | None, Query()] = None,
    top: str = "",
    width: str = "",
    height: str = "",
) -> Response:
    """What a training would see of the photo, with the crop that is kept or the one named."""
    crop = None if left is None else _crop({"left": left, "top": top, "width": width, "height": height})
    picture = studio.photos.crop_picture(slug, digest, crop=crop)
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, no-cache"})


@router.post("/photos/{digest}/remove")
def remove_photo(studio: StudioOf, slug: str, digest: str) -> Response:
    """Take a photo away. Asked twice, the second time there is nothing left to do."""
    try:
        photo = studio.photos.get(slug, digest)
        studio.photos.remove(slug, photo.digest)
    except NotFound:
        studio.subjects.get(slug)
        return back(f"/subjects/{slug}/photos", Notice("note", "That photo was removed already."))
    return back(f"/subjects/{slug}/photos", Notice("note", f"{photo.source.rpartition('/')[2]} was removed."))
