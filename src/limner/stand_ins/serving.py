"""Serving an ASGI app on this machine: uvicorn in a daemon thread, on a free port of the loopback address."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from uvicorn import Server

__all__ = ["Served", "serve"]

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

_PATIENCE = 20.0


class Served(Protocol):
    """What wants to know its own address, because its answers hold absolute URLs."""

    url: str


@contextmanager
def serve(app: App, *told: Served) -> Iterator[str]:
    """Serve an app until the block ends; gives ``http://127.0.0.1:PORT``, and sets ``url`` of what is to be told.

    Requests that are under way at the end are cut off. Several apps can be served at once.
    """
    from uvicorn import Config, Server

    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    # else each answer waits 40 ms for the other side's acknowledgement: asyncio does this for sockets it made only
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for one in told:
        one.url = url
    config = Config(
        _outspoken(app), log_config=None, log_level="critical", access_log=False, ws="none", http="h11", lifespan="auto"
    )
    server = Server(config)
    loop = asyncio.new_event_loop()
    serving = loop.create_task(_until_cancelled(server, listener))
    thread = threading.Thread(target=_run, args=(loop, serving), name=f"serving {url}", daemon=True)
    thread.start()
    try:
        until = time.monotonic() + _PATIENCE
        while not server.started:
            if not thread.is_alive() or time.monotonic() > until:
                raise RuntimeError(f"the app cannot be served at {url}")
            time.sleep(0.002)
        yield url
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(serving.cancel)
        thread.join(_PATIENCE)
        listener.close()


async def _until_cancelled(server: Server, listener: socket.socket) -> None:
    """Serve; when cancelled cut everything off at once, where uvicorn's own end takes its time."""
    try:
        await server.serve([listener])
    finally:
        for listening in server.servers:
            listening.close()
        for connection in list(server.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()


def _run(loop: asyncio.AbstractEventLoop, serving: asyncio.Task[None]) -> None:
    """Run a loop until the server ends, and end what it was doing for its clients."""
    asyncio.set_event_loop(loop)
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(serving)
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _outspoken(app: App) -> App:
    """Print an exception that an app lets through: uvicorn's log is off, and it would be lost."""

    async def outspoken(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        try:
            await app(scope, receive, send)
        except Exception:
            traceback.print_exc()
            raise

    return outspoken
