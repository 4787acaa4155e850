"""Datasets: rows to records."""

from __future__ import annotations

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.errors import NotFound
from limner.records import (
    Dataset,
)
from limner.store.models import (
    DatasetRow,
)
from limner.types import (
    DatasetManifest,
)

__all__ = ["MANIFEST", "find_dataset_row", "to_dataset"]


MANIFEST: TypeAdapter[DatasetManifest] = TypeAdapter(DatasetManifest)


def to_dataset(row: DatasetRow) -> Dataset:
    return Dataset(
        row.digest,
        row.subject,
        row.resolution,
        row.photos,
        row.created_at,
        MANIFEST.validate_python({**row.manifest, "digest": row.digest}),
    )


def find_dataset_row(session: Session, name: str) -> DatasetRow:
    """A dataset by its digest or at least six digits of it, or a subject's newest by its slug."""
    rows = list(session.scalars(select(DatasetRow).where(DatasetRow.digest.startswith(name)).limit(2)))
    if len(name) < 6 or len(rows) != 1:
        newest = select(DatasetRow).where(DatasetRow.subject == name).order_by(DatasetRow.created_at.desc()).limit(1)
        rows = list(session.scalars(newest))
    if not rows:
        raise NotFound(
            f"There is no dataset '{name}'.", remedy="Freeze one with `limner dataset freeze SLUG`.", thing=name
        )
    return rows[0]
