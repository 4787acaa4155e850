"""What every route of the API does beside its own work.

Bodies are read strictly; a JSON answer to GET has a strong ETag; If-Match is checked against the ETag of a GET of the
same address; a POST with an Idempotency-Key is done once.
"""

from __future__ import annotations

import asyncio
import hashlib
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import Message

from limner.errors import ChangedMeanwhile, InputRefused
from limner.web.api.bodies import read_strictly, refuse_unstorable
from limner.web.api.idempotency import answer_once
from limner.web.files.responses import known
from limner.web.problems import without_home

__all__ = ["ApiRoute", "is_match"]

MOST_TAGS = 500
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_changing: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()


class ApiRoute(APIRoute):
    """A route of the API."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()
        # The context in which the route is included is gone once a request comes.
        body_field, operation = self.body_field, self.operation_id or self.name

        async def handle(request: Request) -> Response:
            return _without_home(request, await answer(request))

        async def answer(request: Request) -> Response:
            _refuse_address(request)
            if request.method in ("GET", "HEAD"):
                return _tagged(request, await handler(request))
            body = await read_strictly(request) if body_field is not None else b""
            wanted = request.headers.get("if-match")
            if wanted is not None and request.method in ("PUT", "PATCH", "DELETE"):
                lock = _changing.setdefault(request.url.path, asyncio.Lock())
                async with lock:
                    await _refuse_changed(request, wanted)
                    return await handler(request)
            if request.method != "POST":
                return await handler(request)
            return await answer_once(request, operation, body, lambda: handler(request))

        return handle


def _without_home(request: Request, response: Response) -> Response:
    body = getattr(response, "body", None)
    if not isinstance(body, bytes) or "json" not in response.headers.get("content-type", ""):
        return response
    told = without_home(request, body)
    if told == body:
        return response
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Response(told, response.status_code, headers)


def _refuse_address(request: Request) -> None:
    """Refuse tags that were never ours, and text in path and query that no database can look up."""
    for name in ("if-match", "if-none-match"):
        tags = request.headers.get(name, "")
        if len(tags) > MOST_TAGS or not (tags.isascii() and tags.isprintable()):
            raise InputRefused("These ETags cannot be used.", remedy="Send those that you were given.", thing=name)
    for name, value in (*request.path_params.items(), *request.query_params.multi_items()):
        refuse_unstorable(value, str(name)[:80])
        refuse_unstorable(name, "query")


# --- ETags --------------------------------------------------------------------------------------------------------


def is_match(wanted: str, tag: str) -> bool:
    """Whether If-Match, which takes strong tags alone, names the tag."""
    return wanted.strip() == "*" or tag in {one.strip() for one in wanted.split(",")}


def _tagged(request: Request, response: Response) -> Response:
    """A JSON answer with the tag of its bytes; 304 if who asks has it."""
    body = getattr(response, "body", None)
    if response.status_code != 200 or not isinstance(body, bytes) or "etag" in response.headers:
        return response
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    response.headers["ETag"] = tag
    response.headers.setdefault("Cache-Control", "private, no-cache")
    if known(request, tag):
        kept = {name: value for name, value in response.headers.items() if name in ("etag", "cache-control", "link")}
        return Response(status_code=304, headers=kept)
    return response


async def _refuse_changed(request: Request, wanted: str) -> None:
    """ChangedMeanwhile: a GET of the same address now has another ETag, or finds nothing."""
    tag = await _tag_now(request)
    if tag is None or not is_match(wanted, tag):
        raise ChangedMeanwhile(
            "It was changed meanwhile, so nothing was done.",
            remedy="Look at it as it is now, then decide again; send its new ETag.",
            thing=request.url.path[:200],
        )


async def _tag_now(request: Request) -> str | None:
    scope = {**request.scope, "method": "GET", "query_string": b"", "state": {}}
    for name in ("path_params", "endpoint", "route", "router", "fastapi_inner_astack", "fastapi_function_astack"):
        scope.pop(name, None)
    dropped = (b"if-match", b"if-none-match", b"content-length", b"content-type", b"idempotency-key")
    scope["headers"] = [(name, value) for name, value in request.scope["headers"] if name not in dropped]
    found: dict[str, Any] = {}

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            found.update(status=message["status"], headers=dict(message.get("headers", ())))

    await request.app(scope, receive, send)
    tag = found["headers"].get(b"etag") if found.get("status") == 200 else None
    return tag.decode() if tag else None
