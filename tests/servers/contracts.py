"""Checks that every request, and every answer, is as the vendor's published OpenAPI description says.

    checked = Validated(stand_in.app, read_spec("replicate"), under="/v1")
    with serve(checked) as url: ...
    assert checked.violations == []

The descriptions fail openapi-core's check of the description itself, which is therefore off. They know no path of
delivery hosts and some others: those are listed in ``unknown``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.templating.paths.exceptions import PathError
from openapi_core.validation.request.exceptions import SecurityValidationError
from werkzeug.datastructures import Headers, ImmutableMultiDict

__all__ = ["Validated", "Violation", "read_spec"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

SPECS = Path(__file__).parent / "specs"


@dataclass(frozen=True)
class Violation:
    """What was not as described: ``part`` is request or answer."""

    part: str
    method: str
    path: str
    what: str


@cache
def read_spec(vendor: str) -> dict[str, Any]:
    """The description of a vendor's interface, as kept in ``specs/``."""
    [path] = SPECS.glob(f"{vendor}.openapi.*")
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    import yaml

    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def _described(vendor: str, under: str) -> OpenAPI:
    spec = {**read_spec(vendor), "servers": [{"url": under or "/"}]}
    return OpenAPI.from_dict(spec, config=Config(spec_validator_cls=None))  # type: ignore[arg-type]


@dataclass
class _Request:
    host_url: str
    path: str
    method: str
    parameters: RequestParameters
    content_type: str
    body: bytes | None


@dataclass
class _Answer:
    status_code: int
    headers: Headers
    content_type: str
    data: bytes | None


class Validated:
    """ASGI middleware around a stand-in's app. ``vendor`` names the description; ``under`` is its path on the server.

    ``answers`` off: only requests are checked. ``except_for`` are parts of sentences that are no violation, because
    the description is known to be wrong there. ``seen`` are the (method, path) that were checked.
    """

    def __init__(
        self, app: App, vendor: str, *, under: str = "", answers: bool = True, except_for: Iterable[str] = ()
    ) -> None:
        self.app = app
        self.described = _described(vendor, under)
        self.answers = answers
        self.except_for = tuple(except_for)
        self.violations: list[Violation] = []
        self.unknown: set[tuple[str, str]] = set()
        self.seen: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = await _whole_body(receive)
        request = _request(scope, body)
        known = self._check("request", request, None)
        start: Message = {}
        said: list[bytes] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                said.append(message.get("body", b""))
            await send(message)

        await self.app(scope, _replayed(body, receive), keep)
        if known and self.answers and start:
            headers = Headers([(k.decode("latin-1"), v.decode("latin-1")) for k, v in start["headers"]])
            kind = headers.get("content-type", "")
            self._check("answer", request, _Answer(start["status"], headers, kind, b"".join(said)))

    def _check(self, part: str, request: _Request, answer: _Answer | None) -> bool:
        """Note what is wrong; whether the description knows the path."""
        try:
            if answer is None:
                errors = list(self.described.iter_request_errors(request))  # type: ignore[arg-type]
            elif answer.status_code >= 400:
                return True  # no description says what an error looks like
            else:
                errors = list(self.described.iter_response_errors(request, answer))  # type: ignore[arg-type]
        except PathError:
            errors = [PathError()]
        except KeyError:  # an operation that is described without its answers
            return True
        with self._lock:
            if any(isinstance(error, PathError) for error in errors):
                self.unknown.add((request.method, request.path))
                return False
            if answer is None:
                self.seen.append((request.method, request.path))
            for error in errors:
                if isinstance(error, SecurityValidationError) or _only_bytes(error):
                    continue  # a missing or wrong token is for the stand-in to refuse
                what = _in_words(error)
                if not any(known in what for known in self.except_for):
                    self.violations.append(Violation(part, request.method, request.path, what))
        return True


def _only_bytes(error: BaseException) -> bool:
    """Whether all that is wrong is that a file of a form is bytes, where the description says string."""
    details = [str(one).splitlines()[0] for one in getattr(error.__cause__, "schema_errors", ())]
    return bool(details) and all(
        one.startswith(("b'", 'b"')) and one.endswith("is not of type 'string'") for one in details
    )


def _in_words(error: BaseException) -> str:
    """An error with its causes, deepest last."""
    words = []
    cause: BaseException | None = error
    while cause is not None:
        words.append(f"{type(cause).__name__}: {cause}")
        details = [str(one) for one in getattr(cause, "schema_errors", ())]
        words += [detail.splitlines()[0] for detail in details]
        cause = cause.__cause__
    return "; ".join(words)[:1000]


def _request(scope: Message, body: bytes) -> _Request:
    headers = Headers([(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]])
    query = ImmutableMultiDict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    return _Request(
        host_url=f"http://{headers.get('host', 'localhost')}",
        path=scope["path"],
        method=scope["method"].lower(),
        parameters=RequestParameters(query=query, header=headers),  # type: ignore[arg-type]
        content_type=headers.get("content-type", ""),
        body=body or None,
    )


async def _whole_body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body once more, and then what else comes (the client hanging up)."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
