"""The connection to a server: sends requests, again only where that is safe, and turns problems into errors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import uuid4

import httpx2
from pydantic import BaseModel, TypeAdapter

from limner import errors
from limner.errors import AccessRefused, InputRefused, LimnerError, NotFound, VendorFailed
from limner.web.api.schemas.plain import Page, Problem

__all__ = ["PAUSES", "Connection", "error_of"]

PAUSES = [0.2, 1.0, 3.0]
"""Seconds before each further try."""
MOST_PAUSE = 30.0
MOST_WORK = 600.0
"""Seconds that an answer is waited for which an earlier try of the same request is still making."""
KEY = "Idempotency-Key"
TRY_AGAIN = frozenset({502, 503, 504})
STILL_DOING = "The first request with this key is still being done."

_BY_CODE = {one.code: one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, LimnerError)}
_BY_STATUS: Mapping[int, type[LimnerError]] = {401: errors.LoginNeeded, 403: AccessRefused, 404: NotFound}
Shape = TypeVar("Shape", bound=BaseModel)
Value = TypeVar("Value")


def error_of(answer: httpx2.Response) -> LimnerError:
    """The error that a refusal tells of, of the class that the server raised."""
    try:
        problem = Problem.model_validate_json(answer.read())
    except ValueError:
        return VendorFailed(
            f"The server answered {answer.status_code} with something that is no problem of Limner's.",
            remedy="Check the address, and any proxy before it.",
            thing=str(answer.request.url),
        )
    code = problem.type.removeprefix("urn:limner:")
    usual = InputRefused if 400 <= answer.status_code < 500 else LimnerError
    kind = _BY_CODE.get(code) or _BY_STATUS.get(answer.status_code, usual)
    failure = kind(problem.detail, remedy=problem.remedy, thing=problem.thing)
    if isinstance(failure, errors.RecipeRefused) and problem.fields:
        failure.fields = MappingProxyType(dict(problem.fields))
    if isinstance(failure, errors.BaseUnclear):
        failure.candidates = tuple(problem.candidates or ())
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

    # --- asking -------------------------------------------------------------------------------------------------

    def get(self, shape: type[Shape], path: str, /, **query: Any) -> Shape:
        """One thing."""
        return shape.model_validate_json(self.answer("GET", path, query=query).content)

    def value(self, kind: type[Value], path: str, /, **query: Any) -> Value:
        """A list or mapping of shapes, such as ``list[Job]``."""
        return TypeAdapter(kind).validate_json(self.answer("GET", path, query=query).content)

    def pages(self, shape: type[Shape], path: str, /, *, limit: int | None, **query: Any) -> Iterator[Shape]:
        """All things of a list, asked for in parts as they are taken; ``limit`` ends it earlier."""
        left, cursor = limit, ""
        while left is None or left > 0:
            asked = {**query, "limit": min(left or 200, 200), "cursor": cursor}
            answer = self.answer("GET", path, query=asked)
            part = Page[shape].model_validate_json(answer.content)  # type: ignore[valid-type]
            yield from part.items
            left = None if left is None else left - len(part.items)
            if part.next is None:
                return
            cursor = part.next

    def post(
        self,
        shape: type[Shape],
        path: str,
        body: BaseModel | Mapping[str, Any] | None = None,
        *,
        key: str = "",
        **query: Any,
    ) -> Shape:
        """Something made or started; sent again after a lost answer with the same key, so it is done once.

        ``key`` is the caller's own. Where one is made here, the error of an answer that stayed lost names it.
        """
        headers = {KEY: key} if key else {}
        return shape.model_validate_json(self.answer("POST", path, query=query, body=body, headers=headers).content)

    def change(
        self, method: str, shape: type[Shape], path: str, body: BaseModel, *, if_match: str = "", **query: Any
    ) -> Shape:
        """A thing as it is after it was changed. ChangedMeanwhile: its ETag is another one by now."""
        headers = {"If-Match": if_match} if if_match else {}
        return shape.model_validate_json(self.answer(method, path, query=query, body=body, headers=headers).content)

    def tag(self, path: str) -> str:
        """The ETag of a thing as it is now."""
        return str(self.answer("GET", path).headers.get("etag", ""))

    def answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: BaseModel | Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """The answer to a request, or the error that it tells of."""
        sent = dict(headers or {})
        if body is not None:
            content = _written(body)
            sent["Content-Type"] = "application/json"
        # Announcing an upload by tus may be repeated as it is.
        if method == "POST" and "Tus-Resumable" not in sent:
            sent.setdefault(KEY, uuid4().hex)
        asked = {name: _word(value) for name, value in (query or {}).items() if value not in (None, "")}
        safe = method in ("GET", "HEAD") or KEY in sent
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
            if answer.status_code == 409 and STILL_DOING in answer.text and time.monotonic() < until:
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


def _written(body: BaseModel | Mapping[str, Any]) -> bytes:
    if isinstance(body, BaseModel):
        return body.model_dump_json(exclude_unset=True).encode()
    return json.dumps(body).encode()


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
