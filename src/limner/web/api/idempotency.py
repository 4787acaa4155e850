"""The header Idempotency-Key: the same request sent again is answered as the first one was, and done once.

Answers are kept for a week, by owner; of refusals nothing is kept. What makes a job is tied to its wish as well, in the
transaction that adds the job: so even a server that died between the two makes no second one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from limner.errors import Conflict, InputRefused
from limner.records import Job, KeptAnswer
from limner.studio import Studio
from limner.web.problems import PROBLEM, problem
from limner.web.visit import studio_of

__all__ = ["Once", "answer_once"]

HEADER = "idempotency-key"
LONGEST = 255
SHOWN_ONCE = frozenset({"create_token", "create_webhook"})
"""Operations whose answer holds a secret: it is not kept."""
KEPT_HEADERS = ("content-type", "location", "etag", "link", "tus-resumable", "upload-offset", "upload-expires")
MOST_KEPT = 4_000_000


def _key(request: Request) -> str:
    key = request.headers.get(HEADER, "")
    if len(key) > LONGEST or not (key.isascii() and key.isprintable()):
        raise InputRefused(
            "The Idempotency-Key cannot be used.",
            remedy=f"Send up to {LONGEST} printable ASCII characters, such as a UUID.",
            thing="Idempotency-Key",
        )
    return key.strip()


class _Starting:
    """Starts a job at most once for the request's key."""

    def __init__(self, request: Request) -> None:
        key = _key(request)
        mark = f"{request.url.path} {key}"
        self.wish = f"key-{hashlib.sha256(mark.encode()).hexdigest()[:40]}" if key else ""

    def __call__(self, studio: Studio, make: Callable[[], Job]) -> Job:
        return studio.jobs.once(self.wish, make) if self.wish else make()


Once = Annotated[_Starting, Depends(_Starting)]
"""What a route starts its job with."""


async def answer_once(
    request: Request, operation: str, body: bytes, do: Callable[[], Coroutine[Any, Any, Response]]
) -> Response:
    """Answer a POST; one with a key as before, if it was done before."""
    key = _key(request)
    # A look costs nothing and keeps nothing: the same key is for the wish itself.
    if not key or request.query_params.get("what_if", "").lower() in ("true", "1", "on", "yes"):
        return await do()
    answers = studio_of(request).answers
    query = "&".join(sorted(request.url.query.split("&"))).encode()
    route = f"{request.method} {request.url.path}"
    # In tus a request says by its headers what it is about.
    said = sorted(f"{name}: {value}".encode() for name, value in request.headers.items() if name.startswith("upload-"))
    kept = await run_in_threadpool(answers.begin, key, route, (query, body, *said))
    if kept is not None:
        return Response(kept.body, kept.status, headers={**kept.headers, "Idempotent-Replayed": "true"})
    try:
        response = await do()
        done = response.status_code < 400
        content = getattr(response, "body", None)
        if done and isinstance(content, bytes) and len(content) <= MOST_KEPT:
            headers = {name: value for name, value in response.headers.items() if name in KEPT_HEADERS}
            given = KeptAnswer(response.status_code, headers, bytes(content))
            if operation in SHOWN_ONCE:
                given = _without_secret(request)
            await run_in_threadpool(answers.keep, key, given)
        else:
            await run_in_threadpool(answers.forget, key)
    except BaseException:
        await run_in_threadpool(answers.forget, key)
        raise
    return response


def _without_secret(request: Request) -> KeptAnswer:
    told = Conflict(
        "This was made already, and its secret words are shown once.",
        remedy="Revoke it if they were lost, and make another with a new key.",
        thing=request.url.path,
    )
    return KeptAnswer(told.status, {"content-type": PROBLEM}, bytes(problem(told).body))
