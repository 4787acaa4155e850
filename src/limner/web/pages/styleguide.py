"""The living style page: every macro in each of its states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from limner.web.visit import Visit, back, page

__all__ = ["router"]

router = APIRouter()


@router.get("/styleguide")
def styleguide(request: Request) -> HTMLResponse:
    """Every part that the pages are made of."""
    return page(request, "pages/styleguide.html", now=datetime.now(UTC) - timedelta(minutes=3))


@router.post("/styleguide")
def taken(_visit: Visit) -> Response:
    """Where the forms of the style page go: nowhere."""
    return back("/styleguide")
