"""The pictures themselves: images, photos and samples, whole and as thumbnails, for whom they belong to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, Response

from limner.records import StoredPicture
from limner.studio import Studio
from limner.web.files.responses import known
from limner.web.visit import StudioOf

__all__ = ["router"]

router = APIRouter()

YEAR = 31_536_000
SHORTEST_VERSION = 12
"""Digits of a digest that are enough to say which picture was meant."""
DRAWN_AT_ONCE = 2
"""Thumbnails being drawn at a time: more would only take the cores from the pages."""

Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Number = Annotated[int, Path(ge=0, le=2**63 - 1)]
Width = Annotated[int, Query(alias="w")]
Version = Annotated[str, Query(alias="v", max_length=64)]
Find = Callable[[], StoredPicture]


@router.get("/images/{image}/picture")
async def image_picture(
    request: Request, studio: StudioOf, image: Number, v: Version = "", download: bool = False
) -> Response:
    """An image as it was drawn, its provenance in it."""
    return await _whole(request, lambda: studio.gallery.picture(image), v, download)


@router.get("/images/{image}/thumb")
async def image_thumbnail(
    request: Request, studio: StudioOf, image: Number, w: Width = 320, v: Version = ""
) -> Response:
    """An image made small."""
    return await _small(request, studio, lambda: studio.gallery.picture(image), w, v)


@router.get("/subjects/{slug}/photos/{digest}/picture")
async def photo_picture(
    request: Request, studio: StudioOf, slug: str, digest: Digest, download: bool = False
) -> Response:
    """A photo as it is stored."""
    return await _whole(request, lambda: studio.gallery.photo_picture(slug, digest), digest, download)


@router.get("/subjects/{slug}/photos/{digest}/thumb")
async def photo_thumbnail(request: Request, studio: StudioOf, slug: str, digest: Digest, w: Width = 320) -> Response:
    """A photo made small."""
    return await _small(request, studio, lambda: studio.gallery.photo_picture(slug, digest), w, digest)


@router.get("/samples/{training}/{step}/{position}")
async def sample(
    request: Request,
    studio: StudioOf,
    training: str,
    step: Number,
    position: Number,
    w: Annotated[int | None, Query(alias="w")] = None,
    v: Version = "",
) -> Response:
    """A picture drawn while training: whole, or ``w`` pixels wide."""

    def find() -> StoredPicture:
        return studio.gallery.sample_picture(training, step, position)

    return await _whole(request, find, v) if w is None else await _small(request, studio, find, w, v)


async def _whole(request: Request, find: Find, version: str, download: bool = False) -> Response:
    picture = await anyio.to_thread.run_sync(find)
    tag = f'"{picture.digest}"'
    headers = _headers(picture, version, tag)
    # What a browser would not show as a picture is never opened in the page's own name.
    how = "attachment" if download or not picture.shown else "inline"
    headers["Content-Disposition"] = f'{how}; filename="{picture.name}"'
    if known(request, tag):
        return Response(status_code=304, headers=headers)
    kind = picture.media_type if picture.shown else "application/octet-stream"
    return FileResponse(picture.path, headers=headers, media_type=kind)


async def _small(request: Request, studio: Studio, find: Find, width: int, version: str) -> Response:
    def look() -> tuple[StoredPicture, bytes | None]:
        picture = find()
        path = studio.gallery.drawn_thumbnail(picture, width)
        return picture, path.read_bytes() if path else None

    picture, data = await anyio.to_thread.run_sync(look)
    tag = f'"{picture.digest}-{width}"'
    headers = _headers(picture, version, tag)
    if known(request, tag):
        return Response(status_code=304, headers=headers)
    if data is None:
        # Waiting here holds no thread, and who scrolled on meanwhile is not drawn for.
        async with _drawing(request):
            if await request.is_disconnected():
                return Response(status_code=499)
            data = await anyio.to_thread.run_sync(lambda: studio.gallery.thumbnail(picture, width).read_bytes())
    return Response(data, headers=headers, media_type="image/webp")


def _headers(picture: StoredPicture, version: str, tag: str) -> dict[str, str]:
    exact = len(version) >= SHORTEST_VERSION and picture.digest.startswith(version)
    return {
        "Cache-Control": f"private, max-age={YEAR}, immutable" if exact else "private, no-cache",
        "ETag": tag,
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def _drawing(request: Request) -> CapacityLimiter:
    limiter: CapacityLimiter | None = getattr(request.app.state, "drawing", None)
    if limiter is None:
        limiter = request.app.state.drawing = CapacityLimiter(DRAWN_AT_ONCE)
    return limiter
