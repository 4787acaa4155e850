"""What erasing takes of a subject itself: its row, and by their foreign keys the rows of all that was made of it."""

from __future__ import annotations

from sqlalchemy import delete
from sqlalchemy.orm import Session

from limner.operations.home.erasure_scope import ErasureScope
from limner.store.models import ConsentRow, SubjectRow

__all__ = ["SCOPE"]


def _forget(session: Session, slug: str, _: frozenset[str]) -> None:
    session.execute(delete(SubjectRow).where(SubjectRow.slug == slug))


SCOPE = ErasureScope(rows=(SubjectRow, ConsentRow), forget=_forget)
