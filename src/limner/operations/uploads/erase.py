"""What erasing takes of a subject's uploads."""

from __future__ import annotations

from sqlalchemy import select

from limner.operations.home.blob_erasure import Kind
from limner.operations.home.erasure_scope import ErasureScope
from limner.store.web_models import UploadRow

__all__ = ["SCOPE"]

SCOPE = ErasureScope(
    rows=(UploadRow,),
    on_disk=(Kind.UPLOAD, lambda slug: select(UploadRow.id).where(UploadRow.subject == slug)),
)
