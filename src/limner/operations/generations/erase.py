"""What erasing takes of the generations that show a subject: all of their pictures, whoever else is in them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from limner.operations.home.blob_erasure import Kind, portions
from limner.operations.home.erasure_scope import ErasureScope
from limner.store.models import GenerationLoraRow, GenerationRow, GenerationSubjectRow, ImageRow

__all__ = ["SCOPE", "showing"]


def showing(slug: str) -> Select[str]:
    """The generations that show a subject."""
    return select(GenerationSubjectRow.generation).where(GenerationSubjectRow.subject == slug)


def _images(slug: str) -> Select[Any]:
    return select(ImageRow.id).where(ImageRow.generation.in_(showing(slug)))


def _forget(session: Session, _: str, ids: frozenset[str]) -> None:
    for some in portions(sorted(ids)):
        session.execute(delete(GenerationRow).where(GenerationRow.id.in_(some)))


SCOPE = ErasureScope(
    rows=(GenerationRow, GenerationLoraRow, GenerationSubjectRow, ImageRow),
    counted={"images": _images},
    on_disk=(Kind.FOLDER, showing),
    forget=_forget,
)
