"""Rows by their id, which may be cut to its first digits."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.errors import NotFound

__all__ = []

DIGITS = re.compile(r"[0-9a-f]{4,16}")


def by_id(session: Session, kind: str, model: type[Any], name: str) -> Any:
    """The row of an id such as ``training_1f0c...``, or of four or more of its digits; None if there is none."""
    row = session.get(model, name)
    digits = name.removeprefix(f"{kind}_")
    if row is None and DIGITS.fullmatch(digits):
        rows = session.scalars(select(model).where(model.id.startswith(f"{kind}_{digits}")).limit(2)).all()
        if len(rows) > 1:
            raise NotFound(f"'{name}' names several {kind}s.", remedy="Give more digits.", thing=name)
        row = rows[0] if rows else None
    return row
