"""Webhooks of vendors: a signed message wakes whoever waits for a training, and tells nothing else.

The body is never believed, not even a signed one: who is woken asks the vendor. So replays, disorder and loss do no
harm.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from limner.errors import InputRefused, LimnerError
from limner.http_server.bodies import told_length
from limner.vendors.http.standard_webhooks import WebhookRefused, verify

__all__ = ["MOST_BYTES", "webhook_app"]

MOST_BYTES = 8 * 2**20
"""A training's body holds its whole log."""
MOST_SEEN = 4096
"""Ids of messages that are remembered, so that a repetition wakes nobody."""
FAILED_AGAIN = 1.0
"""Seconds before it is asked for again after it was not to be had."""
SECRET_AGAIN = 60.0
"""Seconds before the secret is fetched anew because a signature does not hold: it may have been exchanged."""

SecretOf = Callable[[], Awaitable[str]]


def webhook_app(secret_of: SecretOf, wake: Callable[[str], None]) -> Starlette:
    """An app with ``POST /webhooks/replicate/{training}``. ``wake`` is called with the training's id, from its loop.

    ``secret_of`` gives the vendor's signing secret; it is asked when the first message comes, and again where a
    signature does not hold. Answers: 204 taken, 401 not the vendor's, 413 too large, 503 the secret is not to be had.
    """
    receiver = _Receiver(secret_of, wake)
    return Starlette(routes=[Route("/webhooks/replicate/{training}", receiver.take, methods=["POST"])])


class _Receiver:
    def __init__(self, secret_of: SecretOf, wake: Callable[[str], None]) -> None:
        self._secret_of, self._wake = secret_of, wake
        self._secret = ""
        self._asked = 0.0
        self._guard = asyncio.Lock()
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def take(self, request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return _no(400, "the message broke off")
        if body is None:
            return _no(413, f"a message may have {MOST_BYTES} bytes")
        training = request.path_params["training"]
        headers = {name: request.headers.get(name, "") for name in _HEADERS}
        try:
            signed = await self._verified(headers, body)
        except WebhookRefused as refused:
            return _no(refused.status, refused.reason)
        except LimnerError:
            # The vendor sends it again later; until then polling goes on.
            return _no(503, "the signing secret is not to be had now")
        # The id alone does not tell for whom it is: the same message may be sent to another training's address.
        key = (training, signed)
        if key not in self._seen:
            self._seen[key] = None
            while len(self._seen) > MOST_SEEN:
                self._seen.popitem(last=False)
            self._wake(training)
        return Response(status_code=204)

    async def _verified(self, headers: dict[str, str], body: bytes) -> str:
        """The id of a message that the vendor signed. WebhookRefused, or the error of fetching the secret."""
        had = self._secret or await self._fetch("")
        try:
            return verify(had, headers, body).id
        except WebhookRefused as refused:
            if refused.reason != "signature":
                raise
            now = await self._fetch(had)
            if now == had:
                raise
            return verify(now, headers, body).id

    async def _fetch(self, had: str) -> str:
        """The secret, asked for at most once a minute whatever comes in from outside."""
        async with self._guard:
            if self._secret != had:
                return self._secret
            if self._secret and time.monotonic() - self._asked < SECRET_AGAIN:
                return self._secret
            if not self._secret and self._asked and time.monotonic() - self._asked < FAILED_AGAIN:
                raise InputRefused("The signing secret was asked for a moment ago.", thing="webhook")
            self._asked = time.monotonic()
            self._secret = await self._secret_of()
            return self._secret


_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


async def _body(request: Request) -> bytes | None:
    """The raw bytes, None if there are too many: they are not even read to the end."""
    if told_length(request.headers) > MOST_BYTES:
        return None
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _no(status: int, why: str) -> Response:
    return JSONResponse({"detail": why}, status)
