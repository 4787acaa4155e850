"""What erasing takes of a subject's datasets."""

from __future__ import annotations

from sqlalchemy import select

from limner.operations.home.holding import Holding
from limner.store.models import DatasetPhotoRow, DatasetRow

__all__ = ["HOLDING"]

HOLDING = Holding(
    rows=(DatasetRow, DatasetPhotoRow),
    counted={"datasets": lambda slug: select(DatasetRow.digest).where(DatasetRow.subject == slug)},
)
