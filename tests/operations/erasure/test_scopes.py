"""Each table is one room's, and of what a room holds nothing stays of a subject that is erased."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import Table

from limner.operations.erasure.subject import SCOPES
from limner.operations.home.blob_erasure import NAMING
from limner.store.models import (
    BlobRow,
    CheckpointRow,
    DatasetPhotoRow,
    ErasureRow,
    ImageRow,
    IntentRow,
    JobRow,
    LedgerRow,
    LoraOriginalRow,
    LoraRow,
    PhotoRow,
    Row,
    SampleRow,
)
from limner.store.web_models import AnswerRow, ErasedRow, SessionRow, TokenRow, UserRow, WebhookRow

USERS = {UserRow, SessionRow, TokenRow}
"""Rows of those who use Limner, which go with them."""
STAY = {BlobRow, ErasureRow, ErasedRow, WebhookRow}
"""Rows that erasing writes or lets go of itself, and addresses that tell of no subject."""
FORGOTTEN = {JobRow, AnswerRow, IntentRow, LedgerRow}
"""Rows without a foreign key to a subject, of which their room deletes or blanks what tells of it."""


def tables() -> dict[str, Any]:
    return {mapper.class_.__tablename__: mapper.class_ for mapper in Row.registry.mappers}


def goes(table: Table) -> bool:
    """Whether a row goes with its subject, its job or its generation."""
    roots = {"limner_subjects", "limner_jobs", "limner_generations"}
    above = [key.column.table for key in table.foreign_keys if key.ondelete == "CASCADE"]
    return table.name in roots or any(goes(one) for one in above)


def test_each_table_is_declared_by_one_room() -> None:
    declared = Counter(row for holding in SCOPES for row in holding.rows)
    assert declared == Counter(row for row in tables().values() if row not in USERS)


def test_a_declared_table_is_emptied_of_the_subject() -> None:
    for holding in SCOPES:
        for row in holding.rows:
            if row in FORGOTTEN:
                assert holding.forget is not None, row
            elif row not in STAY:
                assert goes(row.__table__), f"{row.__name__} would stay: a foreign key, or forget, has to see to it"  # type: ignore[arg-type]


def test_rows_that_name_a_blob_are_known_by_their_foreign_key() -> None:
    assert set(NAMING) == {
        PhotoRow,
        DatasetPhotoRow,
        CheckpointRow,
        SampleRow,
        LoraRow,
        LoraOriginalRow,
        ImageRow,
    }
    assert all("digest" in row.__table__.c for row in NAMING)
