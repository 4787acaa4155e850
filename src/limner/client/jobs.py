"""Jobs by the API: looked at, followed, waited for, stopped and gone on with."""

from __future__ import annotations

from collections.abc import Iterator

from limner import errors
from limner.client import following
from limner.client.connection import Connection
from limner.errors import Cancelled, LimnerError
from limner.types import JobState
from limner.web.api.schemas.jobs import Job, JobEvent, Resume, WhatIf

__all__ = ["Jobs"]

_BY_CODE = {one.code: one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, LimnerError)}


class Jobs:
    """``client.jobs``: long work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, subject: str = "", *, limit: int | None = None) -> Iterator[Job]:
        """Newest first."""
        return self._connection.pages(Job, "/jobs", subject=subject, limit=limit)

    def get(self, job: str) -> Job:
        """One job."""
        return self._connection.get(Job, f"/jobs/{job}")

    def history(self, job: str) -> list[JobEvent]:
        """What happened to it."""
        return self._connection.value(list[JobEvent], f"/jobs/{job}/history")

    def follow(self, job: str) -> Iterator[Job]:
        """It, whenever it has changed, until it has ended; goes on after a lost connection or a new server."""
        return following.follow(self._connection, job)

    def wait(self, job: str) -> Job:
        """Wait until it is done; raise the error that it ended with, Cancelled included."""
        ended = self.get(job)
        for current in self.follow(job):
            ended = current
        if ended.state is JobState.DONE:
            return ended
        error = ended.error
        if ended.state is JobState.CANCELLED:
            message = error.message if error else "The job was cancelled; what was done so far is kept."
            raise Cancelled(message, remedy=error.remedy if error else "", thing=ended.id)
        kind = _BY_CODE.get(error.code if error else "", LimnerError)
        failure = kind(
            error.message if error else "The job failed.",
            remedy=error.remedy if error else "",
            thing=error.thing if error else ended.id,
        )
        if error and isinstance(failure, errors.BaseUnclear):
            failure.candidates = tuple(error.candidates or ())
        raise failure

    def cancel(self, job: str) -> Job:
        """Stop it at its next safe point."""
        return self._connection.post(Job, f"/jobs/{job}/cancel")

    def resume_what_if(self, job: str) -> WhatIf:
        """What going on may cost, where it has to begin anew."""
        return self._connection.post(WhatIf, f"/jobs/{job}/resume", Resume(yes=False), what_if=True)

    def resume(self, job: str, *, yes: bool = False, key: str = "") -> Job:
        """Go on with it, as a new job; with a ``key`` of your own at most once."""
        return self._connection.post(Job, f"/jobs/{job}/resume", Resume(yes=yes), key=key)
