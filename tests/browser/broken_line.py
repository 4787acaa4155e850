"""A line between the browser and the server that can be cut: a small TCP proxy on a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Line"]

PIECE = 1 << 14


class Line:
    """Passes bytes on to a server. ``cut`` drops all connections; ``cut_after`` does so when so many bytes went up."""

    def __init__(self, url: str) -> None:
        self._to = int(urlsplit(url).port or 80)
        self._open: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._limit: int | None = None
        self._pause = 0.0
        self.up = 0
        self.down = 0
        self.cuts = 0
        self._dead = False
        self._server = self._do(asyncio.start_server(self._pass, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *failure: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def cut(self) -> None:
        """Drop every connection that is open now."""
        self._loop.call_soon_threadsafe(self._cut)

    def cut_after(self, count: int) -> None:
        """Drop every connection once ``count`` more bytes went up."""
        self._limit = self.up + count

    def slow(self, seconds: float) -> None:
        """Wait so long after each piece that goes up."""
        self._pause = seconds

    def dead(self, is_dead: bool) -> None:
        """Drop every connection, and each new one as soon as it is opened, until told otherwise."""
        self._dead = is_dead
        if is_dead:
            self.cut()

    async def _close(self) -> None:
        self._server.close()
        self._cut()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def _cut(self) -> None:
        self.cuts += 1
        self._limit = None
        for writer in list(self._open):
            writer.transport.abort()

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._dead:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._open |= pair
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        try:
            ways = (self._carry(reader, far_writer, up=True), self._carry(far_reader, writer, up=False))
            tasks = [asyncio.create_task(way) for way in ways]
            # What breaks on one side breaks on the other; an end that was said leaves the other way open.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._open -= pair
            for one in pair:
                one.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
            if not up:
                self.down += len(data)
                continue
            self.up += len(data)
            if self._limit is not None and self.up >= self._limit:
                self._cut()
            if self._pause:
                await asyncio.sleep(self._pause)
        writer.write_eof()
