"""The bodies of requests: how large they may be, and the token of a form in a small one, without using it up."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from limner.errors import InputRefused

__all__ = ["FILE_TYPES", "FORM_TYPE", "LimitedBody", "TooLarge"]

FORM_TYPE = "application/x-www-form-urlencoded"
FILE_TYPES = ("multipart/form-data", "application/offset+octet-stream")
"""Bodies that carry files: they have the limits of uploads."""
MOST_FIELDS = 20_000


class TooLarge(InputRefused):
    """The body of a request is larger than it may be."""

    status = 413


class LimitedBody:
    """Receives a body as far as it may go; a whole small one can be looked at first and is then given again."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self.most = most
        self._size = 0
        self._kept: list[Message] = []
        self.too_large = False

    async def __call__(self) -> Message:
        if self._kept:
            return self._kept.pop(0)
        return await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self._size > self.most:
                self.too_large = True
                raise too_large(self.most)
        return message

    async def form(self) -> list[tuple[str, str]]:
        """The fields of a URL-encoded form; the body can still be received. InputRefused: it is none."""
        parts: list[bytes] = []
        read: list[Message] = []
        more = True
        while more:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            read.append(message)
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        self._kept = read
        try:
            return parse_qsl(b"".join(parts).decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
        except ValueError:
            raise InputRefused("The form cannot be read.", remedy="Reload the page and try again.") from None


def too_large(most: int) -> TooLarge:
    """The refusal of a body that has more bytes."""
    return TooLarge(
        f"A request of this kind may have {most:,} bytes.",
        remedy="Send less; photos go through the upload of their subject. The setting is max_request_bytes.",
        thing="body",
    )
