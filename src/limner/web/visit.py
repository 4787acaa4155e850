"""What every route is given: who visits, the studio of what is theirs, and the way to answer with a page."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from limner.studio import Studio
from limner.web.access.identity import Visitor, visitor_of

__all__ = ["NOTICE_COOKIE", "Notice", "StudioOf", "Visit", "back", "is_partial", "page"]

NOTICE_COOKIE = "limner_notice"
MOST_NOTICE = 2_000


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


async def _studio(request: Request, visit: Visit) -> Studio:
    studio: Studio = request.app.state.studio
    return studio if visit.owner is None else studio.owned_by(visit.owner)


StudioOf = Annotated[Studio, Depends(_studio)]
"""The studio as the visitor may see it."""


def is_partial(request: Request) -> bool:
    """Whether htmx asks for a part of a page; a boosted or restored whole page is none."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Request-Type") != "full"


def page(request: Request, visit: Visitor, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Render a template with what every page needs: visitor, CSRF token, the notice left by the last request."""
    notice = _taken_notice(request)
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
