"""What is live: one look at the database for all who follow something, and event streams made of it.

While somebody follows, one task asks a few times a second whether anything was written at all. Only then are the things
looked at that are followed, each once however many readers it has. A reader is given what is newest when it comes
to read: one that is slow misses what lay between. State is always sent whole, so one that lost its connection, or
whose server was started anew, misses nothing either.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from limner.errors import LimnerError, NotFound
from limner.records import Job
from limner.studio import Studio
from limner.web.access.doorkeeper import Doorkeeper
from limner.web.access.identity import visitor_of

__all__ = ["Following", "Sent", "event_stream", "following", "live_of", "live_part", "working"]

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 0.15
WORKER_SECONDS = 2.0
IDLE_LOOK_SECONDS = 5.0
HEARTBEAT_SECONDS = 15.0
MOST_SECONDS = 600.0
"""A stream ends after this time; the browser comes again, and is asked again who it is."""
RETRY_MILLISECONDS = 1000
END = "end"
"""The named event after which there is nothing to come again for."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of a stream; an ``event`` that has a name is not swapped into the page but heard by scripts."""

    data: str
    event: str = ""

    def wire(self, number: int) -> bytes:
        """The message as bytes, numbered."""
        return format_sse_event(data_str=self.data, event=self.event or None, id=str(number))


@dataclass(slots=True)
class _Topic:
    """Something that is followed: how to look at it, and what was seen last."""

    look: Callable[[], Any]
    ended: Callable[[Any], bool]
    works: Callable[[Any], bool]
    readers: int = 0
    version: int = 0
    value: Any = None
    failure: LimnerError | None = None
    missed: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def wants_worker(self) -> bool:
        return self.failure is None and self.version > 0 and self.works(self.value)

    @property
    def over(self) -> bool:
        return self.failure is not None or (self.version > 0 and self.ended(self.value))

    def wake(self) -> None:
        """Wake all who wait now; who comes later waits for the next time."""
        self.changed.set()
        self.changed = asyncio.Event()

    def take(self, seen: Any) -> None:
        """Keep what was just seen if it is news. What is gone is gone; all else that fails is tried again."""
        failed = isinstance(seen, Exception) and not isinstance(seen, NotFound)
        if failed and not self.missed:
            log.warning("A look failed and is tried again: %s", seen)
        self.missed = failed
        if failed:
            return
        if isinstance(seen, NotFound):
            self.failure = seen
        elif self.version and seen == self.value:
            return
        else:
            self.value = seen
            self.version += 1
        self.wake()


class Following:
    """Follows things for many readers. Belongs to one event loop."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._loop = asyncio.get_running_loop()
        self._topics: dict[Hashable, _Topic] = {}
        self._poller: asyncio.Task[None] | None = None
        self._kick = asyncio.Event()
        self._ensuring: asyncio.Future[None] | None = None
        # Threads of its own: pages that keep all others busy must not keep the looks from being taken.
        self._threads = ThreadPoolExecutor(2, "limner-live")
        self.stopping = False

    async def job(self, job: str) -> AsyncIterator[Job]:
        """Give the job whenever it has changed, until it has ended. NotFound: there is none."""
        async for current in self.follow(("job", job), lambda: self._studio.jobs.get(job), lambda it: it.state.ended):
            yield current

    async def follow(
        self,
        key: Hashable,
        look: Callable[[], T],
        ended: Callable[[T], bool],
        works: Callable[[T], bool] | None = None,
    ) -> AsyncIterator[T]:
        """Give what ``look`` gives whenever that has changed, until it has ``ended``, or the server stops.

        Readers with the same key share one look. ``look`` runs in a thread; NotFound ends the following.
        ``works`` says whether there is work that needs a worker: as long as it has not ended if left out.
        """
        topic = self._topics.setdefault(key, _Topic(look, ended, works or (lambda value: not ended(value))))
        topic.readers += 1
        self._run()
        seen = 0
        try:
            while not self.stopping:
                changed = topic.changed
                if topic.version != seen:
                    seen = topic.version
                    yield topic.value
                    continue
                if topic.failure is not None:
                    raise topic.failure
                if topic.over:
                    return
                await changed.wait()
        finally:
            topic.readers -= 1
            if not topic.readers and self._topics.get(key) is topic:
                del self._topics[key]

    def _run(self) -> None:
        self._kick.set()
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="limner-live")

    async def _poll(self) -> None:
        """Look as long as somebody follows."""
        with_changes = self._studio.jobs.changes()
        last: int | None = None
        ensured = 0.0
        try:
            while self._topics and not self.stopping:
                self._kick.clear()
                try:
                    # Asked before looking: what is written while we look is seen the next time.
                    number = await self._loop.run_in_executor(self._threads, with_changes.number)
                    wanted = [
                        t for t in self._topics.values() if not t.over and (number != last or t.missed or not t.version)
                    ]
                    await self._look(wanted)
                    last = number
                    if time.monotonic() - ensured > WORKER_SECONDS and any(
                        t.wants_worker for t in self._topics.values()
                    ):
                        ensured = time.monotonic()
                        if self._ensuring is None or self._ensuring.done():
                            self._ensuring = self._loop.run_in_executor(self._threads, with_changes.keep_working)
                except Exception:
                    log.exception("Looking for changes failed; it is tried again.")
                await self._pause()
        finally:
            with_changes.close()

    async def _look(self, topics: list[_Topic]) -> None:
        def at_all() -> list[Any]:
            return [_seen(topic.look) for topic in topics]

        if topics:
            for topic, seen in zip(topics, await self._loop.run_in_executor(self._threads, at_all), strict=True):
                topic.take(seen)

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._kick.wait(), LOOK_SECONDS)
        except TimeoutError:
            return

    def stop(self) -> None:
        """End all streams, so that the server can stop. May be called from a signal handler."""
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self.stopping = True
        self._kick.set()
        for topic in self._topics.values():
            topic.wake()


def _seen(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except Exception as failure:  # one that fails must not keep the others from being looked at
        return failure


@asynccontextmanager
async def following(studio: Studio) -> AsyncIterator[Following]:
    """Follow things as long as the app lives."""
    live = Following(studio)
    try:
        yield live
    finally:
        live._stop()
        if live._poller is not None:
            await asyncio.wait({live._poller}, timeout=2)
        live._threads.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def working(studio: Studio) -> AsyncIterator[None]:
    """See to it that jobs go on as long as the app lives, whether or not anybody follows them."""

    async def keep_on() -> None:
        while True:
            try:
                await asyncio.to_thread(studio.jobs.go_on)
            except Exception:
                log.exception("Looking for work that waits failed; it is tried again.")
            await asyncio.sleep(IDLE_LOOK_SECONDS)

    task = asyncio.create_task(keep_on(), name="limner-working")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def live_of(request: Request) -> Following:
    """The app's following."""
    live: Following = request.app.state.live
    return live


async def _messages(
    live: Following,
    source: AsyncIterator[T],
    render: Callable[[T], str | Sent],
    let_in: Callable[[], Awaitable[bool]],
) -> AsyncIterator[bytes]:
    """One reader's stream of messages."""
    loop = asyncio.get_running_loop()
    until = loop.time() + MOST_SECONDS
    number = 0
    yield format_sse_event(retry=RETRY_MILLISECONDS)
    coming: asyncio.Future[T] | None = None
    try:
        while loop.time() < until:
            coming = coming or asyncio.ensure_future(anext(source))
            await asyncio.wait({coming}, timeout=HEARTBEAT_SECONDS)
            if not await let_in():
                return
            if not coming.done():
                yield format_sse_event(comment="still here")
                continue
            try:
                value = coming.result()
            except StopAsyncIteration:
                if not live.stopping:
                    yield Sent(END, END).wire(number + 1)
                return
            except LimnerError as failure:
                log.info("a stream ended: %s", failure.code)
                yield Sent(END, END).wire(number + 1)
                return
            coming = None
            number += 1
            sent = await asyncio.to_thread(render, value)
            yield (sent if isinstance(sent, Sent) else Sent(sent)).wire(number)
    finally:
        if coming is not None:
            coming.cancel()
            # Also what it ended with is taken: the end of a stream that nobody reads any more is no mistake.
            await asyncio.gather(coming, return_exceptions=True)
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()


def event_stream(request: Request, source: AsyncIterator[T], render: Callable[[T], str | Sent]) -> StreamingResponse:
    """Answer with server-sent events: what ``render`` makes of each value of ``source``, then an event ``end``.

    A reader that goes away ends its part of the following; so does the server's end, without the event ``end``, so
    that the reader comes again, and so does that of the reader's session or rights.
    """
    door: Doorkeeper = request.app.state.doorkeeper

    async def let_in() -> bool:
        return await door.still(request.headers, request.state.visitor)

    return StreamingResponse(
        _messages(live_of(request), source, render, let_in),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def live_part(
    request: Request,
    template: str,
    key: Hashable,
    look: Callable[[], T],
    ended: Callable[[T], bool],
    context: Callable[[T], Mapping[str, Any]],
    works: Callable[[T], bool] | None = None,
) -> StreamingResponse:
    """A part of a page, sent whole whenever what is followed has changed: ``template`` with the ``context`` of that."""
    part = request.app.state.templates.get_template(template)
    csrf = visitor_of(request).csrf

    def render(now: T) -> str:
        html: str = part.render(csrf_token=csrf, **context(now))
        return html

    return event_stream(request, live_of(request).follow(key, look, ended, works), render)
