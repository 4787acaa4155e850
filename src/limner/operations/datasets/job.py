"""Freezing: a subject's photos and captions as they are now, into a dataset that never changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from limner.catalog import find_base
from limner.datasets import manifest
from limner.datasets.captions import captioning
from limner.datasets.captions.template import DEFAULT_TEMPLATE, fill, plain_braces
from limner.errors import Conflict
from limner.operations.datasets import queries as dataset_queries
from limner.operations.home.workspace import Workspace
from limner.operations.jobs.context import StageContext
from limner.operations.jobs.request import StageRequest
from limner.operations.photos import queries as photo_queries
from limner.operations.photos.caption_health import cut_captions
from limner.operations.subjects import queries as subject_queries
from limner.records import Dataset
from limner.store.models import BlobRow, DatasetPhotoRow, DatasetRow, PhotoRow
from limner.types import Crop, DatasetManifest, Finding, Progress

__all__ = ["FreezeOptions", "FreezeRequest", "freeze", "stage", "would_freeze"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeOptions:
    """How photos are frozen: for which base and size, and what becomes the caption of those that have none."""

    base: str = ""
    resolution: int | None = None
    template: str = ""
    captioner: str = ""
    allow_few: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeRequest(StageRequest):
    """One dataset, of a subject's photos as they are when the stage runs."""

    stage: ClassVar[str] = "freeze"

    subject: str
    options: FreezeOptions = FreezeOptions()


def freeze(workspace: Workspace, slug: str, options: FreezeOptions) -> Dataset:
    """Freeze a subject's photos for a base; the same photos and captions give the same dataset.

    A photo without a caption of its own gets the captioner's, or the template's (``{trigger}`` and ``{class_word}``).
    """
    frozen, findings = would_freeze(workspace, slug, options)
    with workspace.database.write() as session:
        frozen_photos = {item.photo for item in frozen.items}
        if frozen_photos - set(session.scalars(select(PhotoRow.digest).where(PhotoRow.subject == slug))):
            raise Conflict(
                f"A photo of '{slug}' was removed while the dataset was being frozen.",
                remedy="Freeze again.",
                thing=slug,
            )
        session.execute(
            insert(DatasetRow)
            .values(
                digest=frozen.digest,
                subject=slug,
                resolution=frozen.resolution,
                photos=len(frozen.items),
                manifest=manifest.to_plain(frozen),
            )
            .on_conflict_do_nothing()
        )
        session.execute(
            insert(DatasetPhotoRow)
            .values([{"dataset": frozen.digest, "digest": item.photo} for item in frozen.items])
            .on_conflict_do_nothing()
        )
        record = dataset_queries.to_dataset(session.get_one(DatasetRow, frozen.digest))
    return replace(record, findings=tuple(findings))


def would_freeze(workspace: Workspace, slug: str, options: FreezeOptions) -> tuple[DatasetManifest, Sequence[Finding]]:
    """The dataset that ``freeze`` would make, without keeping it, and what is noticed of it."""
    row = find_base(options.base or workspace.settings.base)
    with workspace.database.read() as session:
        subject = subject_queries.subject_facts(subject_queries.find_subject_row(session, slug))
        found = session.execute(
            select(PhotoRow, BlobRow).join(BlobRow, BlobRow.digest == PhotoRow.digest).where(PhotoRow.subject == slug)
        ).all()
        photos = [photo_queries.photo_of(photo, blob.media_type, blob.byte_size) for photo, blob in found]
        own = {photo.digest: photo.caption for photo, _ in found}
        crops = {photo.digest: Crop(**photo.crop) for photo, _ in found if photo.crop}
    bare = [digest for digest, caption in own.items() if not caption]
    if options.captioner and bare:
        back_end = workspace.back_ends.captioner(options.captioner)
        made = captioning.apply_captioner(back_end, [workspace.blobs.path(digest) for digest in bare], subject)
        own.update(zip(bare, made, strict=True))
    template = options.template or DEFAULT_TEMPLATE
    captions = {digest: fill(caption or template, subject) for digest, caption in own.items()}
    frozen, findings = manifest.freeze(
        subject,
        photos,
        captions,
        photo_path=workspace.blobs.path,
        resolution=options.resolution or row.size,
        resolutions=row.resolutions,
        crops=crops,
        min_photos=1 if options.allow_few else manifest.MIN_PHOTOS,
    )
    written = [plain_braces(item.caption) for item in frozen.items]
    return frozen, [*findings, *cut_captions(workspace, subject, written, row)]


async def stage(context: StageContext, request: FreezeRequest) -> Mapping[str, object]:
    """Freeze as part of a job."""
    context.report(Progress("freeze", message="Freezing the dataset"))
    dataset = await asyncio.to_thread(freeze, context.workspace, request.subject, request.options)
    return {"dataset": dataset.digest, "photos": dataset.photos}
