"""Long work, done by a worker process that outlives the caller."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import and_, or_, select

from limner.errors import LimnerError
from limner.operations.home import blob_erasure
from limner.operations.home.change_counter import Changes
from limner.operations.home.facet import Facet
from limner.operations.jobs import lifecycle
from limner.operations.jobs import queries as job_queries
from limner.records import (
    Job,
    JobEvent,
)
from limner.store.models import JobRow
from limner.store.web_models import EventRow
from limner.types import JobState

__all__ = ["Jobs"]

LOOK_SECONDS = 0.2
WORKER_SECONDS = 2.0


class Jobs(Facet):
    """``studio.jobs``: long work, done by a worker process that outlives the caller."""

    def wait_for_worker(self, seconds: float = 30.0) -> None:
        """Wait until a worker that was just started is at work. WorkerFailed: none could be started."""
        self._workspace.worker_start.wait(seconds)

    def all(
        self,
        slug: str = "",
        *,
        limit: int = 50,
        before: tuple[datetime, str] | None = None,
        states: Sequence[JobState] = (),
        kind: str = "",
    ) -> list[Job]:
        """The newest jobs first, of those states and that kind where any are named.

        ``before``: only those older than the job with this ``created_at`` and ``id``.
        """
        query = select(JobRow).order_by(JobRow.created_at.desc(), JobRow.id.desc()).limit(limit)
        if states:
            query = query.where(JobRow.state.in_(states))
        if kind:
            query = query.where(JobRow.kind == kind)
        if before is not None:
            at, name = before
            query = query.where(or_(JobRow.created_at < at, and_(JobRow.created_at == at, JobRow.id < name)))
        with self._workspace.database.read() as session:
            rows = session.scalars(query.where(JobRow.subject == slug) if slug else query)
            return [job_queries.to_job(row) for row in rows]

    def get(self, job: Job | str) -> Job:
        """A job by its id, or the newest one of a training or generation."""
        return job_queries.job(self._workspace, job if isinstance(job, str) else job.id)

    def events(self, job: str) -> list[JobEvent]:
        """What happened to a job, in that order."""
        found = self.get(job)
        with self._workspace.database.read() as session:
            rows = session.scalars(select(EventRow).where(EventRow.job == found.id).order_by(EventRow.id))
            return [JobEvent(row.id, row.kind, row.job, row.created_at) for row in rows]

    def watch(self, job: Job | str) -> Iterator[Job]:
        """Give the job whenever it changes, until it has ended."""
        seen: Job | None = None
        ensured = 0.0
        while True:
            current = self.get(job)
            if current != seen:
                seen = current
                yield current
            if current.state.ended:
                return
            if time.monotonic() - ensured > WORKER_SECONDS:
                self._workspace.ensure_worker()
                ensured = time.monotonic()
            time.sleep(LOOK_SECONDS)

    async def watch_async(self, job: Job | str) -> AsyncIterator[Job]:
        """``watch`` for asyncio."""
        seen: Job | None = None
        ensured = 0.0
        while True:
            current = await asyncio.to_thread(self.get, job)
            if current != seen:
                seen = current
                yield current
            if current.state.ended:
                return
            if time.monotonic() - ensured > WORKER_SECONDS:
                await asyncio.to_thread(self._workspace.ensure_worker)
                ensured = time.monotonic()
            await asyncio.sleep(LOOK_SECONDS)

    def wait(self, job: Job | str) -> Job:
        """Wait until a job is done; raise the error that it ended with, Cancelled included."""
        ended = None
        for current in self.watch(job):
            ended = current
        return self._done(ended)

    async def wait_async(self, job: Job | str) -> Job:
        """``wait`` for asyncio."""
        ended = None
        async for current in self.watch_async(job):
            ended = current
        return self._done(ended)

    @staticmethod
    def _done(job: Job | None) -> Job:
        if job is None:
            raise LimnerError("The job ended before it could be looked at.")
        failure = job_queries.failure_of(job)
        if failure is not None:
            raise failure
        return job

    def once(self, wish: str, make: Callable[[], Job]) -> Job:
        """Start a job at most once for a wish, an id of your own: ``studio.once(id, lambda: studio.train("zibbo"))``.

        The same wish again gives the same job. If ``make`` raises nothing was started, and it may be tried again.
        """
        from limner.operations.jobs import idempotency

        return idempotency.once(self._workspace, wish, make)

    def changes(self) -> Changes:
        """A cheap look at whether anything has changed at all, for who follows many things at once. Close it."""
        return Changes(self._workspace)

    def go_on(self) -> None:
        """Start a worker if a job has not ended and none lives, as whoever watches a job does by itself."""
        blob_erasure.finish_later(self._workspace)
        if lifecycle.waiting_jobs(self._workspace.everyone.database):
            self._workspace.ensure_worker()

    def cancel(self, job: Job | str) -> Job:
        """Ask a job to stop at its next safe point; what was done is kept."""
        found = self.get(job)
        with self._workspace.database.write() as session:
            record = job_queries.to_job(lifecycle.request_cancel(session, found.id))
        if not record.state.ended:
            self._workspace.ensure_worker()
        return record

    def work(self, *, idle_seconds: float | None = None) -> bool:
        """Do jobs in this process until idle for that long (None: for ever); False if another worker lives."""
        from limner.operations.jobs.worker import work

        return work(self._workspace.settings, idle_seconds=idle_seconds)
