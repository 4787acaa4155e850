"""Wishes: a form or a request that is sent twice makes one job, whatever happens between the two.

A wish is an id that was made when the form was shown. Its row is written before the work of submitting begins, and the
transaction that adds the job writes the job's id into it: so a crash leaves either both or neither.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from sqlalchemy import delete
from sqlalchemy.dialects.sqlite import insert

from limner.errors import InputRefused
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import queries as job_queries
from limner.operations.jobs.claimed_key import _current, _Wish
from limner.records import Job
from limner.store.web_models import AnswerRow

__all__ = ["once"]

ROUTE = "wish"
SHAPE = re.compile(r"[A-Za-z0-9_-]{8,100}")
PATIENCE_SECONDS = 30.0
"""How long the second of two equal wishes waits for the first, before it takes its place."""
LOOK_SECONDS = 0.1


def once(workspace: Workspace, wish: str, make: Callable[[], Job]) -> Job:
    """Make a job for a wish, or give the one that was made for it before. InputRefused: the wish is no id.

    ``make`` may raise: then nothing was made, and the same wish may be tried again. Where it adds several jobs the
    first one counts.
    """

    if not SHAPE.fullmatch(wish):
        raise InputRefused("The form's id cannot be used.", remedy="Load the page again, then send it.", thing="wish")
    held = _Wish(workspace.owner or "", f"wish:{wish}")
    made = _claim(workspace, held)
    if made:
        return job_queries.job(workspace, made)
    mark = _current.set(held)
    try:
        return make()
    except BaseException:
        if not held.job:
            _forget(workspace, held)
        raise
    finally:
        _current.reset(mark)


def _claim(workspace: Workspace, held: _Wish) -> str:
    """The job that the wish made; "" if it is for us to make it."""
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


def _forget(workspace: Workspace, held: _Wish) -> None:
    with workspace.database.write() as session:
        session.execute(
            delete(AnswerRow).where(
                AnswerRow.owner == held.owner, AnswerRow.key == held.key, AnswerRow.status.is_(None)
            )
        )
