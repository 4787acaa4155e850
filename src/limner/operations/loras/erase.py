"""What erasing takes of a subject's loras."""

from __future__ import annotations

from sqlalchemy import select

from limner.operations.home.holding import Holding
from limner.store.models import LoraOriginalRow, LoraRow

__all__ = ["HOLDING"]

HOLDING = Holding(
    rows=(LoraRow, LoraOriginalRow),
    counted={"loras": lambda slug: select(LoraRow.id).where(LoraRow.subject == slug)},
)
