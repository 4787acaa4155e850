"""Files on their way in."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from limner.web.api.schemas.plain import Answer

__all__ = ["Upload", "UploadBatch"]


class Upload(Answer):
    """A file on its way in: ``received`` of ``byte_size`` bytes are here; ``job`` is the intake that takes it."""

    id: str
    subject: str
    batch: str
    position: int
    name: str
    byte_size: int
    received: int
    digest: str = ""
    job: str = ""
    whole: bool
    created_at: datetime
    expires_at: datetime


class UploadBatch(Answer):
    """The files that were dropped together, in their order; ``job`` is the intake that takes them, "" before."""

    id: str
    subject: str
    uploads: list[Upload] = Field(default_factory=list)
    job: str = ""
