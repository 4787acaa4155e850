"""Pictures as answers, by their digest; and how files are described."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import Response

from limner.records import StoredPicture
from limner.studio import Studio
from limner.web.files.responses import SentFile, known

__all__ = ["BYTES", "CARD", "JPEG", "PICTURE", "PNG", "WEBP", "ZIP", "picture_file", "thumbnail_file"]


def _file(what: str, *types: str) -> dict[int | str, dict[str, Any]]:
    content = {one: {"schema": {"type": "string", "format": "binary"}} for one in types}
    return {200: {"description": what, "content": content}}


PICTURE = _file("The picture", "image/png", "image/jpeg", "image/webp", "application/octet-stream")
WEBP = _file("The picture made small", "image/webp")
JPEG = _file("The picture", "image/jpeg")
PNG = _file("The picture", "image/png")
ZIP = _file("The zip", "application/zip")
BYTES = _file("The file", "application/octet-stream")
CARD = _file("The card", "text/markdown; charset=utf-8")


def picture_file(request: Request, picture: StoredPicture) -> Response:
    """A picture as it is stored; what is no picture of a known kind comes as bytes."""
    tag = f'"{picture.digest}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if known(request, tag):
        return Response(status_code=304, headers=headers)
    kind = picture.media_type if picture.shown else "application/octet-stream"
    return SentFile(picture.path, headers=headers, media_type=kind, filename=picture.name)


def thumbnail_file(request: Request, studio: Studio, picture: StoredPicture, width: int) -> Response:
    """A picture made small, as WebP."""
    tag = f'"{picture.digest}-{width}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if known(request, tag):
        return Response(status_code=304, headers=headers)
    return SentFile(studio.gallery.thumbnail(picture, width), headers=headers, media_type="image/webp")
