"""Which file a picture of an image, photo or sample is: found by what it belongs to, never by a path."""

from __future__ import annotations

from sqlalchemy import select

from limner.errors import NotFound
from limner.generation.metadata.pixels import media_type
from limner.operations.home.workspace import Workspace
from limner.operations.subjects import queries as subject_queries
from limner.records.gallery import StoredPicture
from limner.store.models import (
    LARGEST,
    DatasetPhotoRow,
    DatasetRow,
    GenerationRow,
    ImageRow,
    PhotoRow,
    SampleRow,
    TrainingRow,
)

__all__ = ["image_picture", "image_stem", "photo_picture", "sample_picture", "stored"]

_ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_HEAD = 16


def stored(workspace: Workspace, digest: str, stem: str) -> StoredPicture:
    """A blob as a picture. Its first bytes say what it is, because what a vendor called it proves nothing."""
    path = workspace.blobs.path(digest)
    with path.open("rb") as stream:
        kind = media_type(stream.read(_HEAD))
    return StoredPicture(digest, kind, f"{stem}.{_ENDINGS.get(kind, 'bin')}", path)


def image_picture(workspace: Workspace, number: int) -> StoredPicture:
    """The file of an image. NotFound: there is none, or it is somebody else's."""
    query = (
        select(ImageRow.generation, ImageRow.position, ImageRow.seed, ImageRow.digest)
        .join(GenerationRow, GenerationRow.id == ImageRow.generation)
        .where(ImageRow.id == number)
    )
    with workspace.database.read() as session:
        row = session.execute(query).first() if 0 <= number <= LARGEST else None
    if row is None:
        raise NotFound(f"There is no image {number}.", remedy="List them: limner images list", thing=str(number))
    return stored(workspace, row.digest, image_stem(row.generation, row.position, row.seed))


def image_stem(generation: str, position: int, seed: int) -> str:
    """An image's readable name; hardly any other image of this home has it."""
    return f"{generation.removeprefix('generation_')[:8]}-{position:02d}-{seed}"


def photo_picture(workspace: Workspace, slug: str, digest: str) -> StoredPicture:
    """The file of a photo that is, or in a frozen dataset was, the subject's. NotFound: it is not."""
    with workspace.database.read() as session:
        subject_queries.find_subject_row(session, slug)
        own = select(PhotoRow.id).where(PhotoRow.subject == slug, PhotoRow.digest == digest)
        frozen = (
            select(DatasetPhotoRow.digest)
            .join(DatasetRow, DatasetRow.digest == DatasetPhotoRow.dataset)
            .where(DatasetRow.subject == slug, DatasetPhotoRow.digest == digest)
        )
        found = session.execute(own.limit(1)).first() or session.execute(frozen.limit(1)).first()
    if found is None:
        raise NotFound(
            f"'{slug}' has no photo '{digest[:12]}'.", remedy=f"List them: limner photos list {slug}", thing=digest[:64]
        )
    return stored(workspace, digest, f"{slug}-{digest[:12]}")


def sample_picture(workspace: Workspace, training: str, step: int, position: int) -> StoredPicture:
    """The file of a picture that was drawn while training. NotFound: there is none."""
    query = (
        select(SampleRow.digest)
        .join(TrainingRow, TrainingRow.id == SampleRow.training)
        .where(SampleRow.training == training, SampleRow.step == step, SampleRow.position == position)
    )
    within = 0 <= step <= LARGEST and 0 <= position <= LARGEST
    with workspace.database.read() as session:
        digest = session.scalar(query) if within else None
    if digest is None:
        raise NotFound(
            f"The training '{training[:64]}' has no sample {position} of step {step}.",
            remedy="Its page shows those that there are.",
            thing=training[:64],
        )
    return stored(workspace, digest, f"{training.removeprefix('training_')[:8]}-step{step:06d}-{position}")
