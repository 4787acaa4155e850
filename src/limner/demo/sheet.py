"""The contact sheet: one picture that shows what went in, what came out, how training went and how long it took."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from limner.demo.charts import loss_curve, stage_bars
from limner.typeset import (
    ACCENT,
    BODY,
    FAINT,
    GREY,
    HAIRLINE,
    HEAD,
    INK,
    NOTE,
    SMALL,
    TITLE,
    blank,
    cover,
    elided,
    line_height,
    rounded,
    text_width,
    wrapped,
    write,
)

__all__ = ["SheetPicture", "SheetSubject", "contact_sheet"]

WIDTH = 1800
_MARGIN, _LABELS, _GAP = 84, 196, 18
_ROOM = WIDTH - 2 * _MARGIN - _LABELS  # what is right of the labels
_MOST_PHOTOS, _COLUMNS = 10, 6
_MOST_SIDE = 300
_CHART_HEIGHT = 268


@dataclass(frozen=True, slots=True)
class SheetPicture:
    """A picture, as a file or in memory, and the words below it: a photo's caption or a prompt."""

    picture: Path | Image.Image
    caption: str = ""


@dataclass(frozen=True, slots=True)
class SheetSubject:
    """What the sheet shows of one subject.

    ``base_pictures`` and ``pictures`` (with the lora) stand below each other in pairs. ``losses`` are (step, loss),
    ``stages`` (name, seconds), ``facts`` (name, value) such as ("rank", "16").
    """

    title: str
    photos: Sequence[SheetPicture]
    base_pictures: Sequence[SheetPicture]
    pictures: Sequence[SheetPicture]
    losses: Sequence[tuple[int, float]] = ()
    stages: Sequence[tuple[str, float]] = ()
    facts: Sequence[tuple[str, str]] = ()


def contact_sheet(title: str, subjects: Sequence[SheetSubject], *, subtitle: str = "", footer: str = "") -> bytes:
    """Draw the sheet, 1800 pixels wide and as high as its subjects need, as PNG.

    A picture that cannot be read leaves an empty frame: the sheet shows what there is.
    """
    blocks = [_heading(title, subtitle)]
    for subject in subjects:
        blocks += _subject(subject)
    blocks.append(_footer(footer))
    sheet = blank(WIDTH, sum(block.height for block in blocks))
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height
    sink = io.BytesIO()
    sheet.save(sink, "PNG", optimize=True)
    return sink.getvalue()


def _heading(title: str, subtitle: str) -> Image.Image:
    paper = blank(WIDTH, 176 if subtitle else 136)
    ImageDraw.Draw(paper).rectangle((0, 0, WIDTH, 9), fill=ACCENT)
    write(paper, (_MARGIN, 112), elided(title, TITLE, WIDTH - 2 * _MARGIN), TITLE)
    write(paper, (_MARGIN, 156), elided(subtitle, BODY, WIDTH - 2 * _MARGIN), BODY, GREY)
    return paper


def _subject(subject: SheetSubject) -> Iterator[Image.Image]:
    yield _subject_heading(subject)
    yield _photos(subject.photos)
    yield _space(30)
    pairs = list(zip_longest(subject.base_pictures, subject.pictures))
    for start in range(0, len(pairs), _COLUMNS):
        row = pairs[start : start + _COLUMNS]
        yield from _pictures([base for base, _ in row], [picture for _, picture in row])
    yield _charts(subject)


def _subject_heading(subject: SheetSubject) -> Image.Image:
    paper = blank(WIDTH, 142)
    ImageDraw.Draw(paper).line([(_MARGIN, 28), (WIDTH - _MARGIN, 28)], fill=HAIRLINE, width=2)
    right = float(WIDTH - _MARGIN)
    for name, value in reversed(subject.facts):
        wide = max(text_width(name, SMALL), text_width(value, BODY))
        if right - wide < WIDTH * 0.45:
            break
        write(paper, (right - wide, 72), name, SMALL, GREY)
        write(paper, (right - wide, 103), value, BODY)
        right -= wide + 40
    write(paper, (_MARGIN, 98), elided(subject.title, HEAD, right - _MARGIN), HEAD)
    return paper


def _photos(photos: Sequence[SheetPicture]) -> Image.Image:
    """One row of photos in their own shapes, as high as fills the room."""
    captions = _without_common_start([photo.caption for photo in photos[:_MOST_PHOTOS]])
    shown = [(_loaded(photo), caption) for photo, caption in zip(photos, captions, strict=False)]
    shapes = [min(max(picture.width / picture.height, 0.6), 1.8) for picture, _ in shown]
    room = _ROOM - _GAP * (len(shown) - 1)
    high = min(round(room / sum(shapes)), 210) if shapes else 60
    captioned = any(caption for _, caption in shown)
    paper = blank(WIDTH, high + (2 * line_height(SMALL) + 14 if captioned else 4))
    count = f"{len(photos)} in all" if len(photos) > len(shown) else f"{len(photos)}, as taken in"
    _label(paper, "Photos", count if photos else "none")
    left = float(_MARGIN + _LABELS)
    for (picture, caption), shape in zip(shown, shapes, strict=True):
        wide = high * shape
        at = (round(left), 0)
        rounded(paper, cover(picture, round(left + wide) - at[0], high), at)
        _caption(paper, caption, at[0], high, wide, lines=2)
        left += wide + _GAP
    return paper


def _pictures(
    base_pictures: Sequence[SheetPicture | None], pictures: Sequence[SheetPicture | None]
) -> Iterator[Image.Image]:
    """A row of the base's pictures and below it one with the lora, a column a prompt."""
    columns = len(pictures)
    side = min((_ROOM - _GAP * (columns - 1)) // columns, _MOST_SIDE)
    prompts = [picture.caption if picture else "" for picture in pictures]
    if any(base_pictures):
        own = [base.caption if base else "" for base in base_pictures]
        captions = [] if all(one in ("", other) for one, other in zip(own, prompts, strict=True)) else own
        yield _row("Without", "the base alone, same prompt and seed", base_pictures, side, captions)
        yield _space(_GAP)
    if any(pictures):
        yield _row("With the LoRA", "the same prompts and seeds", pictures, side, prompts)
        yield _space(26)


def _row(
    title: str, note: str, pictures: Sequence[SheetPicture | None], side: int, captions: Sequence[str]
) -> Image.Image:
    lines = max((len(wrapped(caption, SMALL, side, 3)) for caption in captions), default=0)
    paper = blank(WIDTH, side + (lines * line_height(SMALL) + 16 if lines else 0))
    _label(paper, title, note)
    for at, picture in enumerate(pictures):
        left = _MARGIN + _LABELS + at * (side + _GAP)
        if picture is not None:
            rounded(paper, cover(_loaded(picture), side, side), (left, 0))
        if captions:
            _caption(paper, captions[at], left, side, side, lines=3)
    return paper


def _charts(subject: SheetSubject) -> Image.Image:
    paper = blank(WIDTH, _CHART_HEIGHT + 54)
    if not subject.losses and not subject.stages:
        return blank(WIDTH, 24)
    top, left = 10, _MARGIN + _LABELS
    half = round(_ROOM * 0.56)
    _label(paper, "Training", "loss by step", top)
    paper.paste(loss_curve(subject.losses, half + 40, _CHART_HEIGHT), (left - 40, top))
    write(paper, (left + half + 56, top + BODY * 0.76), "Time", BODY)
    bars = stage_bars(subject.stages, _ROOM - half - 56, _CHART_HEIGHT - 40)
    paper.paste(bars, (left + half + 56, top + 38))
    return paper


def _footer(text: str) -> Image.Image:
    paper = blank(WIDTH, 92)
    ImageDraw.Draw(paper).line([(_MARGIN, 4), (WIDTH - _MARGIN, 4)], fill=HAIRLINE, width=2)
    write(paper, (_MARGIN, 46), elided(text, NOTE, WIDTH - 2 * _MARGIN), NOTE, GREY)
    return paper


def _space(height: int) -> Image.Image:
    return blank(WIDTH, height)


def _label(paper: Image.Image, title: str, note: str, top: int = 0) -> None:
    write(paper, (_MARGIN, top + BODY * 0.76), title, BODY, INK)
    for at, line in enumerate(wrapped(note, SMALL, _LABELS - 40, 3)):
        write(paper, (_MARGIN, top + BODY + 26 + at * line_height(SMALL)), line, SMALL, GREY)


def _caption(paper: Image.Image, text: str, left: int, below: int, width: float, *, lines: int) -> None:
    for at, line in enumerate(wrapped(text, SMALL, width, lines)):
        write(paper, (left, below + 26 + at * line_height(SMALL)), line, SMALL, GREY)


def _without_common_start(captions: Sequence[str]) -> list[str]:
    """The captions from the word on at which they differ: "a drawing of zibbo" on every photo says nothing."""
    words = [caption.split() for caption in captions]
    common = 0
    while words and all(len(own) > common + 1 and own[common] == words[0][common] for own in words):
        common += 1
    if len(words) < 2 or common < 2:
        return list(captions)
    return ["… " + " ".join(own[common:]) for own in words]


def _loaded(shown: SheetPicture) -> Image.Image:
    if isinstance(shown.picture, Image.Image):
        return shown.picture
    try:
        with Image.open(shown.picture) as picture:
            return ImageOps.exif_transpose(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Image.new("RGB", (256, 256), FAINT)
