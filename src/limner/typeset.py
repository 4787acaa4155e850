"""The look of contact sheets, crop sheets and grids: colours, type sizes, text that fits its place, smooth shapes."""

from __future__ import annotations

from functools import cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont, ImageOps

__all__ = [
    "ACCENT",
    "BODY",
    "FAINT",
    "GREY",
    "HAIRLINE",
    "HEAD",
    "INK",
    "NOTE",
    "PALE",
    "PAPER",
    "SMALL",
    "SMOOTH",
    "TITLE",
    "blank",
    "cover",
    "elided",
    "line_height",
    "rounded",
    "text_width",
    "wrapped",
    "write",
]

# those of the app in light (web/static/css/tokens.css): page, text, quiet text, sunken, line, accent
PAPER = "#f7f7f7"
INK = "#1a1a1a"
GREY = "#5c5c5c"
FAINT = "#efefef"
HAIRLINE = "#e2e2e2"
ACCENT = "#17666d"
PALE = "#a9ced1"

# one scale, each size about 1.3 times the one below it
TITLE, HEAD, BODY, NOTE, SMALL = 52, 38, 23, 18, 16

SMOOTH = 3  # shapes are drawn this many times as large and made small again: Pillow's own have jagged edges


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def blank(width: int, height: int) -> Image.Image:
    """An empty piece of paper."""
    return Image.new("RGB", (width, height), PAPER)


def text_width(text: str, size: float) -> float:
    """How wide one line is, in pixels."""
    return float(_font(size).getlength(text))


def line_height(size: float) -> int:
    """From one line to the next, in pixels."""
    return round(size * 1.32)


def write(
    paper: Image.Image,
    at: tuple[float, float],
    text: str,
    size: float,
    colour: str = INK,
    anchor: Literal["ls", "ms", "rs"] = "ls",
) -> None:
    """Write one line; ``at`` is a point of its base line: the left end, the middle or the right end."""
    ImageDraw.Draw(paper).text(at, text, fill=colour, font=_font(size), anchor=anchor)


def elided(text: str, size: float, width: float) -> str:
    """The text as one line that fits, cut at a word with an ellipsis if it must be."""
    text = " ".join(text[: round(width)].split())  # more never fits: to measure it would only take long
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    head, space, _ = text.rpartition(" ")
    # a cut inside a word is better than to lose half of the line
    return (head if space and len(head) > len(text) * 0.6 else text).rstrip(" ,;:.-") + "…"


def wrapped(text: str, size: float, width: float, lines: int) -> list[str]:
    """The text in at most so many lines that fit; the last one is elided."""
    words = text[: round(width) * lines].split()
    found: list[str] = []
    while words and len(found) < lines - 1:
        line = words.pop(0)
        while words and text_width(f"{line} {words[0]}", size) <= width:
            line += " " + words.pop(0)
        found.append(elided(line, size, width))
    if words:
        found.append(elided(" ".join(words), size, width))
    return found


def cover(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture filling a rectangle, cropped around the middle, on white where it is transparent."""
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return ImageOps.fit(picture.convert("RGB"), (width, height), Image.Resampling.LANCZOS)


def rounded(paper: Image.Image, picture: Image.Image, at: tuple[int, int], radius: int = 12) -> None:
    """Put a picture on the paper with rounded corners and a hairline of an edge."""
    width, height = picture.size
    large = (width * SMOOTH, height * SMOOTH)
    mask = Image.new("L", large, 0)
    box = (0, 0, large[0] - 1, large[1] - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius * SMOOTH, fill=255)
    paper.paste(picture, at, mask.resize(picture.size, Image.Resampling.LANCZOS))
    edge = Image.new("L", large, 0)
    ImageDraw.Draw(edge).rounded_rectangle(box, radius * SMOOTH, outline=48, width=SMOOTH)
    paper.paste(Image.new("RGB", picture.size, INK), at, edge.resize(picture.size, Image.Resampling.LANCZOS))
