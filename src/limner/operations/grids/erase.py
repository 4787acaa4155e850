"""What erasing takes of grids: those that hold a generation that goes, because their prompts tell of it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.operations.home.erasure_scope import ErasureScope
from limner.store.web_models import GridRow, VoteRow

__all__ = ["SCOPE"]


def _forget(session: Session, _: str, ids: frozenset[str]) -> None:
    for row in session.scalars(select(GridRow)).all():
        if not ids.isdisjoint(name for line in row.cells for cell in line for name in cell):
            session.delete(row)


SCOPE = ErasureScope(rows=(GridRow, VoteRow), forget=_forget)
