"""The one writer of purchases in a process: what many tasks want to write at once goes into one transaction.

A thousand purchases at the same moment would else queue for the database's write lock one by one, each with its own
wait for the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from limner.errors import LimnerError
from limner.store import Database

__all__ = ["write"]

Found = TypeVar("Found")
Work = Callable[[Session], Any]

_mutex = threading.Lock()
_waiting: dict[Database, list[tuple[Work, Future[Any]]]] = {}
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="purchases")


def write(database: Database, work: Callable[[Session], Found]) -> Future[Found]:
    """Do the work in a write transaction, shared with what else waits; the future ends when it is on the disk.

    A LimnerError of the work undoes this work alone and is the future's. StorageFailed: nothing was written.
    """
    future: Future[Found] = Future()
    with _mutex:
        _waiting.setdefault(database, []).append((work, future))
    _thread.submit(_drain, database)
    return future


def _drain(database: Database) -> None:
    with _mutex:
        batch = _waiting.pop(database, [])
    batch = [(work, future) for work, future in batch if future.set_running_or_notify_cancel()]
    if not batch:
        return
    ended: list[tuple[Future[Any], Any, LimnerError | None]] = []
    try:
        with database.write() as session:
            for work, future in batch:
                try:
                    with session.begin_nested():
                        found = work(session)
                    ended.append((future, found, None))
                except LimnerError as failure:
                    ended.append((future, None, failure))
    except BaseException as failure:
        for _, future in batch:
            future.set_exception(failure)
        return
    for future, found, refusal in ended:
        if refusal is None:
            future.set_result(found)
        else:
            future.set_exception(refusal)
