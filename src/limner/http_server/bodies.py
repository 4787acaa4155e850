"""The bodies of requests: how large and how slow they may be, and the form in a small one, without using it up."""

from __future__ import annotations

import asyncio
import math
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from limner.errors import InputRefused

__all__ = ["FORM_TYPE", "LimitedBody", "Stalled", "TooLarge", "stalled", "told_length", "too_large"]

FORM_TYPE = "application/x-www-form-urlencoded"
MOST_FIELDS = 20_000
STALL_SECONDS = 60.0
"""For so long a body is waited for in which fewer than ``LEAST_BYTES`` come; then it is taken for broken off."""
LEAST_BYTES = 10_000
LONGEST_LENGTH = 18
"""Digits of a length that can be meant; Python reads no more than some thousands."""


class TooLarge(InputRefused):
    """The body of a request is larger than it may be."""

    status = 413


class Stalled(InputRefused):
    """The rest of a body did not come in time."""

    status = 408


class LimitedBody:
    """Receives a body as far as it may go; a whole small one can be looked at first and is then given again.

    One that stalls ends as if its connection had broken off: ``stalled`` says so.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self.most = most
        self._size = 0
        self._kept: list[Message] = []
        self._whole = False
        self._patience, self._come = STALL_SECONDS, 0
        self.too_large = False
        self.stalled = False

    async def __call__(self) -> Message:
        if self._kept:
            return self._kept.pop(0)
        return await self._next()

    async def _next(self) -> Message:
        message = await self._in_time()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self._size > self.most:
                self.too_large = True
                raise too_large(self.most)
        return message

    async def _in_time(self) -> Message:
        # After its body a request may be answered for hours; what is received then is its end.
        if self._whole:
            return await self._receive()
        if self.stalled:
            return {"type": "http.disconnect"}
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            async with asyncio.timeout(self._patience):
                message = await self._receive()
        except TimeoutError:
            self.stalled = True
            return {"type": "http.disconnect"}
        # Only the waiting counts, not what is done with the bytes meanwhile.
        self._patience -= clock() - begun
        self._come += len(message.get("body", b""))
        if self._come >= LEAST_BYTES:
            self._patience, self._come = STALL_SECONDS, 0
        self._whole = not message.get("more_body", False)
        return message

    async def form(self) -> list[tuple[str, str]]:
        """The fields of a URL-encoded form; the body can still be received. InputRefused: it is none."""
        parts: list[bytes] = []
        read: list[Message] = []
        more = True
        while more:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise stalled() if self.stalled else ClientDisconnect
            read.append(message)
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        self._kept = read
        try:
            return parse_qsl(b"".join(parts).decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
        except ValueError:
            raise InputRefused("The form cannot be read.", remedy="Reload the page and try again.") from None


def told_length(headers: Headers) -> float:
    """The bytes that a body is said to have: 0 where nothing is said, without end where it is no number."""
    said = headers.getlist("content-length")
    if not said:
        return 0
    sound = len(said) == 1 and said[0].isascii() and said[0].isdecimal() and len(said[0]) <= LONGEST_LENGTH
    return int(said[0]) if sound else math.inf


def too_large(most: int) -> TooLarge:
    """The refusal of a body that has more bytes."""
    return TooLarge(
        f"A request of this kind may have {most:,} bytes.",
        remedy="Send less; photos go through the upload of their subject. The setting is max_request_bytes.",
        thing="body",
    )


def stalled() -> Stalled:
    """The refusal of a body that stopped on its way."""
    return Stalled("The rest of the request did not come in time.", remedy="Send it again.", thing="body")
