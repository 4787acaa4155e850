"""Publications: rows to records."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.operations.home.workspace import Workspace
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

__all__ = ["publications", "to_publication"]


def publications(workspace: Workspace, slug: str = "") -> list[Publication]:
    query = select(PublicationRow).join(LoraRow, LoraRow.id == PublicationRow.lora).order_by(PublicationRow.id.desc())
    with workspace.database.read() as session:
        rows = session.scalars(query.where(LoraRow.subject == slug) if slug else query)
        return [to_publication(session, row) for row in rows]


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
