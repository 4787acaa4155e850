"""Guards of the network for tests: nothing is asked while a database session is open, and, where told, nothing at all.

Every request of ours goes out through httpx2 (vendors, the Hub's own client, strangers' addresses) or through the
bucket's client; both are looked at here, in the context of whoever asks, which threads and tasks take over.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import httpx2
import pytest
from sqlalchemy.orm import Session

from limner.hubs.s3.bucket import Bucket
from limner.store import Database

__all__ = ["asked", "asked_within_sessions", "watch_network"]

asked: list[str] = []
"""Every request that went out, while ``watch_network`` is on; tests clear it."""
asked_within_sessions: list[str] = []
"""From where something was asked while a session of the database was open."""
_open: ContextVar[int] = ContextVar("open_sessions", default=0)


def _counting(real: Callable[[Database], AbstractContextManager[Session]]) -> Any:
    @contextmanager
    def session(database: Database) -> Iterator[Session]:
        _open.set(_open.get() + 1)
        try:
            with real(database) as found:
                yield found
        finally:
            _open.set(_open.get() - 1)

    return session


def _note(what: str) -> None:
    asked.append(what)
    if _open.get():
        asked_within_sessions.append(f"{what}\n{''.join(traceback.format_stack(limit=25))}")


def watch_network(patch: pytest.MonkeyPatch) -> None:
    """Look at every session and every request from now on."""
    patch.setattr(Database, "read", _counting(Database.read))
    patch.setattr(Database, "write", _counting(Database.write))
    send, send_async, store = httpx2.Client.send, httpx2.AsyncClient.send, Bucket.store

    def noted(client: httpx2.Client, request: httpx2.Request, **options: Any) -> httpx2.Response:
        _note(str(request.url))
        return send(client, request, **options)

    async def noted_async(client: httpx2.AsyncClient, request: httpx2.Request, **options: Any) -> httpx2.Response:
        _note(str(request.url))
        return await send_async(client, request, **options)

    def noted_bucket(bucket: Bucket) -> Any:
        _note(f"the bucket {bucket.name}")
        return store(bucket)

    patch.setattr(httpx2.Client, "send", noted)
    patch.setattr(httpx2.AsyncClient, "send", noted_async)
    patch.setattr(Bucket, "store", noted_bucket)
