"""Connections: how long and how many, so that whoever sends nothing, drips, or reads nothing holds none for ever.

One that is full of others' makes room by ending the one that has waited longest without a request; only where all are
at work is the new one told to come later. Behind a proxy on this machine all come from loopback: there the number for
one address is the guard's matter, which knows whom the proxy speaks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from limner.http_server.addresses import is_loopback, network_of
from limner.http_server.request_heads import BoundedHeads
from limner.settings import Settings

__all__ = ["BACKLOG", "BoundedConnection", "Limits", "bounded_by"]

BACKLOG = 64
"""Connections that wait to be taken: all of them may be taken at once, before any is looked at."""
STALL_SECONDS = 75.0
"""For so long a body or a reader is waited for with which fewer than ``LEAST_BYTES`` move on.

Somewhat longer than the guard waits, which can say why."""
LEAST_BYTES = 10_000
LOOK_SECONDS = 2.0
SPARE_HANDLES = 128
"""Files of the process itself: database, logs, what waits in the backlog."""
HANDLES_EACH = 2
"""Files that a connection may hold: itself, and the file that is sent or written."""
FEWEST = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """``most`` connections in all, ``most_each`` of one address (0: as many), ``head_seconds`` for a request's head."""

    most: int
    most_each: int
    head_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of the settings, and no more connections than this process has handles for."""
        most = min(settings.max_connections, max(FEWEST, (_handles() - SPARE_HANDLES) // HANDLES_EACH))
        return cls(most, settings.max_connections_per_address, settings.head_seconds)


def bounded_by(limits: Limits) -> type[asyncio.Protocol]:
    """The protocol for uvicorn's ``http``, with these limits."""
    return type("Connection", (BoundedConnection,), {"limits": limits})


class BoundedConnection(BoundedHeads):
    """A connection that is looked at every few seconds, and ended when it is only held."""

    limits: Limits
    address, network = "", ""
    _idle_since: float | None = None
    """When the wait for a request began, or for the rest of its head or of a body that nobody wants; else None."""
    _in_body = False
    _moved = 0
    """Bytes of a body that have come, or steps of an answer that have gone, since ``_stalled_since``."""
    _stalled_since: float | None = None
    _left = 0
    """Bytes of an answer that were unsent when its stall began."""
    _looking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected: they are let in, in another's place, or told to come later."""
        super().connection_made(transport)
        self.address = self.client[0].partition("%")[0] if self.client else ""
        self.network = network_of(self.address)
        self._idle_since = self.loop.time()
        if self._has_room():
            self._look_later()
            return
        self.connections.discard(self)
        self._say(b"503 Service Unavailable", "Too many connections. Try again in a while.", b"retry-after: 5\r\n")
        if transport.get_write_buffer_size():
            transport.abort()
        else:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, whoever ended it."""
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    # --- how many -----------------------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        all_of_them = [one for one in self.connections if isinstance(one, BoundedConnection)]
        if self.limits.most_each and not is_loopback(self.address):
            of_theirs = [one for one in all_of_them if one.network == self.network]
            if len(of_theirs) > self.limits.most_each and not self._takes_place_of_one(of_theirs):
                return False
        return len(all_of_them) <= self.limits.most or self._takes_place_of_one(all_of_them)

    def _takes_place_of_one(self, others: Iterable[BoundedConnection]) -> bool:
        waiting = [one for one in others if one is not self and one._idle_since is not None and not one._at_work()]
        if not waiting:
            return False
        longest = min(waiting, key=lambda one: one._idle_since or 0.0)
        # At once, not when its loop comes round: the handles are counted now.
        self.connections.discard(longest)
        longest.transport.abort()
        return True

    # --- how long -----------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        super().data_received(data)
        if self._idle_since is None and not self._in_body and not self._at_work():
            # What is neither a head nor part of one, such as empty lines, is waited for no longer than a head.
            self._idle_since = self.loop.time()

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        self._idle_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._idle_since, self._in_body = None, True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._moved += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer was handed over: what is left of the body, and then another request, is waited for."""
        super().on_response_complete()
        if not self._at_work() and self._idle_since is None:
            self._idle_since = self.loop.time()

    def resume_writing(self) -> None:
        """The reader has taken a good part of an answer."""
        self._moved += LEAST_BYTES
        super().resume_writing()

    def _at_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _look_later(self) -> None:
        self._looking = self.loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._look_later()
        moment = self.loop.time()
        unsent = self.transport.get_write_buffer_size()
        if self._idle_since is not None and not unsent and moment - self._idle_since > self.limits.head_seconds:
            self._end_idle()
        elif unsent or (self._in_body and not self.flow.read_paused):
            if self._stalled_since is None or self._moved + max(0, self._left - unsent) >= LEAST_BYTES:
                self._stalled_since, self._moved, self._left = moment, 0, unsent
            elif moment - self._stalled_since > STALL_SECONDS:
                self.transport.abort()
        else:
            self._stalled_since = None

    def _end_idle(self) -> None:
        if self._unfinished and not self._at_work():
            self._say(b"408 Request Timeout", "The request did not come in time.")
            self.transport.close()
        else:
            # Who has said nothing is told nothing: a browser keeps such connections in store.
            self.transport.abort()

    def _say(self, status: bytes, words: str, more: bytes = b"") -> None:
        head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n" % len(words)
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + more + head + b"\r\n" + words.encode("ascii"))


def _handles() -> int:
    """How many files this process may have open; Windows has no such limit."""
    try:
        import resource
    except ImportError:
        return 2**20
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2**20 if soft == resource.RLIM_INFINITY else soft
