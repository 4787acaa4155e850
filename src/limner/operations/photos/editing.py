"""Photos made ready by hand: the part of each that is trained on, and the captions, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.catalog import find_base
from limner.datasets.buckets import check_resolution
from limner.datasets.captions.template import check_template, clean_caption
from limner.datasets.crops import check_crop
from limner.datasets.placing import place
from limner.datasets.render import encode_picture, open_photo, render_image
from limner.errors import CaptionRefused, InputRefused, NotFound
from limner.operations.home import blob_erasure as erasing
from limner.operations.home.workspace import Workspace
from limner.operations.photos import queries as photo_queries
from limner.operations.subjects import queries as reading
from limner.records import PhotoEntry, ProposedCrop
from limner.store.models import PhotoRow
from limner.types import Base, Crop, DatasetItem

__all__ = [
    "SMALLEST_CROP",
    "base_and_resolution",
    "checked_caption",
    "crop_picture",
    "find_photo_row",
    "photo",
    "proposed_crops",
    "remove_photo",
    "set_captions",
    "set_crop",
]

SMALLEST_CROP = 64
"""The shortest side of a crop in pixels: as for a whole photo, less cannot be trained on."""


def find_photo_row(session: Session, slug: str, digest: str) -> PhotoRow:
    """A photo of a subject by its digest, or by six or more digits of it; NotFound says how to list them."""
    reading.find_subject_row(session, slug)
    query = select(PhotoRow).where(PhotoRow.subject == slug, PhotoRow.digest.startswith(digest, autoescape=True))
    rows = session.scalars(query.limit(2)).all() if digest else []
    if len(rows) != 1 or len(digest) < 6:
        raise NotFound(
            f"'{digest[:80]}' names {'several photos' if len(rows) > 1 else 'no photo'} of '{slug}'.",
            remedy=f"List them with `limner photos list {slug}` and give more digits.",
            thing=digest[:80],
        )
    return rows[0]


def photo(workspace: Workspace, slug: str, digest: str) -> PhotoEntry:
    """One photo of a subject."""
    with workspace.database.read() as session:
        return photo_queries.to_photo(workspace, find_photo_row(session, slug, digest))


def remove_photo(workspace: Workspace, slug: str, digest: str) -> None:
    """Take a photo away from a subject, and erase it unless a frozen dataset or another subject holds it too."""
    with workspace.database.read() as session:
        number = find_photo_row(session, slug, digest).id
    # Seen by everybody: the same bytes may be somebody else's too.
    with workspace.everyone.database.write() as session:
        row = session.get(PhotoRow, number)
        if row is not None:
            session.delete(row)
            session.flush()
            erasing.let_go(session, [row.digest])
    erasing.finish_later(workspace)


def base_and_resolution(workspace: Workspace, base: str, resolution: int | None) -> tuple[Base, int]:
    """The base, that of the settings if none is named, and a resolution of it, its own if none is given."""
    row = find_base(base or workspace.settings.base)
    return row, check_resolution(resolution or row.size, row.resolutions)


# --- crops ------------------------------------------------------------------------------------------------------


def set_crop(workspace: Workspace, slug: str, digest: str, crop: Crop | None) -> PhotoEntry:
    """Keep the part of a photo that is to be trained on, in its pixels; None leaves the choice to Limner again.

    InputRefused: the crop is not inside the photo, or has a side under 64 pixels.
    """
    return change_photo(workspace, slug, digest, crop=crop, changes_crop=True)


def change_photo(
    workspace: Workspace,
    slug: str,
    digest: str,
    *,
    caption: str | None = None,
    crop: Crop | None = None,
    changes_crop: bool = False,
) -> PhotoEntry:
    """Change a photo's caption, and its crop if ``changes_crop``: both or neither. Errors as for each of them."""
    clean = None if caption is None else checked_caption(caption)
    with workspace.database.write() as session:
        row = find_photo_row(session, slug, digest)
        if changes_crop:
            if crop is not None:
                _check_crop(crop, row)
            row.crop = None if crop is None else asdict(crop)
        if clean is not None:
            _caption(row, clean)
        session.flush()
        return photo_queries.to_photo(workspace, row)


def _caption(row: PhotoRow, caption: str) -> None:
    if caption != row.caption:
        row.caption, row.caption_from = caption, "hand" if caption else ""


def _check_crop(crop: Crop, row: PhotoRow) -> Crop:
    check_crop(crop, row.width, row.height)
    if min(crop.width, crop.height) < SMALLEST_CROP:
        raise InputRefused(
            f"The crop {crop.width} x {crop.height} is too small to be trained on.",
            remedy=f"Make both sides {SMALLEST_CROP} pixels or more.",
            thing=row.digest[:12],
        )
    return crop


def proposed_crops(
    workspace: Workspace, slug: str, photos: Sequence[str] = (), *, base: str = "", resolution: int | None = None
) -> list[ProposedCrop]:
    """What freezing would take of each photo named, or of all, for a base. Photos without a crop are looked at."""
    row, size = base_and_resolution(workspace, base, resolution)
    with workspace.database.read() as session:
        reading.find_subject_row(session, slug)
        if photos:
            rows = [find_photo_row(session, slug, digest) for digest in photos]
        else:
            rows = list(session.scalars(select(PhotoRow).where(PhotoRow.subject == slug).order_by(PhotoRow.id)))
    return [_proposed(workspace, one, row, size, Crop(**one.crop) if one.crop else None) for one in rows]


def crop_picture(
    workspace: Workspace,
    slug: str,
    digest: str,
    *,
    crop: Crop | None = None,
    base: str = "",
    resolution: int | None = None,
) -> bytes:
    """What a training would see of a photo, as JPEG in the size of its bucket; ``crop`` tries another than is kept."""
    row, size = base_and_resolution(workspace, base, resolution)
    with workspace.database.read() as session:
        one = find_photo_row(session, slug, digest)
        if crop is not None:
            _check_crop(crop, one)
    kept = Crop(**one.crop) if one.crop else None
    placed = _proposed(workspace, one, row, size, crop or kept)
    item = DatasetItem(one.digest, "image/jpeg", one.width, one.height, "", placed.crop, placed.bucket)
    return encode_picture(render_image(item, workspace.blobs.path), "image/jpeg")


def _proposed(workspace: Workspace, row: PhotoRow, base: Base, resolution: int, own: Crop | None) -> ProposedCrop:
    load = partial(open_photo, workspace.blobs.path(row.digest), row.width, row.height)
    placed, crop = place(row.width, row.height, resolution, base.resolutions, load=load, within=own)
    return ProposedCrop(row.digest, crop, placed.bucket, placed.resolution, own is not None, placed.enlarged)


# --- captions ---------------------------------------------------------------------------------------------------


def checked_caption(text: str) -> str:
    """A caption by hand as one clean line; CaptionRefused for a placeholder that is not known."""
    caption = clean_caption(text)
    check_template(caption)
    return caption


def set_captions(workspace: Workspace, slug: str, captions: Mapping[str, str]) -> list[PhotoEntry]:
    """Set the captions of photos by their digests, all or none; an empty one goes back to the template.

    CaptionRefused names the photo whose caption cannot be used, NotFound the digest that is no photo's.
    """
    clean: dict[str, str] = {}
    for digest, text in captions.items():
        try:
            clean[digest] = checked_caption(text)
        except CaptionRefused as refused:
            if len(captions) == 1:
                raise
            raise CaptionRefused(
                f"No caption was changed. Photo {digest[:12]}: {refused.message}",
                remedy=refused.remedy,
                thing=digest[:80],
            ) from refused
    with workspace.database.write() as session:
        rows = [(find_photo_row(session, slug, digest), caption) for digest, caption in clean.items()]
        for row, caption in rows:
            _caption(row, caption)
        session.flush()
        return [photo_queries.to_photo(workspace, row) for row, _ in rows]
