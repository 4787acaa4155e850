"""The headers that every answer carries."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Message, Send

__all__ = ["CONTENT_SECURITY_POLICY", "HeaderedSend"]

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "object-src 'none'",
    )
)
ALWAYS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")


class HeaderedSend:
    """Sends an answer with the headers that all have, and the cookies that are to be set.

    ``last``: whether the connection is ended with the answer.
    """

    def __init__(self, send: Send, *, secure: bool, private: bool, last: Callable[[], bool]) -> None:
        self._send, self._last = send, last
        self._more = (*ALWAYS, STRICT_TRANSPORT) if secure else ALWAYS
        self._private = private
        self.cookies: list[str] = []
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = list(message.get("headers", ()))
            names = {name for name, _ in headers}
            headers += [(name, value) for name, value in self._more if name not in names]
            if self._private and b"cache-control" not in names:
                headers.append((b"cache-control", b"no-store"))
            if self._last():
                headers.append((b"connection", b"close"))
            if dict(headers).get(b"content-type", b"text/html").startswith(b"text/"):
                # A picture may be kept in a cache, and has no forms.
                headers += [(b"set-cookie", words.encode("latin-1")) for words in self.cookies]
            message = {**message, "headers": headers}
        await self._send(message)
