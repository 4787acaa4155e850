"""Ownership: a database as one user sees it, in which what others own is not there, whatever the query.

The rule is put into every ORM statement of such a session, so that no query can forget it: reads, ``session.get``,
updates and deletes touch the owner's rows alone, and new rows get the owner. Rows without an owner column belong to
whom the row above them belongs: a photo to its subject's owner, an image to its generation's.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import ColumnElement, Insert, event, exists, select
from sqlalchemy.orm import ORMExecuteState, Session, sessionmaker, with_loader_criteria

from limner.store import Database
from limner.store.models import (
    CheckpointRow,
    ConsentRow,
    DatasetPhotoRow,
    DatasetRow,
    GenerationLoraRow,
    GenerationRow,
    GenerationSubjectRow,
    ImageRow,
    IntakeRow,
    IntentRow,
    JobRow,
    LedgerRow,
    LoraOriginalRow,
    LoraRow,
    PhotoRow,
    PublicationRow,
    Row,
    SampleRow,
    SubjectRow,
    TrainingRow,
)
from limner.store.web_models import (
    AnswerRow,
    CaptionEditRow,
    DeliveryRow,
    ErasedRow,
    EventRow,
    GridRow,
    SessionRow,
    TokenRow,
    UploadRow,
    UserRow,
    VoteRow,
    WebhookRow,
)

__all__ = ["BELONGING", "FREE", "OWNED", "as_seen_by"]

OWNED: tuple[type[Row], ...] = (
    SubjectRow,
    JobRow,
    GenerationRow,
    UploadRow,
    GridRow,
    WebhookRow,
    TokenRow,
    EventRow,
    ErasedRow,
)
"""The rows that name their owner themselves; AnswerRow too, which writes "" for nobody."""

BELONGING: dict[type[Row], tuple[str, type[Row], str]] = {
    ConsentRow: ("subject", SubjectRow, "slug"),
    PhotoRow: ("subject", SubjectRow, "slug"),
    IntakeRow: ("subject", SubjectRow, "slug"),
    DatasetRow: ("subject", SubjectRow, "slug"),
    TrainingRow: ("subject", SubjectRow, "slug"),
    LoraRow: ("subject", SubjectRow, "slug"),
    CaptionEditRow: ("subject", SubjectRow, "slug"),
    DatasetPhotoRow: ("dataset", DatasetRow, "digest"),
    CheckpointRow: ("training", TrainingRow, "id"),
    SampleRow: ("training", TrainingRow, "id"),
    LoraOriginalRow: ("lora", LoraRow, "id"),
    PublicationRow: ("lora", LoraRow, "id"),
    GenerationLoraRow: ("generation", GenerationRow, "id"),
    GenerationSubjectRow: ("generation", GenerationRow, "id"),
    ImageRow: ("generation", GenerationRow, "id"),
    IntentRow: ("job", JobRow, "id"),
    LedgerRow: ("job", JobRow, "id"),
    VoteRow: ("grid", GridRow, "id"),
    DeliveryRow: ("webhook", WebhookRow, "id"),
}
"""Whose row each other row is: its column, the row above, and that row's key."""

FREE = frozenset({"BlobRow", "ErasureRow"})
"""Rows that nobody owns: a blob is known by its digest, and whoever knows the digest has the bytes."""


def _belongs(kind: type[Row], owner: str, over: Any = None) -> ColumnElement[bool]:
    """The condition that a row of this kind is the owner's, on its plain table so that it is not filtered again."""
    columns: Any = kind.__table__.c if over is None else over
    if kind in BELONGING:
        column, above, key = BELONGING[kind]
        table = above.__table__.alias()
        return exists(select(1).where(table.c[key] == columns[column], _belongs(above, owner, table.c)))
    names: ColumnElement[Any] = columns[{UserRow: "name", SessionRow: "user"}.get(kind, "owner")]
    return names == owner


@lru_cache(maxsize=64)
def _criteria(owner: str) -> tuple[Any, ...]:
    kinds: Sequence[type[Row]] = (*OWNED, AnswerRow, UserRow, SessionRow, *BELONGING)
    return tuple(with_loader_criteria(kind, _belongs(kind, owner), include_aliases=True) for kind in kinds)


class _Owned(Session):
    """A session of one owner, who is ``info["owner"]``."""


@event.listens_for(_Owned, "do_orm_execute")
def _narrow(state: ORMExecuteState) -> None:
    if not state.is_orm_statement or state.is_column_load or state.is_relationship_load:
        return
    owner = state.session.info["owner"]
    if state.is_insert:
        mapper = state.bind_mapper
        if mapper is not None and mapper.class_ in OWNED:
            state.statement = cast(Insert, state.statement).values(owner=owner)
        return
    state.statement = state.statement.options(*_criteria(owner))


@event.listens_for(_Owned, "before_flush")
def _sign(session: Session, _context: Any, _instances: Any) -> None:
    for row in session.new:
        if isinstance(row, OWNED):
            row.owner = session.info["owner"]  # type: ignore[attr-defined]


def as_seen_by(database: Database, owner: str) -> Database:
    """The same database for one owner; closing is up to whoever opened the first."""
    theirs = copy(database)
    options: dict[str, Any] = {"class_": _Owned, "info": {"owner": owner}, "expire_on_commit": False}
    theirs._writing = sessionmaker(database._writer, **options)
    theirs._reading = sessionmaker(database._reader, **options)
    return theirs
