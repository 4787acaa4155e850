"""Errors as answers: problem+json (RFC 9457) for the API, a page or a notice for people."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from limner.errors import InputRefused, LimnerError, NotFound
from limner.web.access.identity import Visitor
from limner.web.visit import is_partial, page

__all__ = ["PROBLEM", "answer", "answer_errors", "problem", "without_home"]

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"


class _NotDoneHere(LimnerError):
    """There is something at this address, but not for this method."""

    status = 405
    code = "method-not-allowed"


def problem(failure: LimnerError, **more: Any) -> JSONResponse:
    """An error as RFC 9457 says: type, title, status, detail, and our remedy and thing."""
    return JSONResponse({**failure.as_problem(), **more}, failure.status, media_type=PROBLEM)


def answer_errors(app: FastAPI) -> None:
    """Answer every error in the form that who asked can read."""

    async def limner_error(request: Request, failure: Exception) -> Response:
        assert isinstance(failure, LimnerError)  # noqa: S101
        return answer(request, failure)

    async def misuse(request: Request, failure: Exception) -> Response:
        assert isinstance(failure, RequestValidationError)  # noqa: S101
        wrong = [
            {"at": ".".join(str(part) for part in error["loc"]), "message": error["msg"]} for error in failure.errors()
        ]
        words = "; ".join(f"{one['at']}: {one['message']}" for one in wrong[:5])
        refused = InputRefused(f"The request cannot be used: {words}.", remedy="Correct what is named, then try again.")
        return answer(request, refused, errors=wrong)

    async def http_error(request: Request, failure: Exception) -> Response:
        assert isinstance(failure, HTTPException)  # noqa: S101
        made = answer(request, _of_status(request, failure), status=failure.status_code)
        made.headers.update(failure.headers or {})
        if failure.status_code == 405 and (allowed := _allowed(request)):
            made.headers["Allow"] = allowed
        return made

    async def unexpected(request: Request, failure: Exception) -> Response:
        from limner.vendors.secrets.redaction import redacted_traceback

        log.error("%s %s failed: %s", request.method, request.url.path, redacted_traceback(failure))
        ours = LimnerError("A mistake in Limner stopped this.", remedy="The server's log has the details.")
        return answer(request, ours)

    app.add_exception_handler(LimnerError, limner_error)
    app.add_exception_handler(RequestValidationError, misuse)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, unexpected)


def _allowed(request: Request) -> str:
    """What can be done at an address of the API: several routes may lie there, and each knows only itself."""
    here = request.url.path.split("/")
    fitting = [
        (path.count("{"), at)
        for path, at in request.app.openapi()["paths"].items()
        if len(parts := path.split("/")) == len(here)
        and all(one == part or part.startswith("{") for one, part in zip(here, parts, strict=True))
    ]
    if not fitting:
        return ""
    return ", ".join(sorted(method.upper() for method in min(fitting, key=lambda one: one[0])[1]))


def _of_status(request: Request, failure: HTTPException) -> LimnerError:
    if failure.status_code == 404:
        return NotFound(f"There is nothing at {request.url.path[:200]}.", remedy="Go back, or start at the first page.")
    if failure.status_code == 405:
        return _NotDoneHere(
            f"{request.method[:20]} cannot be done at {request.url.path[:200]}.", remedy="See what can be: /api."
        )
    return InputRefused(str(failure.detail), remedy="Correct the request, then try again.")


def without_home(request: Request, body: bytes) -> bytes:
    """What the API says, with ``HOME`` for the home folder: where that lies is nobody's business."""
    return body.replace(str(request.app.state.settings.home).encode(), b"HOME")


def answer(request: Request, failure: LimnerError, status: int | None = None, **more: Any) -> Response:
    """An error as who asked can read it: a problem, a page, or a notice within one."""
    status = status or failure.status
    if request.url.path.startswith(("/api/", "/uploads")):
        told = JSONResponse({**failure.as_problem(), "status": status, **more}, status, media_type=PROBLEM)
        return Response(without_home(request, bytes(told.body)), status, media_type=PROBLEM)
    visitor = getattr(request.state, "visitor", None) or Visitor()
    if not is_partial(request):
        return page(request, "pages/error.html", visitor=visitor, status=status, failure=failure, status_code=status)
    answer = page(
        request, "fragments/refused.html", visitor=visitor, status=status, failure=failure, status_code=status
    )
    # What was asked for stays as it is; the refusal goes where notices are.
    answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = "#notices", "innerHTML"
    return answer
