"""Two pictures over each other, and what differs in how they were made."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from limner.errors import InputRefused
from limner.humanize import spoken
from limner.records import Image, Wish
from limner.web.pages.create_link import create_link
from limner.web.visit import StudioOf, back, page

__all__ = ["router"]

router = APIRouter()


@router.get("/compare")
def compare(request: Request, studio: StudioOf) -> Response:
    """Two pictures, named by ``a`` and ``b``, or by two boxes ``pick`` that were ticked."""
    query = request.query_params
    named = query.getlist("pick") or [query[name] for name in ("a", "b") if name in query]
    if len(named) != 2 or not all(name.isascii() and name.isdecimal() and len(name) < 19 for name in named):
        count = "One picture" if len(named) == 1 else f"{len(named)} pictures" if len(named) != 2 else "This"
        raise InputRefused(f"{count} cannot be compared.", remedy="Go back and choose two pictures.", thing="pick")
    if "pick" in query:
        return back(f"/compare?{urlencode({'a': named[0], 'b': named[1]})}")
    pair = [studio.generations.image(int(name)) for name in named]
    told = [_told(image, studio.generations.request_of(image.id)) for image in pair]
    rows = [(title, told[0][title], told[1][title]) for title in told[0]]
    return page(
        request,
        "pages/compare_two.html",
        pair=pair,
        different=[row for row in rows if row[1] != row[2]],
        same=[(title, one) for title, one, other in rows if one == other],
        links=[create_link(image.id) for image in pair],
    )


def _told(image: Image, wish: Wish) -> dict[str, str]:
    """How a picture was made, in words."""
    return {
        "Prompt": image.prompt,
        "LoRAs": ", ".join(f"{one.name} at {one.scale:g}" for one in wish.loras) or "none",
        "Seed": str(image.seed),
        "Steps": str(wish.steps),
        "Guidance": f"{wish.guidance:g}",
        "Size": f"{image.width} × {image.height} px",
        "Base": wish.base,
        "Generator": image.generator or wish.generator,
        "Model": wish.model,
        "Time to draw": spoken(image.seconds),
    }
