"""The crop sheet: each photo of a dataset with its crop, bucket and caption, to be looked at before training."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from limner.datasets.render import open_photo
from limner.errors import NotFound, StorageFailed
from limner.types import DatasetItem, DatasetManifest

__all__ = ["crop_sheet"]

_PAPER, _CARD, _WELL, _LINE = "#f4f3f0", "#ffffff", "#ecebe7", "#dddbd5"
_INK, _QUIET, _ACCENT = "#23221f", "#75726b", "#c2410c"
_MARGIN, _GAP, _PAD, _CELL = 56, 24, 14, 340
_CAPTION_LINES = 3
_LINE_HEIGHT = 21
_CARD_HEIGHT = _PAD + _CELL + 40 + _CAPTION_LINES * _LINE_HEIGHT + _PAD
_MOST = 120

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def crop_sheet(manifest: DatasetManifest, photo_path: Callable[[str], Path], *, image_format: str = "PNG") -> bytes:
    """Draw the first 120 photos of a dataset; gives a PNG (or ``image_format`` JPEG) as bytes.

    What a crop leaves out is veiled. A photo that is lost leaves an empty place that says so. Without photos there is
    only the heading.
    """
    items = manifest.items[:_MOST]
    columns = max(1, min(len(items), 4 if len(items) <= 24 else 6))
    # The heading needs the width of two cards.
    width = 2 * _MARGIN + max(columns, 2) * (_CELL + 2 * _PAD + _GAP) - _GAP
    top = _MARGIN + 104
    rows = -(-len(items) // columns)
    sheet = Image.new("RGB", (width, top + rows * (_CARD_HEIGHT + _GAP) - _GAP + _MARGIN), _PAPER)
    _draw_heading(ImageDraw.Draw(sheet), manifest, width)
    for number, item in enumerate(items):
        left = _MARGIN + number % columns * (_CELL + 2 * _PAD + _GAP)
        card = _card(number + 1, item, photo_path)
        sheet.paste(card, (left, top + number // columns * (_CARD_HEIGHT + _GAP)), _rounded(*card.size, 14))
    data = io.BytesIO()
    sheet.save(data, image_format, quality=92)
    return data.getvalue()


def _draw_heading(draw: ImageDraw.ImageDraw, manifest: DatasetManifest, width: int) -> None:
    subject, count = manifest.subject, len(manifest.items)
    room = width - 2 * _MARGIN
    draw.text((_MARGIN, _MARGIN - 6), _elided(subject.name, room, 40), _INK, _font(40))
    facts = [
        f"{count} photo{'s' if count != 1 else ''}" + (f", the first {_MOST} shown" if count > _MOST else ""),
        f"trigger {subject.trigger}",
        f"resolution {manifest.resolution}",
        f"dataset {manifest.digest[:12]}",
    ]
    draw.text((_MARGIN, _MARGIN + 52), _elided("   ·   ".join(facts), room, 19), _QUIET, _font(19))


def _card(number: int, item: DatasetItem, photo_path: Callable[[str], Path]) -> Image.Image:
    card = Image.new("RGB", (_CELL + 2 * _PAD, _CARD_HEIGHT), _CARD)
    draw = ImageDraw.Draw(card)
    well = Image.new("RGB", (_CELL, _CELL), _WELL)
    try:
        _draw_photo(well, item, photo_path)
    except (StorageFailed, NotFound):
        ImageDraw.Draw(well).text((_CELL / 2, _CELL / 2), "This photo is lost", _QUIET, _font(19), anchor="mm")
    card.paste(well, (_PAD, _PAD), _rounded(_CELL, _CELL, 8))
    baseline = _PAD + _CELL + 26
    bucket = f"{item.bucket[0]} x {item.bucket[1]}"
    draw.text((_PAD, baseline), f"{number:03d}", _QUIET, _font(16), anchor="ls")
    draw.text((_PAD + 40, baseline), bucket, _ACCENT, _font(16), anchor="ls")
    size = f"{item.width} x {item.height}"
    whole = (item.crop.width, item.crop.height) == (item.width, item.height)
    stored = f"whole {size}" if whole else f"{item.crop.width} x {item.crop.height} of {size}"
    draw.text((_PAD + _CELL, baseline), stored, _QUIET, _font(13), anchor="rs")
    for line, text in enumerate(_wrapped(item.caption, _CELL, 16)):
        draw.text((_PAD, baseline + 26 + line * _LINE_HEIGHT), text, _INK, _font(16), anchor="ls")
    return card


def _draw_photo(well: Image.Image, item: DatasetItem, photo_path: Callable[[str], Path]) -> None:
    photo = open_photo(photo_path(item.photo), item.width, item.height)
    shown: Any = Image.fromarray(photo.thumbnail_image(_CELL, height=_CELL).numpy())
    scale = shown.width / item.width
    crop = item.crop
    box = [crop.left, crop.top, crop.left + crop.width, crop.top + crop.height]
    left, top, right, bottom = (round(side * scale) for side in box)
    right, bottom = max(right, left + 3), max(bottom, top + 3)
    veiled = Image.blend(shown, Image.new("RGB", shown.size, _CARD), 0.68)
    veiled.paste(shown.crop((left, top, right, bottom)), (left, top))
    ImageDraw.Draw(veiled).rectangle((left, top, right - 1, bottom - 1), outline=_ACCENT, width=3)
    well.paste(veiled, ((_CELL - shown.width) // 2, (_CELL - shown.height) // 2))


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


@cache
def _rounded(width: int, height: int, radius: int) -> Image.Image:
    # Drawn large and reduced, because Pillow's corners are not smooth.
    mask = Image.new("L", (4 * width, 4 * height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), 4 * radius, fill=255)
    return mask.reduce(4)


def _elided(text: str, width: int, size: int) -> str:
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _wrapped(text: str, width: int, size: int) -> list[str]:
    """At most three lines; the last is elided, and a word wider than a line is cut."""
    lines: list[str] = []
    # No three lines hold more characters than this, so that a long caption costs no more.
    words = text[: _CAPTION_LINES * width // 2].split()
    while words and len(lines) < _CAPTION_LINES:
        line = words.pop(0)
        while words and _font(size).getlength(f"{line} {words[0]}") <= width:
            line += " " + words.pop(0)
        last = len(lines) == _CAPTION_LINES - 1
        lines.append(_elided(" ".join([line, *words]) if last else line, width, size))
    return lines
