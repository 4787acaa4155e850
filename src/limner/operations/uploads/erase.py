"""What erasing takes of a subject's uploads."""

from __future__ import annotations

from sqlalchemy import select

from limner.operations.home.blob_erasure import Kind
from limner.operations.home.holding import Holding
from limner.store.web_models import UploadRow

__all__ = ["HOLDING"]

HOLDING = Holding(
    rows=(UploadRow,),
    on_disk=(Kind.UPLOAD, lambda slug: select(UploadRow.id).where(UploadRow.subject == slug)),
)
