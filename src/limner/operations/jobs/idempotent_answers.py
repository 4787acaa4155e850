"""Answers that are kept: the same request with the same idempotency key is done once, and answered alike.

What was begun and never ended, because the server died, may be begun again: work that costs is made once for its wish
whatever happens (``idempotency``), and the rest does no harm twice.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, update
from sqlalchemy.dialects.sqlite import insert

from limner.errors import InputRefused, StillDoing
from limner.operations.home import signing_key
from limner.operations.home.facet import Facet
from limner.operations.home.workspace import Workspace
from limner.records import KeptAnswer
from limner.store.models import now
from limner.store.web_models import AnswerRow

__all__ = ["Answers"]

KEPT_DAYS = 7
_under_way: set[tuple[str, str, str]] = set()
_lock = threading.Lock()


class Answers(Facet):
    """``studio.answers``: what requests with an idempotency key were answered, by owner."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._owner = workspace.owner or ""

    def begin(self, key: str, route: str, request: Sequence[bytes]) -> KeptAnswer | None:
        """The answer that the key has, or None: it is for the caller to do, and then to ``keep`` or ``forget``.

        StillDoing: it is being done now. InputRefused: the key belongs to another request.
        """
        database, name, mark = self._workspace.database, _name(key), self._mark(route, request)
        mine = self._place(key)
        with _lock:
            if mine in _under_way:
                raise StillDoing(
                    "The first request with this key is still being done.",
                    remedy="Wait a moment, then send the same again.",
                    thing=key,
                )
            _under_way.add(mine)
        try:
            with database.write() as session:
                session.execute(delete(AnswerRow).where(AnswerRow.created_at < now() - timedelta(days=KEPT_DAYS)))
                session.execute(
                    insert(AnswerRow)
                    .values(owner=self._owner, key=name, route=route, request=mark, headers={}, body=b"")
                    .on_conflict_do_nothing()
                )
                row = session.get_one(AnswerRow, (self._owner, name))
                if not hmac.compare_digest(row.request, mark):
                    raise InputRefused(
                        "This key was used for another request.",
                        remedy="Use a new key for a new wish, and the same one only to send the same again.",
                        thing=key,
                    )
                kept = None if row.status is None else KeptAnswer(row.status, row.headers, row.body)
        except BaseException:
            self._end(key)
            raise
        if kept is not None:
            self._end(key)
        return kept

    def keep(self, key: str, answer: KeptAnswer) -> None:
        """Keep what was answered, for a week."""
        try:
            with self._workspace.database.write() as session:
                session.execute(
                    update(AnswerRow)
                    .where(AnswerRow.owner == self._owner, AnswerRow.key == _name(key))
                    .values(status=answer.status, headers=dict(answer.headers), body=answer.body)
                )
        finally:
            self._end(key)

    def forget(self, key: str) -> None:
        """Nothing was done, so the key may be used anew."""
        try:
            with self._workspace.database.write() as session:
                session.execute(
                    delete(AnswerRow).where(
                        AnswerRow.owner == self._owner, AnswerRow.key == _name(key), AnswerRow.status.is_(None)
                    )
                )
        finally:
            self._end(key)

    def _place(self, key: str) -> tuple[str, str, str]:
        return str(self._workspace.home), self._owner, key

    def _end(self, key: str) -> None:
        with _lock:
            _under_way.discard(self._place(key))

    def _mark(self, route: str, request: Sequence[bytes]) -> str:
        """A digest of the request that tells nobody a password that was in it."""
        digest = hmac.new(
            signing_key.derived(signing_key.home_key(self._workspace.home), "answers", ""), digestmod=hashlib.sha256
        )
        for part in (route.encode(), *request):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()


def _name(key: str) -> str:
    return f"key:{hashlib.sha256(key.encode()).hexdigest()}"
