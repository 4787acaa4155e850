"""What the studio says of files on their way in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from limner.wire import shows

__all__ = ["Upload", "UploadBatch"]


@shows("whole")
@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way in: ``received`` of ``byte_size`` bytes are here. ``name`` is only text, never a path.

    ``digest`` is the SHA-256 that the sender announced or, once the file is whole, that of its bytes. ``job`` is the
    intake that takes it, "" until its batch is committed.
    """

    id: str
    subject: str
    batch: str
    position: int
    name: str
    byte_size: int
    received: int
    digest: str
    job: str
    created_at: datetime
    expires_at: datetime

    @property
    def whole(self) -> bool:
        """Whether all of it is here."""
        return self.received == self.byte_size


@dataclass(frozen=True, slots=True)
class UploadBatch:
    """The files that were dropped together, in their order. ``job`` is the intake that takes them, "" before."""

    id: str
    subject: str
    uploads: tuple[Upload, ...] = ()
    job: str = ""
