"""An idempotency key that one caller holds while it acts."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy import update
from sqlalchemy.orm import Session

from limner.errors import Conflict
from limner.store.web_models import AnswerRow

__all__ = ["ClaimedKey", "current_key", "note_job"]


@dataclass(slots=True)
class ClaimedKey:
    """Whose key it is, and the job that was made for it, once there is one."""

    owner: str
    key: str
    job: str = ""


current_key: ContextVar[ClaimedKey | None] = ContextVar("limner_wish", default=None)


def note_job(session: Session, job: str) -> None:
    """In the transaction that adds a job: note it as what the key in hand has made."""
    held = current_key.get()
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
