"""Publications: rows to records."""

from __future__ import annotations

from sqlalchemy.orm import Session

from limner.records import (
    Publication,
)
from limner.store.models import (
    LoraRow,
    PublicationRow,
)
from limner.types import (
    Visibility,
)

__all__ = ["to_publication"]


def to_publication(session: Session, row: PublicationRow) -> Publication:
    lora = session.get_one(LoraRow, row.lora)
    return Publication(
        lora=f"{lora.subject}@v{lora.version}",
        hub=row.hub,
        repo=row.repo,
        revision=row.revision,
        visibility=Visibility(row.visibility),
        url=row.url,
        created_at=row.created_at,
    )
