"""What erasing takes of a subject's loras."""

from __future__ import annotations

from sqlalchemy import select

from limner.operations.home.erasure_scope import ErasureScope
from limner.store.models import LoraOriginalRow, LoraRow

__all__ = ["SCOPE"]

SCOPE = ErasureScope(
    rows=(LoraRow, LoraOriginalRow),
    counted={"loras": lambda slug: select(LoraRow.id).where(LoraRow.subject == slug)},
)
