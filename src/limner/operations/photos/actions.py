"""The photos of a subject: taken in, captioned, cropped, judged as a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from limner.operations.home.facet import Facet
from limner.operations.photos import queries as photo_queries
from limner.records import (
    DatasetHealth,
    IntakeEntry,
    Job,
    PhotoEntry,
    ProposedCrop,
)
from limner.types import Crop, Finding

__all__ = ["Photos"]


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
        return photo_queries.photos(self._workspace, slug)

    def report(self, slug: str, job: str = "") -> list[IntakeEntry]:
        """What an intake (the newest if none is named) said of each file, the refused ones too."""
        return photo_queries.photo_report(self._workspace, slug, job)

    def set_caption(self, slug: str, photo: str, caption: str) -> None:
        """Set the caption of a photo (digest, or six or more digits of it); empty goes back to the template."""
        from limner.operations.photos import editing as photo_editing

        photo_editing.set_captions(self._workspace, slug, {photo: caption})

    def set_captions(self, slug: str, captions: Mapping[str, str]) -> list[PhotoEntry]:
        """Set the captions of several photos by their digests, all or none; empty goes back to the template.

        CaptionRefused names the photo whose caption cannot be used, NotFound the digest that is no photo's.
        """
        from limner.operations.photos import editing as photo_editing

        return photo_editing.set_captions(self._workspace, slug, captions)

    def set_crop(self, slug: str, photo: str, crop: Crop | None) -> PhotoEntry:
        """Choose the part of a photo that is trained on, in its pixels; None leaves the choice to Limner again.

        InputRefused: it is not inside the photo, or has a side under 64 pixels.
        """
        from limner.operations.photos import editing as photo_editing

        return photo_editing.set_crop(self._workspace, slug, photo, crop)

    def change(
        self, slug: str, photo: str, *, caption: str | None = None, crop: Crop | None = None, changes_crop: bool = False
    ) -> PhotoEntry:
        """Set a photo's caption, its crop, or both at once or neither. Errors of ``set_captions`` and ``set_crop``."""
        from limner.operations.photos import editing as photo_editing

        return photo_editing.change_photo(
            self._workspace, slug, photo, caption=caption, crop=crop, changes_crop=changes_crop
        )

    def proposed_crops(
        self, slug: str, photos: Sequence[str] = (), *, base: str = "", resolution: int | None = None
    ) -> list[ProposedCrop]:
        """What freezing would take of each photo named, or of all, for a base: crop, bucket, and who chose it."""
        from limner.operations.photos import editing as photo_editing

        return photo_editing.proposed_crops(self._workspace, slug, photos, base=base, resolution=resolution)

    def crop_picture(
        self, slug: str, photo: str, *, crop: Crop | None = None, base: str = "", resolution: int | None = None
    ) -> bytes:
        """What a training would see of a photo: a JPEG in the size of its bucket. ``crop`` tries one that is not kept.

        InputRefused: the crop is not inside the photo, or has a side under 64 pixels.
        """
        from limner.operations.photos import editing as photo_editing

        return photo_editing.crop_picture(self._workspace, slug, photo, crop=crop, base=base, resolution=resolution)

    def get(self, slug: str, photo: str) -> PhotoEntry:
        """One photo of a subject by its digest, or by six or more digits of it."""
        from limner.operations.photos import editing as photo_editing

        return photo_editing.photo(self._workspace, slug, photo)

    def health(self, slug: str, *, base: str = "", resolution: int | None = None) -> DatasetHealth:
        """How fit the photos are as a set for a training on a base: sizes, shapes, framing, what is alike, captions."""
        from limner.operations.photos import dataset_health as health

        return health.photo_health(self._workspace, slug, base=base, resolution=resolution)

    def findings(self, slug: str, photo: str, *, base: str = "", resolution: int | None = None) -> tuple[Finding, ...]:
        """What the health says of one photo by itself: its pixels, its light, its caption."""
        from limner.operations.photos import dataset_health as health

        return health.photo_findings(self._workspace, slug, photo, base=base, resolution=resolution)

    def remove(self, slug: str, photo: str) -> None:
        """Take a photo away from a subject; frozen datasets keep it."""
        from limner.operations.photos import editing as photo_editing

        photo_editing.remove_photo(self._workspace, slug, photo)
