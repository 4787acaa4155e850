"""The gallery: pictures to look at, by their thousands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from limner.errors import InputRefused, NotFound, StorageFailed
from limner.operations.gallery import picture_files
from limner.operations.gallery.archive import Archive, archive
from limner.operations.gallery.search import EVERYTHING, GallerySearch, neighbours
from limner.operations.home import blob_erasure, thumbnails
from limner.records.gallery import (
    GalleryFilter,
    ImageDetail,
    StoredPicture,
)
from limner.records.stored import LoraUsed
from limner.store.models import GenerationRow, GenerationSubjectRow, ImageRow

__all__ = ["Gallery"]


class Gallery(GallerySearch):
    """``studio.gallery``: the pictures of one home as its visitor may see them."""

    widths = thumbnails.WIDTHS
    """The widths of thumbnails, in pixels."""

    def detail(self, image: int, wanted: GalleryFilter = EVERYTHING) -> ImageDetail:
        """An image with all that is stored of how it was made, and its neighbours in a filter. NotFound."""
        picture = self.picture(image)
        with self._workspace.database.read() as session:
            found = session.get(ImageRow, image)
            made = session.get(GenerationRow, found.generation) if found else None
            if found is None or made is None:
                raise NotFound(f"There is no image {image}.", remedy="List them: limner images list", thing=str(image))
            shown = select(GenerationSubjectRow.subject).where(GenerationSubjectRow.generation == made.id)
            newer, older = neighbours(session, wanted, image)
            return ImageDetail(
                id=found.id,
                generation=found.generation,
                position=found.position,
                digest=found.digest,
                width=found.width,
                height=found.height,
                prompt=made.prompt,
                seed=found.seed,
                generator=found.generator,
                favourite=found.favourite,
                created_at=found.created_at,
                picture=picture,
                base=made.base,
                loras=tuple(LoraUsed(**use) for use in made.loras),
                subjects=tuple(session.scalars(shown.order_by(GenerationSubjectRow.subject))),
                steps=made.steps,
                guidance=made.guidance,
                count=made.count,
                seconds=found.seconds,
                byte_size=picture.path.stat().st_size,
                newer=newer,
                older=older,
            )

    # --- changing -----------------------------------------------------------------------------------------------

    def set_favourite(self, images: Sequence[int], favourite: bool = True) -> int:
        """Mark images as favourites, or no longer; how many there were. NotFound, before any is marked."""
        wanted = self._all_there(images)
        with self._workspace.database.write() as session:
            for some in blob_erasure.portions(wanted):
                session.execute(update(ImageRow).where(ImageRow.id.in_(some)).values(favourite=favourite))
        return len(wanted)

    def delete(self, images: Sequence[int]) -> int:
        """Erase images, their thumbnails, and their files unless something else has the same; how many there were.

        What they were asked for with stays, so that they can be drawn again; a job that goes on with the rest does
        without them. NotFound, before any is erased.
        """
        wanted = self._all_there(images)
        # Seen by everybody: the same bytes may be somebody else's too.
        with self._workspace.everyone.database.write() as session:
            digests: set[str] = set()
            for some in blob_erasure.portions(wanted):
                digests |= _note_places(session, some)
                session.execute(delete(ImageRow).where(ImageRow.id.in_(some)))
            orphans = blob_erasure.let_go(session, digests)
        found = blob_erasure.finish(self._workspace)
        left = [found[digest] for digest in orphans if digest in found]
        if left:
            raise StorageFailed(
                f"The pictures are gone from the gallery, but {len(left)} files could not be erased: {left[0]}.",
                remedy="Check who may write to the home folder; it is tried again when Limner starts.",
                thing=str(self._workspace.blobs.folder),
            )
        return len(wanted)

    def _all_there(self, images: Sequence[int]) -> list[int]:
        """The numbers, each once, of which the visitor may see every one."""
        wanted = list(dict.fromkeys(images))
        if not wanted:
            raise InputRefused("No picture was chosen.", remedy="Choose at least one, then try again.", thing="images")
        found: set[int] = set()
        with self._workspace.database.read() as session:
            for some in blob_erasure.portions([number for number in wanted if 0 <= number < 2**63]):
                found |= set(session.scalars(select(ImageRow.id).where(ImageRow.id.in_(some))))
        missing = [number for number in wanted if number not in found]
        if missing:
            raise NotFound(
                f"There is no image {missing[0]}"
                + (f", and {len(missing) - 1} others are missing too." if missing[1:] else "."),
                remedy="List them: limner images list",
                thing=str(missing[0]),
            )
        return wanted

    # --- files --------------------------------------------------------------------------------------------------

    def picture(self, image: int) -> StoredPicture:
        """The file of an image. NotFound."""
        return picture_files.image_picture(self._workspace, image)

    def photo_picture(self, slug: str, digest: str) -> StoredPicture:
        """The file of a subject's photo, by its whole digest. NotFound."""
        return picture_files.photo_picture(self._workspace, slug, digest)

    def sample_picture(self, training: str, step: int, position: int) -> StoredPicture:
        """The file of a picture drawn while training, ``position`` that of its prompt. NotFound."""
        return picture_files.sample_picture(self._workspace, training, step, position)

    def thumbnail(self, picture: StoredPicture, width: int) -> Path:
        """A WebP of a picture at one of ``widths``, drawn when it is first asked for. InputRefused, StorageFailed."""
        return thumbnails.thumbnail(self._workspace, picture, width)

    def drawn_thumbnail(self, picture: StoredPicture, width: int) -> Path | None:
        """The thumbnail if it was drawn before, else None."""
        return thumbnails.cached(self._workspace, picture.digest, width)

    def archive(self, images: Sequence[int]) -> Archive:
        """A zip of the original files with ``metadata.jsonl``, made while it is read. InputRefused, NotFound."""
        return archive(self._workspace, images)

    def share_copy(self, image: int) -> bytes:
        """A PNG of the same pixels that says only that AI made it: no prompt, no names, no seed. NotFound."""
        from limner.generation.metadata.pixels import picture_bytes
        from limner.generation.metadata.provenance import share_copy

        return share_copy(picture_bytes(self.picture(image).path))

    def inspect(self, image: int) -> dict[str, Any]:
        """What an image's file says of itself, as ``studio.inspect`` gives it. NotFound."""
        from limner.operations.loras.inspect import inspect_file

        return inspect_file(self.picture(image).path)


def _note_places(session: Session, images: Sequence[int]) -> set[str]:
    """Note at their generations which places have their picture no more; the digests of the pictures."""
    found = session.execute(
        select(GenerationRow, ImageRow.position, ImageRow.digest)
        .join(ImageRow, ImageRow.generation == GenerationRow.id)
        .where(ImageRow.id.in_(images))
    )
    digests = set()
    for row, position, digest in found:
        row.without = sorted({*row.without, position})
        digests.add(digest)
    session.flush()
    return digests
