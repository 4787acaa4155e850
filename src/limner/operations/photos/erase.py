"""What erasing takes of a subject's photos."""

from __future__ import annotations

from sqlalchemy import select

from limner.operations.home.holding import Holding
from limner.store.models import IntakeRow, PhotoRow
from limner.store.web_models import CaptionEditRow

__all__ = ["HOLDING"]

HOLDING = Holding(
    rows=(PhotoRow, IntakeRow, CaptionEditRow),
    counted={"photos": lambda slug: select(PhotoRow.id).where(PhotoRow.subject == slug)},
)
