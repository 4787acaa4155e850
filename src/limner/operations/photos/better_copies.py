"""A better copy of a photo takes the place of the one that is there, which keeps its caption and its crop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from limner.operations.home import blob_erasure
from limner.operations.home.workspace import Workspace
from limner.photos import IntakeResult, Outdone
from limner.store.models import IntakeRow, PhotoRow
from limner.types import Photo

__all__ = ["replace_outdone"]


def replace_outdone(workspace: Workspace, job: str, slug: str, result: IntakeResult, caption: tuple[str, str]) -> None:
    """Give the rows of a subject's outdone photos to the result's photo, whose blob is stored; once more is harmless.

    ``caption`` is the new file's own and where it is from. It counts before that of another file of the same intake,
    and behind one that the subject had.
    """
    photo, data = result.photo, result.data
    if photo is None or data is None or not result.outdone:
        return
    # Seen by everybody: the bytes that are let go of may be somebody else's too.
    with workspace.everyone.database.write() as session:
        blob_erasure.add_blob(session, workspace, photo.digest, photo.media_type, data)
        for worse in result.outdone:
            _take_place(session, slug, photo, worse, asdict(result.report), caption)
            if worse.report is not None:
                about = update(IntakeRow).where(IntakeRow.job == job, IntakeRow.photo == worse.digest)
                session.execute(about.values(photo=None, report=asdict(worse.report)))
        session.flush()
        blob_erasure.let_go(session, [worse.digest for worse in result.outdone])


def _take_place(
    session: Session, slug: str, photo: Photo, worse: Outdone, report: Mapping[str, Any], caption: tuple[str, str]
) -> None:
    rows = select(PhotoRow).where(PhotoRow.subject == slug)
    old = session.scalars(rows.where(PhotoRow.digest == worse.digest)).one_or_none()
    if old is None:
        return
    if caption[0] and (worse.report is not None or not old.caption):
        old.caption, old.caption_from = caption
    new = session.scalars(rows.where(PhotoRow.digest == photo.digest)).one_or_none()
    if new is not None:
        # It took the place of another one, or of this one before a crash.
        if not new.caption:
            new.caption, new.caption_from = old.caption, old.caption_from
        new.crop = new.crop or _scaled(old, photo)
        session.delete(old)
        session.flush()
        return
    old.crop = _scaled(old, photo)
    old.digest, old.width, old.height = photo.digest, photo.width, photo.height
    old.source, old.report = report["source"], dict(report)
    session.flush()


def _scaled(old: PhotoRow, photo: Photo) -> dict[str, int] | None:
    """The part of the new photo that the user chose of the old one."""
    if not old.crop:
        return None
    across, down = photo.width / old.width, photo.height / old.height
    left, top = round(old.crop["left"] * across), round(old.crop["top"] * down)
    right = round((old.crop["left"] + old.crop["width"]) * across)
    bottom = round((old.crop["top"] + old.crop["height"]) * down)
    return {
        "left": left,
        "top": top,
        "width": min(right, photo.width) - left,
        "height": min(bottom, photo.height) - top,
    }
