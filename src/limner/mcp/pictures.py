"""Pictures for an assistant to look at: small copies, each with a line that says what it is."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from mcp_types import ImageContent, TextContent

from limner.errors import LimnerError
from limner.studio import Studio

__all__ = ["shown"]

WIDTH = 640
MOST = 20


def shown(studio: Studio, images: Sequence[int]) -> list[TextContent | ImageContent]:
    """A line and a small copy of each image, 20 at most."""
    if not images:
        return [TextContent(type="text", text="There are no pictures.")]
    content: list[TextContent | ImageContent] = []
    for number in images[:MOST]:
        image = studio.generations.image(number)
        words = f"Image {image.id}: {image.width} x {image.height}, seed {image.seed}, by {image.generator or 'local'}."
        content.append(TextContent(type="text", text=f"{words} Prompt: {image.prompt} File: {image.path}"))
        try:
            small = studio.gallery.thumbnail(studio.gallery.picture(number), WIDTH).read_bytes()
        except LimnerError as failure:
            content.append(TextContent(type="text", text=failure.message))
            continue
        content.append(ImageContent(type="image", data=base64.b64encode(small).decode(), mime_type="image/webp"))
    if len(images) > MOST:
        content.append(TextContent(type="text", text=f"{len(images) - MOST} more are not shown."))
    return content
