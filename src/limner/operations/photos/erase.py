"""What erasing takes of a subject's photos."""

from __future__ import annotations

from sqlalchemy import select

from limner.operations.home.erasure_scope import ErasureScope
from limner.store.models import IntakeRow, PhotoRow
from limner.store.web_models import CaptionEditRow

__all__ = ["SCOPE"]

SCOPE = ErasureScope(
    rows=(PhotoRow, IntakeRow, CaptionEditRow),
    counted={"photos": lambda slug: select(PhotoRow.id).where(PhotoRow.subject == slug)},
)
