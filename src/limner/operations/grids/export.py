"""A grid as files: one labelled picture of all its cells, or a zip of the pictures themselves."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image as Pixels
from PIL import ImageDraw, PngImagePlugin

from limner.errors import StorageFailed
from limner.generation.metadata.ai_marks import XMP_KEYWORD, exif_block, xmp_packet
from limner.operations.grids import voting
from limner.records import Grid, Image, Ranking
from limner.typeset import BODY, GREY, HAIRLINE, NOTE, SMALL, blank, elided, line_height, write

__all__ = ["archive", "sheet"]

MOST_SIDE = 512
"""Pixels of a picture's longer side on the sheet."""
MOST_PIXELS = 120_000_000
_MARGIN, _GAP, _LABELS, _HEAD = 40, 12, 200, 46


def sheet(grid: Grid, destination: Path) -> Path:
    """Draw every cell with its labels, one block a prompt, as PNG. StorageFailed: it cannot be written there.

    A cell with several pictures shows them side by side; one that has none yet stays an empty frame.
    """
    across, down = len(grid.x.values), len(grid.y.values)
    several = max(len(row[0].generations) for row in grid.cells)
    count = max((made.count for made in grid.generations), default=1)
    width, height = int(grid.request["width"]), int(grid.request["height"])
    scale = min(1.0, MOST_SIDE / max(width, height))
    while True:
        wide, high = max(1, round(width * scale)), max(1, round(height * scale))
        columns = _MARGIN * 2 + _LABELS + across * (count * (wide + _GAP) + _GAP)
        block = _HEAD * 2 + down * (high + _GAP) + _MARGIN
        if columns * block * several <= MOST_PIXELS:
            break
        scale *= 0.8
    paper = blank(columns, _MARGIN * 2 + block * several)
    top = _MARGIN
    for number in range(several):
        made = (cell.generations[number] for row in grid.cells for cell in row)
        prompt = "" if "prompt" in (grid.x.name, grid.y.name) else next((one.prompt for one in made if one), "")
        write(paper, (_MARGIN, top + line_height(BODY)), elided(prompt, BODY, columns - 2 * _MARGIN), BODY)
        _block(paper, grid, number, top + _HEAD, (wide, high), count)
        top += block
    write(paper, (_MARGIN, paper.height - 18), f"{_facts(grid)} · made with AI", SMALL, GREY)
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt(XMP_KEYWORD, xmp_packet())
    sink = io.BytesIO()
    paper.save(sink, "PNG", pnginfo=texts, exif=b"Exif\0\0" + exif_block(str(grid.request.get("base", ""))))
    return _written(destination, sink.getvalue())


def _block(paper: Pixels.Image, grid: Grid, number: int, top: int, size: tuple[int, int], count: int) -> None:
    wide, high = size
    pen = ImageDraw.Draw(paper)
    step = count * (wide + _GAP) + _GAP
    for at, value in enumerate(grid.x.values):
        left = _MARGIN + _LABELS + at * step
        write(paper, (left, top + line_height(NOTE)), elided(grid.x.label(value), NOTE, step - _GAP), NOTE, GREY)
    for line, row in enumerate(grid.cells):
        upper = top + _HEAD + line * (high + _GAP)
        label = grid.y.label(grid.y.values[line])
        write(paper, (_MARGIN, upper + line_height(NOTE)), elided(label, NOTE, _LABELS - _GAP), NOTE, GREY)
        for at, cell in enumerate(row):
            made = cell.generations[number]
            pictures = {image.position: image for image in made.images} if made is not None else {}
            for place in range(count):
                left = _MARGIN + _LABELS + at * step + place * (wide + _GAP)
                if place in pictures:
                    with Pixels.open(pictures[place].path) as picture:
                        paper.paste(picture.convert("RGB").resize((wide, high)), (left, upper))
                else:
                    pen.rectangle((left, upper, left + wide, upper + high), outline=HAIRLINE)


def _facts(grid: Grid) -> str:
    asked = grid.request
    named = [f"{name}:{scale:g}" for name, scale in asked.get("loras", ())]
    varied = {grid.x.name, grid.y.name}
    parts = [str(asked["base"]), f"{asked['width']} by {asked['height']} px"]
    parts += [
        f"{name} {float(asked[name]):g}" if name == "guidance" else f"{name} {asked[name]}"
        for name in ("steps", "guidance", "seed")
        if name not in varied
    ]
    if not varied & {"checkpoint", "lora", "scale"}:
        parts += named
    return " · ".join(parts)


def archive(grid: Grid, rankings: Sequence[Ranking], destination: Path) -> Path:
    """Write the pictures as they are, each named by its cell, and ``grid.csv`` and ``votes.csv`` beside them."""
    labels = voting.labels_of(grid)
    sink = io.BytesIO()
    rows: list[list[object]] = [["file", "x", "y", "prompt", "seed", "image", "sha256", "compared as"]]
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as packed:
        for down, row in enumerate(grid.cells):
            for across, cell in enumerate(row):
                for number, made in enumerate(cell.generations):
                    for image in made.images if made is not None else ():
                        name = _name(grid, image, down, across, number)
                        packed.write(image.path, name)
                        rows.append(
                            [name, cell.x, cell.y, image.prompt, image.seed, image.id, image.digest, labels[image.id]]
                        )
        packed.writestr("grid.csv", _csv(rows))
        standings = [
            [ranking.axis or "both", one.label, one.wins, one.votes, f"{one.low:.3f}", f"{one.high:.3f}"]
            for ranking in rankings
            for one in ranking.standings
        ]
        packed.writestr("votes.csv", _csv([["axis", "candidate", "wins", "votes", "low", "high"], *standings]))
    return _written(destination, sink.getvalue())


def _name(grid: Grid, image: Image, down: int, across: int, number: int) -> str:
    """Made of places and numbers only: a value may be a prompt, which is no file name."""
    prompt = f"-prompt{number + 1}" if len(grid.prompts) > 1 else ""
    return f"row{down + 1:02d}-column{across + 1:02d}{prompt}-{image.position:02d}-{image.seed}.png"


def _csv(rows: Sequence[Sequence[object]]) -> str:
    sink = io.StringIO()
    csv.writer(sink).writerows([[_cell(value) for value in row] for row in rows])
    return sink.getvalue()


def _cell(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets a mark before it."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _written(path: Path, data: bytes) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as failure:
        raise StorageFailed(
            f"{path} could not be written: {failure.strerror}.",
            remedy="Free some space or choose another place.",
            thing=str(path),
        ) from failure
    return path
