"""How the guard says no: a problem for programs, a page or a way to the login for people, who lose nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from limner.errors import LimnerError, LoginNeeded
from limner.web.access.identity import Visitor
from limner.web.access.origins import SAFE_METHODS
from limner.web.access.paths import is_api

__all__ = ["MOST_KEPT", "form_again", "local_path", "login_page", "refusal", "to_login"]

MOST_KEPT = 100_000
"""Characters of a form that the login page carries along."""
NOT_KEPT = ("password", "token", "secret")
"""Parts of the names of fields that are typed again."""

Fields = Sequence[tuple[str, str]]


def refusal(request: Request, failure: LimnerError, *, status: int | None = None) -> Response:
    """The answer to a request that is refused, in the form that who asked can read."""
    from limner.web.problems import answer

    response = answer(request, failure, status=status)
    if isinstance(failure, LoginNeeded) and is_api(request.url.path):
        response.headers["WWW-Authenticate"] = 'Bearer realm="limner"'
    return response


def local_path(address: str) -> str:
    """The path and query of an address, fit to go to; "/" for what is none of ours."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if plain and not path.startswith("/login") else "/"


def to_login(request: Request, fields: Fields | None) -> Response:
    """The way to the login for who has none any more; ``fields`` are those of the form that was sent, if it was one."""
    from limner.web.visit import is_partial

    if is_api(request.url.path):
        return refusal(
            request,
            LoginNeeded("Nobody is logged in.", remedy="Log in, or send a token: Authorization: Bearer lim_…"),
        )
    if is_partial(request):
        # The page is left; what was typed in it is kept by its script.
        place = local_path(request.headers.get("hx-current-url", ""))
        return Response(status_code=401, headers={"HX-Redirect": f"/login?next={quote(place)}"})
    if request.method in SAFE_METHODS:
        place = local_path(str(request.url))
        return RedirectResponse("/login" if place == "/" else f"/login?next={quote(place)}", 303)
    place = local_path(request.headers.get("referer", ""))
    return login_page(request, status=401, next_page=place, ended=True, kept=kept_words(fields), to=request)


def kept_words(fields: Fields | None) -> str:
    """The fields of a form as the login page carries them, without what is typed again; "" if they are too many."""
    if not fields:
        return ""
    words = json.dumps([pair for pair in fields if _is_kept(pair[0])], ensure_ascii=False)
    return words if len(words) <= MOST_KEPT else ""


def _is_kept(name: str) -> bool:
    return not any(part in name.lower() for part in NOT_KEPT)


def login_page(
    request: Request,
    *,
    status: int = 200,
    next_page: str = "/",
    ended: bool = False,
    kept: str = "",
    kept_to: str = "",
    to: Request | None = None,
    name: str = "",
    failure: LimnerError | None = None,
) -> Response:
    """The login, with what has to survive it."""
    from limner.web.visit import page

    return page(
        request,
        "pages/login.html",
        status=status,
        next_page=next_page,
        ended=ended,
        kept=kept,
        kept_to=kept_to or (local_path(to.url.path) if to is not None and kept else ""),
        name=name,
        failure=failure,
    )


def form_again(request: Request, visitor: Visitor, place: str, fields: Fields, *, status: int) -> Response:
    """The fields of a form whose session was another one, to be looked at and sent again."""
    from limner.web.visit import page

    shown = [pair for pair in fields if _is_kept(pair[0])]
    return page(
        request,
        "pages/again.html",
        visitor=visitor,
        status=status,
        place=place,
        fields=shown,
        missing=len(shown) < len([name for name, _ in fields if name != "csrf_token"]),
    )
