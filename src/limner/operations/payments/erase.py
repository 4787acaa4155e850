"""What erasing takes of purchases: requests, slugs, names at the vendor. Amounts and days stay."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from limner.operations.home.blob_erasure import portions
from limner.operations.home.erasure_scope import ErasureScope
from limner.store.models import IntentRow, LedgerRow

__all__ = ["SCOPE"]


def _forget(session: Session, slug: str, ids: frozenset[str]) -> None:
    tags = [
        row.tag
        for row in session.execute(select(IntentRow.tag, IntentRow.job, IntentRow.subject))
        if row.subject == slug or row.job in ids or row.tag in ids or row.tag.rpartition("-")[0] in ids
    ]
    nothing: dict[str, Any] = {"subject": None, "request": {}, "reference": "", "model": "", "note": ""}
    for some in portions(tags):
        session.execute(update(IntentRow).where(IntentRow.tag.in_(some)).values(nothing))
        session.execute(update(LedgerRow).where(LedgerRow.intent.in_(some)).values(subject=None, note=""))
    session.execute(update(LedgerRow).where(LedgerRow.subject == slug).values(subject=None, note=""))


SCOPE = ErasureScope(rows=(IntentRow, LedgerRow), forget=_forget)
