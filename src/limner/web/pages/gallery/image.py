"""One picture: its page, the panel of the lightbox, and what is done with it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import Response

from limner.records import ImageDetail
from limner.web.pages.gallery.filter import FilterOf
from limner.web.visit import Notice, StudioOf, back, is_partial, page

__all__ = ["router"]

router = APIRouter()

Number = Annotated[int, Path(ge=0, le=2**63 - 1)]
Next = Annotated[str, Form(alias="next", max_length=2_000)]


def _links(found: ImageDetail, query: str) -> dict[str, Any]:
    def to(number: int | None) -> str:
        return "" if number is None else f"/images/{number}?{query}" if query else f"/images/{number}"

    version = found.digest[:12]
    return {
        "here": to(found.id),
        "newer": to(found.newer),
        "older": to(found.older),
        "gallery": f"/gallery?{query}" if query else "/gallery",
        "src": f"/images/{found.id}/picture?v={version}",
        "thumb": f"/images/{found.id}/thumb?w=1280&v={version}",
    }


@router.get("/images/{number}")
def image(request: Request, studio: StudioOf, asked: FilterOf, number: Number, file: bool = False) -> Response:
    """The page of one picture, with its neighbours under the filter that it was found by."""
    found = studio.gallery.detail(number, asked.wanted)
    said = studio.gallery.inspect(number) if file else None
    return page(
        request,
        "pages/image.html",
        found=found,
        image=found,
        links=_links(found, asked.query),
        query=asked.query,
        said=said,
    )


@router.get("/images/{number}/details")
def details(request: Request, studio: StudioOf, asked: FilterOf, number: Number) -> Response:
    """How a picture was made and what can be done with it, for the lightbox."""
    found = studio.gallery.detail(number, asked.wanted)
    links = _links(found, asked.query)
    return page(
        request,
        "fragments/image_details.html",
        found=found,
        image=found,
        links=links,
        query=asked.query,
        said=None,
        in_lightbox=True,
    )


@router.get("/images/{number}/file")
def file_says(request: Request, studio: StudioOf, number: Number) -> Response:
    """What the file says of itself, and whether that holds."""
    if not is_partial(request):
        return back(f"/images/{number}?file=1")
    return page(request, "fragments/image_file.html", said=studio.gallery.inspect(number))


@router.get("/images/{number}/share")
def share(studio: StudioOf, number: Number) -> Response:
    """A copy to give away: the pixels and the mark that AI made them."""
    headers = {
        "Content-Disposition": f'attachment; filename="picture-{number}.png"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(studio.gallery.share_copy(number), headers=headers, media_type="image/png")


@router.post("/images/{number}/favourite")
def favourite(
    request: Request,
    studio: StudioOf,
    number: Number,
    favourite: Annotated[bool, Form()] = True,
    to: Next = "",
) -> Response:
    """Mark a picture as a favourite, or no longer."""
    studio.gallery.set_favourite([number], favourite)
    if is_partial(request):
        return Response(status_code=204)
    return back(to or f"/images/{number}")


@router.get("/images/{number}/delete")
def ask_delete(request: Request, studio: StudioOf, asked: FilterOf, number: Number) -> Response:
    """Ask before a picture is erased, where no script can."""
    studio.gallery.picture(number)
    return page(request, "pages/gallery_delete.html", numbers=[number], here=f"/images/{number}", query=asked.query)


@router.post("/images/{number}/delete")
def delete(request: Request, studio: StudioOf, number: Number, to: Next = "/gallery") -> Response:
    """Erase a picture."""
    studio.gallery.delete([number])
    if is_partial(request):
        return Response(status_code=204)
    return back(to, Notice("note", f"Picture {number} is erased."))
