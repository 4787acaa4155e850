"""The gallery: all pictures, by windows of a long list, found by filters, and what is done with many at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from markupsafe import Markup

from limner.errors import InputRefused
from limner.records import GalleryFilter, MonthCount
from limner.studio import Studio
from limner.web.access.identity import visitor_of
from limner.web.pages.gallery import compare, image
from limner.web.pages.gallery.filter import Asked, FilterOf, query_of
from limner.web.visit import Notice, StudioOf, back, page

__all__ = ["router"]

router = APIRouter()
router.include_router(image.router)
router.include_router(compare.router)

PAGE = 60
"""Pictures a page and a window: two screens of a large display."""
KEPT = 64
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip

Newest = Annotated[int | None, Query(ge=0, lt=2**63)]
Images = Annotated[str, Form(max_length=2_000_000, pattern=r"^[0-9,]*$")]


_kept: OrderedDict[Hashable, Markup] = OrderedDict()
_guard = threading.Lock()


def _body(request: Request, studio: Studio, asked: Asked, cursor: str) -> Markup:
    """What the page shows, drawn: the same for all who may see the same, so it is drawn once for them."""
    gallery = studio.gallery
    # Looking whether anything changed costs a tenth of looking at everything.
    typed = () if not asked.errors else tuple(sorted(asked.typed.items()))
    key = (
        str(studio.settings.home),
        visitor_of(request).owner,
        asked.query,
        str(asked.wanted.zone),
        typed,
        cursor,
        gallery.version(),
    )
    with _guard:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    found = gallery.page(asked.wanted, cursor=cursor, limit=PAGE)
    first = gallery.position(found.images[0].id, asked.wanted) if cursor and found.images else 0
    newest = gallery.window(asked.wanted, offset=0, limit=1) if cursor else found.images[:1]
    made = _draw(
        request,
        "fragments/gallery_body.html",
        asked=asked,
        total=found.total,
        choices=gallery.choices() if found.total or asked.query else None,
        tiles=_tiles(request, found.images, asked.query, first),
        rail=_rail(request, gallery.months(asked.wanted), asked.wanted),
        first=first,
        newest=newest[0].id if newest else 0,
        newer=f"/gallery?{query_of(asked.wanted, cursor=found.newer)}" if found.newer else "",
        older=f"/gallery?{query_of(asked.wanted, cursor=found.older)}" if found.older else "",
        page_size=PAGE,
    )
    with _guard:
        _kept[key] = made
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return made


def _draw(request: Request, template: str, **context: Any) -> Markup:
    return Markup(request.app.state.templates.get_template(template).render(**context))  # noqa: S704


def _tiles(request: Request, images: Any, query: str, first: int) -> Markup:
    return _draw(request, "fragments/gallery_tiles.html", images=images, query=query, first=first)


def _rail(request: Request, months: tuple[MonthCount, ...], wanted: GalleryFilter) -> Markup:
    named = [
        (f"{MONTHS[int(month.month[5:7]) - 1]} {month.month[:4]}", month, query_of(wanted, cursor=month.cursor))
        for month in months
    ]
    return _draw(request, "fragments/gallery_months.html", months=named)


@router.get("/gallery")
def gallery(request: Request, studio: StudioOf, asked: FilterOf, cursor: str = "") -> Response:
    """The gallery's page: its first pictures, or those from a cursor on."""
    return page(request, "pages/gallery.html", body=_body(request, studio, asked, cursor[:100]))


@router.get("/gallery/window")
def window(
    request: Request,
    studio: StudioOf,
    asked: FilterOf,
    offset: Annotated[int, Query(ge=0, le=10**9)],
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
    newest: Newest = None,
) -> Response:
    """Some tiles of the long list, from a place in it on."""
    images = studio.gallery.window(asked.wanted, offset=offset, limit=limit, newest=newest)
    answer = HTMLResponse(_tiles(request, images, asked.query, offset))
    answer.headers["Cache-Control"] = "private, no-cache"
    return answer


@router.get("/gallery/place")
def place(
    studio: StudioOf, asked: FilterOf, image: Annotated[int, Query(ge=0, lt=2**63)], newest: Newest = None
) -> Response:
    """Where a picture stands in the long list."""
    return JSONResponse({"index": studio.gallery.position(image, asked.wanted, newest=newest)})


@router.get("/gallery/ids")
def ids(
    studio: StudioOf,
    asked: FilterOf,
    offset: Annotated[int, Query(ge=0, le=10**9)],
    limit: Annotated[int, Query(ge=1, le=10**9)],
    newest: Newest = None,
) -> Response:
    """The numbers of the pictures of the long list from a place in it on, so that a long range can be chosen."""
    numbers = [number for number in studio.gallery.ids(asked.wanted) if newest is None or number <= newest]
    return JSONResponse({"ids": numbers[offset : offset + limit]})


@router.post("/gallery/chosen")
def chosen(
    request: Request,
    studio: StudioOf,
    asked: FilterOf,
    do: Annotated[str, Form()],
    image: Annotated[list[int] | None, Form()] = None,
    images: Images = "",
    everything: Annotated[bool, Form(alias="all")] = False,
    newest: Annotated[int, Form(ge=0, lt=2**63)] = 2**63 - 1,
) -> Response:
    """What is done with the chosen pictures, or with all of the filter that were there when the page was made."""
    here = f"/gallery?{asked.query}" if asked.query else "/gallery"
    if everything:
        numbers = [number for number in studio.gallery.ids(asked.wanted) if number <= newest]
    else:
        numbers = list(dict.fromkeys([*(image or []), *(int(one[:19]) for one in images.split(",") if one)]))
    if not numbers:
        return back(here, Notice("warning", "No picture was chosen.", "Tick at least one, then try again."))
    if do == "compare":
        if len(numbers) != 2:
            return back(here, Notice("warning", "Two pictures can be compared, no more and no fewer.", "Choose two."))
        return back("/compare?a={}&b={}".format(*sorted(numbers)))
    if do in ("favourite", "unfavourite"):
        count = studio.gallery.set_favourite(numbers, do == "favourite")
        words = "marked as favourites" if do == "favourite" else "no longer favourites"
        return back(here, Notice("note", f"{_pictures(count)} {'is' if count == 1 else 'are'} {words}."))
    if do == "delete":
        return page(request, "pages/gallery_delete.html", numbers=numbers, here=here, query=asked.query)
    if do == "delete-surely":
        return back(here, Notice("note", f"{_pictures(studio.gallery.delete(numbers))} erased."))
    if do != "zip":
        raise InputRefused(f"'{do[:40]}' cannot be done with pictures.", remedy="Use the buttons of the gallery.")
    packed = studio.gallery.archive(numbers)
    headers = {
        # The size is known, so that the browser can say how much is left.
        "Content-Length": str(packed.byte_size),
        "Content-Disposition": f'attachment; filename="limner-pictures-{datetime.now(UTC):%Y-%m-%d}.zip"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(packed.chunks(), headers=headers, media_type="application/zip")


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"
