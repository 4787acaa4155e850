"""The guard before every route: nothing is done for a request that is not let in.

In this order: the host by which we are called, the page that asks, who asks and what they may, the token of the form,
and the size of the body: one as large as files are is for those who are let in, and where files are taken. It is plain
ASGI, because it is passed by every thumbnail.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.errors import AccessRefused, LimnerError, LoginNeeded, TooManyAtOnce
from limner.http_server.bodies import FORM_TYPE, LimitedBody, stalled, told_length, too_large
from limner.settings import Settings
from limner.studio import Studio
from limner.web.access.concurrency_limit import Crowding
from limner.web.access.doorkeeper import Caller, Doorkeeper
from limner.web.access.headers import HeaderedSend
from limner.web.access.identity import STRANGER, Visitor, refuse_without
from limner.web.access.origins import SAFE_METHODS, refuse_foreign_host, refuse_foreign_page
from limner.web.access.paths import is_api, is_open, scopes_needed, takes_files
from limner.web.access.refusing import Fields, form_again, local_path, login_page, refusal, to_login
from limner.web.access.rules import Rules
from limner.web.access.throttle import client_address

__all__ = ["guard"]

MISDIRECTED = 421


def guard(app: FastAPI, studio: Studio, rules: Rules) -> None:
    """Put the guard before the app; its doorkeeper is ``app.state.doorkeeper``."""
    app.state.doorkeeper = Doorkeeper(studio, rules)
    app.add_middleware(_Guard, doorkeeper=app.state.doorkeeper, settings=studio.settings)


class _Guard:
    def __init__(self, app: ASGIApp, doorkeeper: Doorkeeper, settings: Settings) -> None:
        self._app = app
        self._door = doorkeeper
        self._rules = doorkeeper.rules
        self._crowding = Crowding(settings.max_connections_per_address)
        self._most = settings.max_request_bytes
        self._most_of_files = settings.max_upload_bytes + self._most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        body = LimitedBody(receive, self._most)
        private = self._door.login and not _static(scope)
        answer = HeaderedSend(send, secure=self._rules.secure, private=private, last=lambda: body.stalled)
        scope.setdefault("state", {})["visitor"] = STRANGER if self._door.login else Visitor()
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        most = self._most_of_files if takes_files(scope["method"], scope["path"], kind) else self._most
        address = client_address(Request(scope), self._rules)
        try:
            with self._crowding.one_more(address):
                await self._answered(scope, headers, kind, most, body, answer)
        except TooManyAtOnce as failure:
            response = self._no(scope, body, failure)
            response.headers["Retry-After"] = "5"
            await response(scope, body, answer)

    async def _answered(
        self, scope: Scope, headers: Headers, kind: str, most: int, body: LimitedBody, answer: HeaderedSend
    ) -> None:
        try:
            refused = await self._refused(scope, headers, kind, most, body, answer)
        except LimnerError as failure:
            refused = self._no(scope, body, failure)
        except ClientDisconnect:
            return
        except Exception as failure:
            refused = await unexpected(Request(scope, body), failure)
        if refused is not None:
            await refused(scope, body, answer)
            return
        body.most = most
        await self._let_in(scope, body, answer)

    async def _refused(
        self, scope: Scope, headers: Headers, kind: str, most: int, body: LimitedBody, answer: HeaderedSend
    ) -> Response | None:
        """The answer to a request that is not let in; None: it is, and the state has its visitor."""
        method, path = scope["method"], scope["path"]
        api = is_api(path)
        refuse_foreign_host(headers, self._rules)
        bearer = headers.get("authorization", "").lower().startswith("bearer ")
        if not bearer:
            refuse_foreign_page(method, headers, scope["scheme"], api=api)
        _refuse_long(headers, most)
        if _static(scope):
            return None
        caller = await self._door.caller(headers, page=not api)
        answer.cookies.extend(caller.cookies)
        scope["state"]["visitor"] = caller.visitor
        fields: Fields | None = None
        if method not in SAFE_METHODS and kind == FORM_TYPE:
            fields = await body.form()
        if self._is_stranger(caller, path):
            return to_login(Request(scope, body), caller.visitor, fields)
        for needed in scopes_needed(method, path):
            refuse_without(caller.visitor, needed)
        if caller.bearer and not api and method not in SAFE_METHODS:
            # The forms of pages do not ask for the scope to spend: who sends them is a person, who may.
            raise AccessRefused("Tokens are for the API.", remedy="Send this to /api/v1.", thing="token")
        if method in SAFE_METHODS or caller.bearer or (api and not self._door.login):
            return None
        return self._forged(Request(scope, body), caller.visitor, fields, api=api)

    def _is_stranger(self, caller: Caller, path: str) -> bool:
        return self._door.login and not caller.bearer and not caller.visitor.user and not is_open(path)

    def _forged(self, request: Request, visitor: Visitor, fields: Fields | None, *, api: bool) -> Response | None:
        """The answer to a request without the token of a form of ours; None: it has it."""
        given = request.headers.get("x-csrf-token") or request.query_params.get("csrf_token")
        if given is None and fields is not None:
            given = next((value for name, value in fields if name == "csrf_token"), None)
        if given is not None and self._door.is_form_token(given, visitor):
            return None
        if request.url.path == "/login":
            named = dict(fields or ())
            failure = AccessRefused("This page was open for too long, or your browser keeps no cookies.")
            place, name = local_path(named.get("next", "")), named.get("name", "")
            return login_page(request, visitor, status=403, next_page=place, name=name, failure=failure)
        if fields and not api and request.headers.get("hx-request") != "true":
            return form_again(request, visitor, local_path(request.url.path), fields, status=403)
        raise AccessRefused(
            "This did not come from a form of ours, or from one of an earlier session. Nothing was done.",
            remedy="Reload the page, then try again." if not api else "Send the token of the page as X-CSRF-Token.",
            thing="csrf_token",
        )

    def _no(self, scope: Scope, body: LimitedBody, failure: LimnerError) -> Response:
        status = None
        if failure.thing == "host":
            status = MISDIRECTED if isinstance(failure, AccessRefused) else 400
        response = refusal(Request(scope, body), failure, status=status)
        if isinstance(failure, LoginNeeded) and failure.thing == "token":
            response.headers["WWW-Authenticate"] = 'Bearer realm="limner", error="invalid_token"'
        return response

    async def _let_in(self, scope: Scope, body: LimitedBody, answer: HeaderedSend) -> None:
        async def send(message: Message) -> None:
            # What the app makes of a body that broke off would not say that it was too large.
            if not body.too_large or answer.started:
                await answer(message)

        try:
            await self._app(scope, body, send)
        except ClientDisconnect:
            pass
        except Exception as failure:
            if answer.started:
                raise
            if not body.too_large:
                response = await unexpected(Request(scope, body), failure)
                await response(scope, body, answer)
                return
        if (body.too_large or body.stalled) and not answer.started:
            failed = too_large(body.most) if body.too_large else stalled()
            await refusal(Request(scope, body), failed)(scope, body, answer)


def _refuse_long(headers: Headers, most: int) -> None:
    if told_length(headers) > most:
        raise too_large(most)


async def unexpected(request: Request, failure: Exception) -> Response:
    """The app's own answer to a mistake of ours: given here, so that it too has all headers."""
    handler = request.app.exception_handlers[Exception]
    response: Response = await handler(request, failure)
    return response


def _static(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.startswith("/static/")
