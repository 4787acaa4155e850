"""What erasing takes of a subject's datasets."""

from __future__ import annotations

from sqlalchemy import select

from limner.operations.home.erasure_scope import ErasureScope
from limner.store.models import DatasetPhotoRow, DatasetRow

__all__ = ["SCOPE"]

SCOPE = ErasureScope(
    rows=(DatasetRow, DatasetPhotoRow),
    counted={"datasets": lambda slug: select(DatasetRow.digest).where(DatasetRow.subject == slug)},
)
