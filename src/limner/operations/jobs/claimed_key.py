"""An idempotency key that one caller holds while it acts."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy import update
from sqlalchemy.orm import Session

from limner.errors import Conflict
from limner.store.web_models import AnswerRow

__all__ = ["fulfil"]


@dataclass(slots=True)
class _Wish:
    owner: str
    key: str
    job: str = ""


_current: ContextVar[_Wish | None] = ContextVar("limner_wish", default=None)


def fulfil(session: Session, job: str) -> None:
    """In the transaction that adds a job: note it as what the wish under way has made."""
    held = _current.get()
    if held is None or held.job:
        return
    found = session.execute(
        update(AnswerRow)
        .where(AnswerRow.owner == held.owner, AnswerRow.key == held.key, AnswerRow.status.is_(None))
        .values(status=202, body=job.encode())
    )
    if not found.rowcount:  # type: ignore[attr-defined]
        raise Conflict("This was started already, by the same form.", remedy="See the list of jobs.", thing=held.key)
    held.job = job
