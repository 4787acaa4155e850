"""The first page: the subjects, and what runs now."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from limner.web.pages.jobs import running
from limner.web.visit import Notice, StudioOf, back, page

__all__ = ["router"]

router = APIRouter()


@router.get("/")
def home(request: Request, studio: StudioOf) -> Response:
    """The subjects as cards."""
    cards = studio.subjects.cards()
    return page(request, "pages/home.html", cards=cards, running=running(studio))


@router.post("/demo")
def demo(studio: StudioOf) -> Response:
    """Start the demo's subject; the same again shows the one that there is."""
    job = studio.runs.add_demo_subject()
    said = "The photos are being taken in. Then look them over and train." if not job.state.ended else ""
    return back(f"/subjects/{job.subject}", Notice("note", said) if said else None)
