"""What every route is given: who visits, the studio of what is theirs, and the way to answer with a page."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from limner.studio import Studio
from limner.web.access.identity import Visitor, visitor_of

__all__ = [
    "NOTICE_COOKIE",
    "Notice",
    "Sent",
    "StudioOf",
    "Visit",
    "back",
    "is_from_elsewhere",
    "is_partial",
    "page",
    "studio_of",
    "wish_of",
]

NOTICE_COOKIE = "limner_notice"
MOST_NOTICE = 2_000
NO_WISH = ("csrf_token", "wish", "following")
"""Fields that say nothing of what is wished for."""
LEAST_ID = 8


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence for the top of the next page: ``note``, ``warning`` or ``refusal``, and what to do."""

    kind: Literal["note", "warning", "refusal"]
    message: str
    remedy: str = ""
    link: str = field(default="")


async def _visitor(request: Request) -> Visitor:
    # Asynchronous, as what follows: a plain function would cost every request the way to a thread and back.
    return visitor_of(request)


Visit = Annotated[Visitor, Depends(_visitor)]
"""Who visits; a route that takes it is closed to whom ``access`` does not let in."""


def studio_of(request: Request) -> Studio:
    """The studio as the visitor of a request may see it."""
    studio: Studio = request.app.state.studio
    owner = visitor_of(request).owner
    return studio if owner is None else studio.owned_by(owner)


async def _studio(request: Request) -> Studio:
    return studio_of(request)


StudioOf = Annotated[Studio, Depends(_studio)]
"""The studio as the visitor may see it."""


async def _sent(request: Request) -> FormData:
    return await request.form()


Sent = Annotated[FormData, Depends(_sent)]
"""The form that was sent."""


def is_partial(request: Request) -> bool:
    """Whether htmx asks for a part of a page; a boosted or restored whole page is none."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Request-Type") != "full"


def is_from_elsewhere(request: Request) -> bool:
    """Whether the browser says that another site's page sent it here: nothing may be fetched for such a one."""
    return request.headers.get("sec-fetch-site", "") in ("cross-site", "same-site")


def page(
    request: Request, template: str, *, status: int = 200, visitor: Visitor | None = None, **context: Any
) -> HTMLResponse:
    """Render a template with what every page needs: visitor, CSRF token, the notice left by the last request.

    ``visitor`` is that of the request if left out.
    """
    notice = _taken_notice(request)
    visit = visitor or visitor_of(request)
    html = request.app.state.templates.get_template(template).render(
        request=request,
        path=request.url.path,
        visitor=visit,
        csrf_token=visit.csrf,
        notice=context.pop("notice", None) or notice,
        **context,
    )
    answer = HTMLResponse(html, status)
    answer.headers["Cache-Control"] = "no-store" if visit.user else "no-cache"
    if notice is not None:
        answer.delete_cookie(NOTICE_COOKIE, path="/", httponly=True, samesite="lax")
    return answer


def back(to: str, notice: Notice | None = None) -> Response:
    """After a POST: see ``to``, a path of ours, with a notice at its top."""
    if not to.startswith("/") or to.startswith("//") or "\\" in to:
        to = "/"
    answer = RedirectResponse(to, 303)
    if notice is not None:
        words = json.dumps([notice.kind, notice.message[:MOST_NOTICE], notice.remedy[:MOST_NOTICE], notice.link])
        kept = base64.urlsafe_b64encode(words.encode()).decode()
        answer.set_cookie(NOTICE_COOKIE, kept, max_age=60, path="/", httponly=True, samesite="lax")
    return answer


def wish_of(sent: FormData) -> str:
    """The wish that a form is: its id with a digest of all else in it, for ``Studio.once``.

    Sent twice it is the same wish. Gone back to, changed and sent again it is another, though a browser that restores
    a page sends the id that was used. A form without an id is a wish of its own.
    """
    name = str(sent.get("wish") or uuid4().hex)
    if len(name) < LEAST_ID:
        return name  # no id, which a digest behind it must not hide
    fields = [(key, value) for key, value in sent.multi_items() if key not in NO_WISH and isinstance(value, str)]
    return f"{name}-{hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]}"


def _taken_notice(request: Request) -> Notice | None:
    kept = request.cookies.get(NOTICE_COOKIE, "")
    if not kept:
        return None
    try:
        kind, message, remedy, link = map(str, json.loads(base64.urlsafe_b64decode(kept)))
    except (ValueError, binascii.Error, TypeError):
        return None
    if kind not in ("note", "warning", "refusal") or (link and not link.startswith("/")):
        return None
    return Notice(kind, message, remedy, link)  # type: ignore[arg-type]
