"""The crop sheet: each photo of a dataset with its crop, bucket and caption, to be looked at before training."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from limner.datasets.render import open_photo
from limner.errors import NotFound, StorageFailed
from limner.types import DatasetItem, DatasetManifest
from limner.typeset import ACCENT, FAINT, GREY, HEAD, NOTE, SMALL, blank, elided, line_height, rounded, wrapped, write

__all__ = ["crop_sheet"]

_CARD = "#ffffff"
_MARGIN, _GAP, _PAD, _CELL = 56, 24, 14, 340
_CAPTION_LINES = 3
_CARD_HEIGHT = _PAD + _CELL + 40 + _CAPTION_LINES * line_height(SMALL) + _PAD
_MOST = 120


def crop_sheet(manifest: DatasetManifest, photo_path: Callable[[str], Path]) -> bytes:
    """Draw the first 120 photos of a dataset; gives a PNG as bytes.

    What a crop leaves out is veiled. A photo that is lost leaves an empty place that says so. Without photos there is
    only the heading.
    """
    items = manifest.items[:_MOST]
    columns = max(1, min(len(items), 4 if len(items) <= 24 else 6))
    # The heading needs the width of two cards.
    width = 2 * _MARGIN + max(columns, 2) * (_CELL + 2 * _PAD + _GAP) - _GAP
    top = _MARGIN + 104
    rows = -(-len(items) // columns)
    sheet = blank(width, top + rows * (_CARD_HEIGHT + _GAP) - _GAP + _MARGIN)
    _write_heading(sheet, manifest)
    for number, item in enumerate(items):
        left = _MARGIN + number % columns * (_CELL + 2 * _PAD + _GAP)
        rounded(sheet, _card(number + 1, item, photo_path), (left, top + number // columns * (_CARD_HEIGHT + _GAP)), 14)
    data = io.BytesIO()
    sheet.save(data, "PNG")
    return data.getvalue()


def _write_heading(sheet: Image.Image, manifest: DatasetManifest) -> None:
    subject, count = manifest.subject, len(manifest.items)
    room = sheet.width - 2 * _MARGIN
    write(sheet, (_MARGIN, _MARGIN + 30), elided(subject.name, HEAD, room), HEAD)
    facts = [
        f"{count} photo{'s' if count != 1 else ''}" + (f", the first {_MOST} shown" if count > _MOST else ""),
        f"trigger {subject.trigger}",
        f"resolution {manifest.resolution}",
        f"dataset {manifest.digest[:12]}",
    ]
    write(sheet, (_MARGIN, _MARGIN + 70), elided(" · ".join(facts), NOTE, room), NOTE, GREY)


def _card(number: int, item: DatasetItem, photo_path: Callable[[str], Path]) -> Image.Image:
    card = Image.new("RGB", (_CELL + 2 * _PAD, _CARD_HEIGHT), _CARD)
    well = Image.new("RGB", (_CELL, _CELL), FAINT)
    try:
        _draw_photo(well, item, photo_path)
    except (StorageFailed, NotFound):
        write(well, (_CELL / 2, _CELL / 2), "This photo is lost", NOTE, GREY, "ms")
    rounded(card, well, (_PAD, _PAD), 8)
    below = _PAD + _CELL + 26
    write(card, (_PAD, below), f"{number:03d}", SMALL, GREY)
    write(card, (_PAD + 40, below), f"{item.bucket[0]} x {item.bucket[1]}", SMALL, ACCENT)
    size = f"{item.width} x {item.height}"
    whole = (item.crop.width, item.crop.height) == (item.width, item.height)
    stored = f"whole {size}" if whole else f"{item.crop.width} x {item.crop.height} of {size}"
    write(card, (_PAD + _CELL, below), stored, 13, GREY, "rs")
    for line, text in enumerate(wrapped(item.caption, SMALL, _CELL, _CAPTION_LINES)):
        write(card, (_PAD, below + 26 + line * line_height(SMALL)), text, SMALL)
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
    ImageDraw.Draw(veiled).rectangle((left, top, right - 1, bottom - 1), outline=ACCENT, width=3)
    well.paste(veiled, ((_CELL - shown.width) // 2, (_CELL - shown.height) // 2))
