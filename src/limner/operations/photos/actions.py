"""The photos of a subject: taken in, captioned, cropped, judged as a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from sqlalchemy import select

from limner.datasets.crops import check_crop
from limner.datasets.placing import place
from limner.datasets.render import encode_picture, open_photo, render_image
from limner.errors import CaptionRefused, InputRefused
from limner.operations.home import blob_erasure
from limner.operations.home.facet import Facet
from limner.operations.home.workspace import Workspace
from limner.operations.photos.queries import base_and_resolution, checked_caption, find_photo_row, to_intakes, to_photo
from limner.operations.subjects import queries as subject_queries
from limner.records import (
    DatasetHealth,
    IntakeEntry,
    Job,
    PhotoEntry,
    ProposedCrop,
)
from limner.store.models import (
    PhotoRow,
)
from limner.types import Base, Crop, DatasetItem, Finding

__all__ = ["Photos"]


SMALLEST_CROP = 64
"""The shortest side of a crop in pixels: as for a whole photo, less cannot be trained on."""


class Photos(Facet):
    """``studio.photos``: the photos of a subject: taken in, captioned, cropped, judged as a set."""

    def add(
        self,
        slug: str,
        paths: Sequence[str | Path] = (),
        *,
        captions: Sequence[str | Path] = (),
        replace_captions: bool = False,
        captions_from_photos: bool = False,
    ) -> Job:
        """Take in files, folders, zips and globs. ``captions`` may name tables; captions beside photos are found.

        Captions also reach photos that are there: empty ones are filled, others kept unless ``replace_captions``;
        ``captions.offered`` has what was not taken. ``captions_from_photos``: also what the photos' metadata says.
        """
        from limner.operations.photos import job as intake

        job = intake.submit(
            self._workspace,
            slug,
            paths,
            captions,
            replace_captions=replace_captions,
            captions_from_photos=captions_from_photos,
        )
        return self._started(job)

    def all(self, slug: str) -> list[PhotoEntry]:
        """The accepted photos of a subject, in the order of their arrival."""
        with self._workspace.database.read() as session:
            subject_queries.find_subject_row(session, slug)
            rows = session.scalars(select(PhotoRow).where(PhotoRow.subject == slug).order_by(PhotoRow.id))
            return [to_photo(self._workspace, row) for row in rows]

    def report(self, slug: str, job: str = "") -> list[IntakeEntry]:
        """What an intake (the newest if none is named) said of each file, the refused ones too."""
        with self._workspace.database.read() as session:
            subject_queries.find_subject_row(session, slug)
            return to_intakes(session, slug, job)

    def set_caption(self, slug: str, photo: str, caption: str) -> None:
        """Set the caption of a photo (digest, or six or more digits of it); empty goes back to the template."""

        self.set_captions(slug, {photo: caption})

    def set_captions(self, slug: str, captions: Mapping[str, str]) -> list[PhotoEntry]:
        """Set the captions of several photos by their digests, all or none; empty goes back to the template.

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
        with self._workspace.database.write() as session:
            rows = [(find_photo_row(session, slug, digest), caption) for digest, caption in clean.items()]
            for row, caption in rows:
                _caption(row, caption)
            session.flush()
            return [to_photo(self._workspace, row) for row, _ in rows]

    def set_crop(self, slug: str, photo: str, crop: Crop | None) -> PhotoEntry:
        """Choose the part of a photo that is trained on, in its pixels; None leaves the choice to Limner again.

        InputRefused: it is not inside the photo, or has a side under 64 pixels.
        """
        return self.change(slug, photo, crop=crop, changes_crop=True)

    def change(
        self, slug: str, photo: str, *, caption: str | None = None, crop: Crop | None = None, changes_crop: bool = False
    ) -> PhotoEntry:
        """Set a photo's caption, its crop, or both at once or neither. Errors of ``set_captions`` and ``set_crop``."""
        clean = None if caption is None else checked_caption(caption)
        with self._workspace.database.write() as session:
            row = find_photo_row(session, slug, photo)
            if changes_crop:
                if crop is not None:
                    _check_crop(crop, row)
                row.crop = None if crop is None else asdict(crop)
            if clean is not None:
                _caption(row, clean)
            session.flush()
            return to_photo(self._workspace, row)

    def proposed_crops(
        self, slug: str, photos: Sequence[str] = (), *, base: str = "", resolution: int | None = None
    ) -> list[ProposedCrop]:
        """What freezing would take of each photo named, or of all, for a base: crop, bucket, and who chose it."""
        row, size = base_and_resolution(self._workspace, base, resolution)
        with self._workspace.database.read() as session:
            subject_queries.find_subject_row(session, slug)
            if photos:
                rows = [find_photo_row(session, slug, digest) for digest in photos]
            else:
                rows = list(session.scalars(select(PhotoRow).where(PhotoRow.subject == slug).order_by(PhotoRow.id)))
        return [_proposed(self._workspace, one, row, size, Crop(**one.crop) if one.crop else None) for one in rows]

    def crop_picture(
        self, slug: str, photo: str, *, crop: Crop | None = None, base: str = "", resolution: int | None = None
    ) -> bytes:
        """What a training would see of a photo: a JPEG in the size of its bucket. ``crop`` tries one that is not kept.

        InputRefused: the crop is not inside the photo, or has a side under 64 pixels.
        """
        row, size = base_and_resolution(self._workspace, base, resolution)
        with self._workspace.database.read() as session:
            one = find_photo_row(session, slug, photo)
            if crop is not None:
                _check_crop(crop, one)
        kept = Crop(**one.crop) if one.crop else None
        placed = _proposed(self._workspace, one, row, size, crop or kept)
        item = DatasetItem(one.digest, "image/jpeg", one.width, one.height, "", placed.crop, placed.bucket)
        return encode_picture(render_image(item, self._workspace.blobs.path), "image/jpeg")

    def get(self, slug: str, photo: str) -> PhotoEntry:
        """One photo of a subject by its digest, or by six or more digits of it."""
        with self._workspace.database.read() as session:
            return to_photo(self._workspace, find_photo_row(session, slug, photo))

    def health(self, slug: str, *, base: str = "", resolution: int | None = None) -> DatasetHealth:
        """How fit the photos are as a set for a training on a base: sizes, shapes, framing, what is alike, captions."""
        from limner.operations.photos import dataset_health

        return dataset_health.photo_health(self._workspace, slug, base=base, resolution=resolution)

    def findings(self, slug: str, photo: str, *, base: str = "", resolution: int | None = None) -> tuple[Finding, ...]:
        """What the health says of one photo by itself: its pixels, its light, its caption."""
        from limner.operations.photos import dataset_health

        return dataset_health.photo_findings(self._workspace, slug, photo, base=base, resolution=resolution)

    def remove(self, slug: str, photo: str) -> None:
        """Take a photo away from a subject; frozen datasets keep it."""
        with self._workspace.database.read() as session:
            number = find_photo_row(session, slug, photo).id
        # Seen by everybody: the same bytes may be somebody else's too.
        with self._workspace.everyone.database.write() as session:
            row = session.get(PhotoRow, number)
            if row is not None:
                session.delete(row)
                session.flush()
                blob_erasure.let_go(session, [row.digest])
        blob_erasure.finish_later(self._workspace)


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


def _proposed(workspace: Workspace, row: PhotoRow, base: Base, resolution: int, own: Crop | None) -> ProposedCrop:
    load = partial(open_photo, workspace.blobs.path(row.digest), row.width, row.height)
    placed, crop = place(row.width, row.height, resolution, base.resolutions, load=load, within=own)
    return ProposedCrop(row.digest, crop, placed.bucket, placed.resolution, own is not None, placed.enlarged)
