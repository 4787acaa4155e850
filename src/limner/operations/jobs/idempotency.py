"""Idempotency: a form or a request that is sent twice makes one job, whatever happens between the two.

The key is an id that was made when the form was shown. Its row is written before the work of submitting begins, and the
transaction that adds the job writes the job's id into it: so a crash leaves either both or neither.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy import delete, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from limner.errors import Conflict, InputRefused
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import queries as job_queries
from limner.records import Job
from limner.store.web_models import AnswerRow

__all__ = ["note_job", "once"]

ROUTE = "wish"
SHAPE = re.compile(r"[A-Za-z0-9_-]{8,100}")
PATIENCE_SECONDS = 30.0
"""How long the second of two equal requests waits for the first, before it takes its place."""
LOOK_SECONDS = 0.1


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


def once(workspace: Workspace, key: str, make: Callable[[], Job]) -> Job:
    """Make a job for a key, or give the one that was made for it before. InputRefused: the key is no id.

    ``make`` may raise: then nothing was made, and the same key may be tried again. Where it adds several jobs the
    first one counts.
    """

    if not SHAPE.fullmatch(key):
        raise InputRefused("The form's id cannot be used.", remedy="Load the page again, then send it.", thing="wish")
    held = ClaimedKey(workspace.owner or "", f"wish:{key}")
    made = _claim(workspace, held)
    if made:
        return job_queries.job(workspace, made)
    mark = current_key.set(held)
    try:
        return make()
    except BaseException:
        if not held.job:
            _forget(workspace, held)
        raise
    finally:
        current_key.reset(mark)


def _claim(workspace: Workspace, held: ClaimedKey) -> str:
    """The job that was made for the key; "" if it is for us to make it."""
    where = (held.owner, held.key)
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        with workspace.database.write() as session:
            fresh = session.execute(
                insert(AnswerRow)
                .values(owner=held.owner, key=held.key, route=ROUTE, request="", headers={}, body=b"")
                .on_conflict_do_nothing()
            ).rowcount  # type: ignore[attr-defined]
        if fresh:
            return ""
        with workspace.database.read() as session:
            row = session.get(AnswerRow, where)
            if row is not None and row.status is not None:
                return row.body.decode()
        # Taking the place of one that is only slow does no harm: the first transaction to add a job wins.
        if row is not None and time.monotonic() > until:
            return ""
        time.sleep(LOOK_SECONDS)


def _forget(workspace: Workspace, held: ClaimedKey) -> None:
    with workspace.database.write() as session:
        session.execute(
            delete(AnswerRow).where(
                AnswerRow.owner == held.owner, AnswerRow.key == held.key, AnswerRow.status.is_(None)
            )
        )
