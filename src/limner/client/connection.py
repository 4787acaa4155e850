"""The connection to a server: sends requests, again only where that is safe, and turns problems into errors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import httpx2

from limner.errors import (
    AccessRefused,
    InputRefused,
    LimnerError,
    LoginNeeded,
    NotFound,
    RecipeRefused,
    VendorFailed,
)

__all__ = ["PAUSES", "Connection", "error_of"]

PAUSES = [0.2, 1.0, 3.0]
"""Seconds before each further try."""
MOST_PAUSE = 30.0
MOST_WORK = 600.0
"""Seconds that an answer is waited for which an earlier try of the same request is still making."""
KEY = "Idempotency-Key"
TRY_AGAIN = frozenset({502, 503, 504})
_BY_STATUS: Mapping[int, type[LimnerError]] = {401: LoginNeeded, 403: AccessRefused, 404: NotFound}


def _problem(answer: httpx2.Response) -> Mapping[str, Any]:
    """The problem that a refusal tells of; {} where it is none of Limner's."""
    try:
        said = json.loads(answer.read())
    except ValueError:
        return {}
    return said if isinstance(said, dict) and {"code", "detail"} <= said.keys() else {}


def error_of(answer: httpx2.Response) -> LimnerError:
    """The error that a refusal tells of, of the class that the server raised."""
    said = _problem(answer)
    if not said:
        return VendorFailed(
            f"The server answered {answer.status_code} with something that is no problem of Limner's.",
            remedy="Check the address, and any proxy before it.",
            thing=str(answer.request.url),
        )
    usual = _BY_STATUS.get(answer.status_code, InputRefused if answer.status_code < 500 else LimnerError)
    failure = usual.of_code(
        said["code"],
        said["detail"],
        remedy=said.get("remedy", ""),
        thing=said.get("thing", ""),
        candidates=said.get("candidates") or (),
    )
    if isinstance(failure, RecipeRefused):
        failure.fields = MappingProxyType(dict(said.get("fields") or {}))
    return failure


class Connection:
    """One server, and the token that it is asked with."""

    def __init__(self, url: str, token: str, timeout: float, transport: httpx2.BaseTransport | None) -> None:
        headers = {"User-Agent": "limner-client", "Accept": "application/json, */*;q=0.5"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url.rstrip("/")
        self._http = httpx2.Client(
            base_url=f"{self.url}/api/v1", headers=headers, timeout=timeout, transport=transport, follow_redirects=False
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str = "",
    ) -> httpx2.Response:
        """The answer to a request, or the error that it tells of."""
        sent = {**(headers or {}), **({KEY: key} if key else {})}
        if body is not None:
            content = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        # Announcing an upload by tus may be repeated as it is.
        announced = method == "POST" and "Tus-Resumable" in sent
        if method == "POST" and not announced:
            sent.setdefault(KEY, uuid4().hex)
        asked = {name: _word(value) for name, value in (query or {}).items() if value not in (None, "")}
        safe = method in ("GET", "HEAD") or announced or KEY in sent
        until = time.monotonic() + MOST_WORK
        pauses = iter(PAUSES)
        while True:
            try:
                answer = self._http.request(
                    method, path or f"{self.url}/api/v1", params=asked, content=content, headers=sent
                )
            except httpx2.TransportError as failure:
                pause = next(pauses, None)
                # What never left may be sent again whatever it is.
                if pause is None or not (safe or isinstance(failure, httpx2.ConnectError)):
                    raise self._unreachable(failure, sent.get(KEY, "")) from failure
                time.sleep(pause)
                continue
            if answer.is_success or answer.status_code == 304:
                return answer
            if answer.status_code == 409 and _problem(answer).get("code") == "still-doing" and time.monotonic() < until:
                time.sleep(PAUSES[-1])
                continue
            pause = next(pauses, None)
            wait = _wait(answer, pause)
            if pause is None or wait is None or not (safe or answer.status_code == 429):
                raise error_of(answer)
            time.sleep(wait)

    @contextmanager
    def stream(self, path: str, /, **query: Any) -> Iterator[httpx2.Response]:
        """An answer that is read while it comes."""
        asked = {name: _word(value) for name, value in query.items() if value not in (None, "")}
        try:
            with self._http.stream("GET", path, params=asked, timeout=httpx2.Timeout(60.0)) as answer:
                if not answer.is_success:
                    raise error_of(answer)
                yield answer
        except httpx2.TransportError as failure:
            raise self._unreachable(failure) from failure

    def _unreachable(self, failure: Exception, key: str = "") -> VendorFailed:
        told = f" Then do the same with key='{key}': what has begun already is not done twice." if key else ""
        return VendorFailed(
            f"The server at {self.url} cannot be reached: {type(failure).__name__}.",
            remedy=f"Start it with `limner serve`, or check the address.{told}",
            thing=self.url,
        )


def _word(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return [_word(one) for one in value] if isinstance(value, list | tuple) else str(value)


def _wait(answer: httpx2.Response, pause: float | None) -> float | None:
    """How long to wait before the same is sent again; None: it would be of no use."""
    if answer.status_code in TRY_AGAIN and answer.headers.get("content-type") != "application/problem+json":
        return pause
    if answer.status_code in (429, 503):
        said = answer.headers.get("retry-after", "")
        return min(float(said), MOST_PAUSE) if said.isdecimal() else None
    return None
