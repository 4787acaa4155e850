"""Answers that swell: those that unpack to far more than came, whether by mistake or to fill a machine."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx2

__all__ = ["LEAST_BYTES", "PATIENCE_SECONDS", "Swells", "bound", "refuse_swelling"]

FREE = 16 * 2**20
"""Bytes that may come of whatever was sent: the longest log, the longest list."""
MOST_READ = 64 * 2**20
"""Bytes of an answer in JSON or text that is read whole."""
MOST_FILE = 40 * 10**9
PATIENCE_SECONDS = 60.0
LEAST_BYTES = 256 * 2**10
"""An answer ends when no head, or fewer bytes, came in so many seconds: who drips would hold it for ever."""
MOST_TIMES = 100
"""More than text packs: zeros pack a thousandfold."""


class Swells(httpx2.DecodingError):
    """An answer is far too large; it would be so another time too."""


def refuse_swelling(response: httpx2.Response, unpacked: int) -> None:
    """After each piece that was unpacked. Swells: ``unpacked`` bytes in all came of too few."""
    if unpacked > FREE and unpacked > MOST_TIMES * response.num_bytes_downloaded:
        raise Swells("it unpacks to far more than was sent")


def bound(response: httpx2.Response) -> None:
    """A hook for a client of others, whose answers they read: these come as they are, and end in bytes and time.

    Swells: the answer is packed though nobody asked for it, or too long. ReadTimeout: it drips.
    """
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise Swells("it is packed in a way that was not asked for", request=response.request)
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _Bounded(response, response.stream)


class _Bounded(httpx2.SyncByteStream):
    """The bytes of an answer as they come."""

    def __init__(self, response: httpx2.Response, stream: httpx2.SyncByteStream) -> None:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._most = MOST_READ if kind.endswith("json") or kind.startswith("text/") else MOST_FILE
        self._request, self._stream = response.request, stream

    def __iter__(self) -> Iterator[bytes]:
        size, moved, since = 0, 0, time.monotonic()
        for piece in self._stream:
            size += len(piece)
            if size > self._most:
                raise Swells("it is too long", request=self._request)
            if size - moved >= LEAST_BYTES:
                moved, since = size, time.monotonic()
            elif time.monotonic() - since > PATIENCE_SECONDS:
                raise httpx2.ReadTimeout("it is too slow", request=self._request)
            yield piece

    def close(self) -> None:
        self._stream.close()
