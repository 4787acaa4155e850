"""The two charts of the contact sheet: the loss over the steps, and how long each stage took."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from limner.humanize import spoken
from limner.typeset import (
    ACCENT,
    FAINT,
    GREY,
    HAIRLINE,
    INK,
    NOTE,
    PALE,
    PAPER,
    SMALL,
    SMOOTH,
    blank,
    elided,
    text_width,
    write,
)

__all__ = ["loss_curve", "smoothed", "stage_bars", "ticks"]

Points = Sequence[tuple[float, float]]


def smoothed(points: Points) -> list[tuple[float, float]]:
    """The points with each value the mean of its neighbours, weighted by nearness (5 % of the curve to either side)."""
    reach = max(1.0, len(points) * 0.05)
    found = []
    for at, (step, _) in enumerate(points):
        near = range(max(0, round(at - 3 * reach)), min(len(points), round(at + 3 * reach) + 1))
        weights = [math.exp(-(((other - at) / reach) ** 2) / 2) for other in near]
        total = sum(weight * points[other][1] for weight, other in zip(weights, near, strict=True))
        found.append((step, total / sum(weights)))
    return found


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most so many round numbers (1, 2 or 5 times a power of ten apart) from ``low`` to ``high``."""
    if not high > low:
        return [low]
    for apart in (factor * 10.0**power for power in range(-9, 10) for factor in (1, 2, 5)):
        first, last = math.ceil(low / apart - 1e-9), math.floor(high / apart + 1e-9)
        if last - first < most:
            return [round(number * apart, 12) for number in range(first, last + 1)]
    return [low, high]


def loss_curve(points: Points, width: int, height: int) -> Image.Image:
    """The loss: single steps pale, their trend in the accent colour, with the value that the trend ends at."""
    paper = blank(width, height)
    points = [(float(step), float(loss)) for step, loss in points if math.isfinite(loss)]
    if len(points) < 2:
        write(paper, (0, height / 2), "No loss was recorded.", NOTE, GREY)
        return paper
    left, right, top, bottom = 64, width - 76, 14, height - 56
    steps = (min(step for step, _ in points), max(step for step, _ in points))
    ordered = sorted(loss for _, loss in points)
    # one wild step does not flatten all others
    highest = ordered[int((len(ordered) - 1) * 0.98)]
    trend = smoothed([(step, min(loss, highest)) for step, loss in points])
    lowest = min(0.0, ordered[0])
    span = (highest - lowest) * 1.08 or 1.0

    def place(step: float, loss: float) -> tuple[float, float]:
        x = left + (step - steps[0]) / ((steps[1] - steps[0]) or 1) * (right - left)
        return x, bottom - min((loss - lowest) / span, 1.0) * (bottom - top)

    for loss in ticks(lowest, lowest + span, 5):
        _, y = place(steps[0], loss)
        ImageDraw.Draw(paper).line([(left, y), (right, y)], fill=HAIRLINE)
        write(paper, (left - 14, y + SMALL * 0.36), f"{loss:g}", SMALL, GREY, "rs")
    for step in ticks(*steps, 7):
        x, _ = place(step, lowest)
        write(paper, (x, bottom + 27), f"{step:g}", SMALL, GREY, "ms")
    write(paper, ((left + right) / 2, height - 6), "step", SMALL, GREY, "ms")
    _draw_lines(paper, [([place(*p) for p in points], PALE, 1.2), ([place(*p) for p in trend], ACCENT, 3.2)])
    x, y = place(*trend[-1])
    _draw_dot(paper, (x, y))
    write(paper, (x + 14, y + NOTE * 0.36), f"{trend[-1][1]:.3f}", NOTE, ACCENT)
    return paper


def stage_bars(stages: Sequence[tuple[str, float]], width: int, height: int) -> Image.Image:
    """One bar a stage, as long as it took, and the sum below; ``stages`` are (name, seconds)."""
    paper = blank(width, height)
    if not stages:
        return paper
    row = min(36.0, (height - 44) / len(stages))
    longest = max(seconds for _, seconds in stages) or 1.0
    names = min(max(text_width(name, NOTE) for name, _ in stages), width * 0.35) + 20
    times = max(text_width(spoken(seconds), NOTE) for _, seconds in stages) + 14
    room = width - names - times
    thick = min(14.0, row * 0.5)
    for at, (name, seconds) in enumerate(stages):
        middle = row * (at + 0.5)
        write(paper, (0, middle + NOTE * 0.36), elided(name, NOTE, names - 20), NOTE)
        length = max(thick, room * seconds / longest)
        _draw_bar(paper, (names, middle - thick / 2, room, thick), FAINT)
        _draw_bar(paper, (names, middle - thick / 2, length, thick), ACCENT)
        write(paper, (width, middle + NOTE * 0.36), spoken(seconds), NOTE, GREY, "rs")
    end = row * len(stages) + 8
    ImageDraw.Draw(paper).line([(0, end), (width, end)], fill=HAIRLINE)
    write(paper, (0, end + 27), "together", NOTE)
    write(paper, (width, end + 27), spoken(sum(seconds for _, seconds in stages)), NOTE, INK, "rs")
    return paper


def _draw_lines(paper: Image.Image, lines: Sequence[tuple[list[tuple[float, float]], str, float]]) -> None:
    """Draw lines, given as (points, colour, width), each over the one before."""
    for points, colour, thick in lines:
        large = Image.new("L", (paper.width * SMOOTH, paper.height * SMOOTH), 0)
        path = [(x * SMOOTH, y * SMOOTH) for x, y in points]
        ImageDraw.Draw(large).line(path, fill=255, width=round(thick * SMOOTH), joint="curve")
        paper.paste(Image.new("RGB", paper.size, colour), (0, 0), large.resize(paper.size, Image.Resampling.LANCZOS))


def _draw_dot(paper: Image.Image, at: tuple[float, float]) -> None:
    large = Image.new("L", (24 * SMOOTH, 24 * SMOOTH), 0)
    middle = 12 * SMOOTH
    for radius, colour in ((8.5, PAPER), (5.5, ACCENT)):
        ImageDraw.Draw(large).rectangle((0, 0, *large.size), fill=0)
        ImageDraw.Draw(large).circle((middle, middle), radius * SMOOTH, fill=255)
        mask = large.resize((24, 24), Image.Resampling.LANCZOS)
        paper.paste(Image.new("RGB", (24, 24), colour), (round(at[0]) - 12, round(at[1]) - 12), mask)


def _draw_bar(paper: Image.Image, box: tuple[float, float, float, float], colour: str) -> None:
    """A bar with round ends; ``box`` is left, top, width, height."""
    left, top, width, height = (round(side) for side in box)
    large = Image.new("L", (width * SMOOTH, height * SMOOTH), 0)
    ImageDraw.Draw(large).rounded_rectangle(
        (0, 0, large.width - 1, large.height - 1), radius=large.height / 2, fill=255
    )
    mask = large.resize((width, height), Image.Resampling.LANCZOS)
    paper.paste(Image.new("RGB", (width, height), colour), (left, top), mask)
