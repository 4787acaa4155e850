"""Faults on the way between a client and a stand-in: ASGI middleware that makes them happen at chosen requests.

    plan = [Fault("lost-reset", "POST", r"/trainings$"), Fault("throttled", path="/files", times=3)]
    with serve(Faulty(stand_in.app, plan), stand_in) as url: ...

``KINDS`` says what each kind does. Resets are true TCP resets. What only the vendor itself can get wrong (a training
that fails, a tar with odd members ...) is set on the stand-ins.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

__all__ = ["BEFORE", "KINDS", "LOST", "Fault", "Faulty", "Hit"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

BEFORE = {
    "throttled": "429 with Retry-After in seconds",
    "throttled-date": "429 with Retry-After as a date",
    "throttled-plain": "429 that does not say for how long",
    "throttled-reset": "429 with x-ratelimit-reset only (Together)",
    "throttled-ietf": "429 with the IETF headers RateLimit and RateLimit-Policy (Hugging Face)",
    "error-500": "500 with a JSON body",
    "html-500": "500 with an HTML page",
    "html-502": "502 with an HTML page of a proxy",
    "busy-503": "503 with a JSON body: overloaded",
    "html-503": "503 with an HTML page",
    "html-504": "504 with an HTML page",
    "html-200": "an HTML page with status 200, as of a captive portal",
    "empty-200": "status 200 with JSON for content type and an empty body",
    "no-credit": "402: no credit",
    "forbidden": "403 with a JSON body",
    "gone-403": "403 with an XML body: a signed address that has expired",
    "gone-404": "404 with an XML body: a file that was deleted",
    "hang": "no answer at all; the connection stays open",
    "reset": "a TCP reset before anything was handled",
    "closed": "the connection is closed before anything was handled",
    "revoked": "the token is no longer valid: the vendor's own answer to a wrong token",
}
"""Faults where the vendor never got to see the request."""

LOST = {
    "lost-reset": "handled, then a TCP reset instead of the answer",
    "lost-closed": "handled, then the connection is closed without an answer",
    "lost-hang": "handled, and no answer ever comes",
    "lost-html-502": "handled, and a proxy answers 502 with an HTML page",
    "lost-html-504": "handled, and a proxy answers 504 with an HTML page",
    "lost-error-500": "handled, and the answer is a 500 in JSON",
    "lost-html-200": "handled, and the answer is an HTML page with status 200",
    "lost-garbled": "handled, and the JSON of the answer is cut in the middle, its length being right",
}
"""Faults where the vendor did what was asked, and the answer is lost."""

DAMAGED = {
    "reset-mid-body": "a TCP reset in the middle of the answer",
    "truncated": "half of the answer, then closed, though Content-Length says more",
    "truncated-unmarked": "half of the answer, then closed, without Content-Length: looks whole",
    "truncated-consistent": "half of the answer with a Content-Length of that half: looks whole",
    "flipped": "one byte in the middle of the answer is another",
    "wrong-type": "the right body, said to be text/html",
    "no-type": "the right body without a Content-Type",
    "skewed": "the vendor's clock is off: the Date header, and every time in the JSON",
    "extra-fields": "unknown fields in every JSON object of the answer",
    "slow": "the answer comes late",
    "edited": "the JSON of the answer is changed by the fault's ``edit``",
}
"""Faults where an answer comes, and something is wrong with it."""

KINDS = BEFORE | LOST | DAMAGED

HTML = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body><h1>A proxy's page</h1></body></html>"
GONE = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>'
TIMES = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


@dataclass(frozen=True)
class Fault:
    """One fault at the ``nth`` request that matches, and at the ``times - 1`` after it (0: at all that follow).

    ``path`` is searched for in the path as a regular expression. ``seconds`` is how long: Retry-After, the wait of hang
    and slow, how far the clock is off. ``body`` is what a refusal says instead of the usual. ``headers`` come on top.
    """

    kind: str
    method: str = "*"
    path: str = ""
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    edit: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no fault {self.kind}")

    def matches(self, method: str, path: str) -> bool:
        return self.method in ("*", method) and re.search(self.path, path) is not None


@dataclass(frozen=True)
class Hit:
    """A fault that struck a request."""

    fault: Fault
    method: str
    path: str


class Faulty:
    """ASGI middleware, the outermost around an app. ``hits`` tells which faults struck, ``requests`` what came.

    ``style`` names the vendor whose form the bodies of refusals have.
    """

    def __init__(self, app: App, plan: Iterable[Fault] = (), *, style: str = "replicate") -> None:
        self.app = app
        self.style = style
        self.hits: list[Hit] = []
        self.requests: list[tuple[str, str]] = []
        self._plan: list[Fault] = []
        self._seen: dict[int, int] = {}
        self._lock = threading.Lock()
        for fault in plan:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Add a fault; it counts requests from now on."""
        with self._lock:
            self._seen[len(self._plan)] = 0
            self._plan.append(fault)

    def clear(self) -> None:
        """No more faults: the disturbance is over."""
        with self._lock:
            self._plan.clear()
            self._seen.clear()

    def _due(self, method: str, path: str) -> Fault | None:
        """The first fault that is due; every fault that matches counts this request."""
        due = None
        with self._lock:
            self.requests.append((method, path))
            for number, fault in enumerate(self._plan):
                if not fault.matches(method, path):
                    continue
                self._seen[number] += 1
                late = self._seen[number] - fault.nth
                if due is None and late >= 0 and (fault.times == 0 or late < fault.times):
                    due = fault
            if due is not None:
                self.hits.append(Hit(due, method, path))
        return due

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        fault = self._due(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if fault is None:
            await self.app(scope, receive, send)
        elif fault.kind == "revoked":
            await self.app({**scope, "headers": _other_token(scope["headers"])}, receive, send)
        elif fault.kind in BEFORE:
            if fault.kind not in ("reset", "closed"):
                await _whole(receive)
            await self._instead(fault, fault.kind, receive, send)
        elif fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            await self.app(scope, receive, send)
        else:
            start, body = await self._handled(scope, receive)
            if fault.kind == "lost-garbled":
                await _answer(send, 200, body[: len(body) // 2], "application/json")
            elif fault.kind in LOST:
                await self._instead(fault, fault.kind.removeprefix("lost-"), receive, send)
            else:
                await _damaged(fault, start, body, send)

    async def _instead(self, fault: Fault, kind: str, receive: Receive, send: Send) -> None:
        """What comes instead of the vendor's answer."""
        if kind == "hang":
            await _hang(fault.seconds or 3600.0, receive)
            await _cut(send, reset=False)
        elif kind in ("reset", "closed"):
            await _cut(send, reset=kind == "reset")
        elif kind.startswith("gone-"):
            await _answer(send, int(kind[-3:]), GONE, "application/xml")
        elif kind.startswith("html-"):
            await _answer(send, int(kind[-3:]), HTML, "text/html; charset=utf-8", fault.headers)
        elif kind == "empty-200":
            await _answer(send, 200, b"", "application/json")
        else:
            status = {"error-500": 500, "busy-503": 503, "no-credit": 402, "forbidden": 403}.get(kind, 429)
            body = fault.body if fault.body is not None else _refusal(status, self.style)
            headers = (*_limits(kind, fault.seconds), *fault.headers)
            await _answer(send, status, json.dumps(body).encode(), "application/json", headers)

    async def _handled(self, scope: Message, receive: Receive) -> tuple[Message, bytes]:
        """Let the app handle the request, and keep the answer from the client."""
        start: Message = {}
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self.app(scope, receive, keep)
        return start, b"".join(parts)


def _limits(kind: str, seconds: float) -> tuple[tuple[str, str], ...]:
    """The headers by which a refusal says how long to wait."""
    whole = str(int(seconds))
    if kind == "throttled":
        return (("retry-after", whole),)
    if kind == "throttled-date":
        return (("retry-after", format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)),)
    if kind == "throttled-reset":
        return (("x-ratelimit-reset", whole),)
    if kind == "throttled-ietf":
        return (("ratelimit", f'"api";r=0;t={whole}'), ("ratelimit-policy", '"fixed window";"api";q=500;w=300'))
    return ()


def _refusal(status: int, style: str) -> dict[str, Any]:
    """An error body in a vendor's own form."""
    words = {429: "Request was throttled.", 402: "Insufficient credit.", 403: "Forbidden.", 503: "Overloaded."}
    said = words.get(status, "Internal server error.")
    if style == "together":
        return {"error": {"message": said, "type": "server_error", "param": None, "code": None}}
    if style == "huggingface":
        return {"error": said}
    return {"detail": said, "status": status} if style == "replicate" else {"detail": said}


async def _damaged(fault: Fault, start: Message, body: bytes, send: Send) -> None:
    """The vendor's answer with something wrong in it."""
    headers = [(key, value) for key, value in start["headers"] if key.lower() != b"content-length"]
    kind = fault.kind
    half = body[: len(body) // 2]
    if kind in ("truncated", "truncated-unmarked", "reset-mid-body"):
        length = [] if kind == "truncated-unmarked" else [(b"content-length", str(len(body)).encode())]
        await _raw(send, start["status"], [*headers, *length], half, reset=kind == "reset-mid-body")
        return
    if kind == "truncated-consistent":
        body = half
    elif kind == "flipped" and body:
        middle = len(body) // 2
        body = body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]
    elif kind in ("wrong-type", "no-type"):
        headers = [(key, value) for key, value in headers if key.lower() != b"content-type"]
        headers += [(b"content-type", b"text/html; charset=utf-8")] if kind == "wrong-type" else []
    elif kind == "skewed":
        headers = [(key, value) for key, value in headers if key.lower() != b"date"]
        # uvicorn would add the true time
        send.__self__.default_headers = []  # type: ignore[attr-defined]
        moved = datetime.now(UTC) + timedelta(seconds=fault.seconds or 86400.0)
        headers.append((b"date", format_datetime(moved, usegmt=True).encode()))
        body = _edited(body, lambda value: _shifted(value, fault.seconds or 86400.0))
    elif kind == "extra-fields":
        body = _edited(body, _widened)
    elif kind == "edited" and fault.edit is not None:
        body = _edited(body, fault.edit)
    await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


def _edited(body: bytes, edit: Callable[[Any], Any]) -> bytes:
    """A JSON body changed; any other as it is."""
    try:
        return json.dumps(edit(json.loads(body))).encode()
    except ValueError:
        return body


def _shifted(value: Any, seconds: float) -> Any:
    """All times in a JSON value moved."""
    if isinstance(value, dict):
        return {key: _shifted(one, seconds) for key, one in value.items()}
    if isinstance(value, list):
        return [_shifted(one, seconds) for one in value]
    if isinstance(value, str) and TIMES.match(value):
        try:
            moved = datetime.fromisoformat(value) + timedelta(seconds=seconds)
        except ValueError:
            return value
        return moved.isoformat().replace("+00:00", "Z")
    return value


def _widened(value: Any) -> Any:
    """Every object of a JSON value with two fields that nobody has heard of."""
    if isinstance(value, dict):
        wide = {key: _widened(one) for key, one in value.items()}
        return {"a_new_field": {"nested": [1, None]}, **wide, "another": None} if wide else wide
    return [_widened(one) for one in value] if isinstance(value, list) else value


def _other_token(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    def replaced(key: bytes, value: bytes) -> bytes:
        return value.partition(b" ")[0] + b" revoked" if key.lower() == b"authorization" else value

    return [(key, replaced(key, value)) for key, value in headers]


async def _answer(
    send: Send, status: int, body: bytes, media_type: str, headers: Iterable[tuple[str, str]] = ()
) -> None:
    named = [("content-type", media_type), ("content-length", str(len(body))), *headers]
    encoded = [(key.encode(), value.encode()) for key, value in named]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


async def _whole(receive: Receive) -> None:
    """Read a request to its end, as a proxy that then answers by itself does."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


async def _hang(seconds: float, receive: Receive) -> None:
    """Say nothing until the client hangs up or the time is over."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(gone(), seconds)
    except TimeoutError:
        return


def _transport(send: Send) -> asyncio.Transport:
    """The connection below uvicorn's ``send``; the middleware must be the outermost one."""
    cycle = getattr(send, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is None:
        raise RuntimeError("Faulty must be the outermost app, served by uvicorn")
    return transport  # type: ignore[no-any-return]


async def _cut(send: Send, *, reset: bool) -> None:
    """End the connection: with a TCP reset, or by closing it."""
    transport = _transport(send)
    if reset:
        # to linger for no time makes the kernel send RST instead of FIN
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
    # uvicorn must notice before we return, or it writes an answer of its own
    cycle = send.__self__  # type: ignore[attr-defined]
    for _ in range(100):
        if cycle.disconnected:
            return
        await asyncio.sleep(0.001)


async def _raw(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, reset: bool) -> None:
    """Write an answer past uvicorn, which would not let its length be wrong, and end the connection."""
    transport = _transport(send)
    lines = b"".join(key + b": " + value + b"\r\n" for key, value in headers)
    transport.write(b"HTTP/1.1 %d Fault\r\n%sconnection: close\r\n\r\n%s" % (status, lines, body))
    if reset:
        # the client is to see the beginning: a reset throws away what it has not read
        await asyncio.sleep(0.02)
    await _cut(send, reset=reset)
