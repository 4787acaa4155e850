"""The contact sheet's charts: round numbers, honest curves, bars that fit."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageColor

from limner.demo.charts import loss_curve, smoothed, stage_bars, ticks
from limner.typeset import ACCENT

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


@given(FINITE, FINITE, st.integers(2, 12))
def test_ticks_are_few_round_and_inside(low: float, high: float, most: int) -> None:
    found = ticks(low, high, most)
    assert 0 < len(found) <= max(most, 2)
    assert found == sorted(found)
    if high > low and len(found) > 1:
        slack = (high - low) * 1e-6 + 1e-9
        assert all(low - slack <= tick <= high + slack for tick in found)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=60))
def test_a_trend_stays_within_what_it_smooths(losses: list[float]) -> None:
    points = list(enumerate(losses))
    trend = smoothed(points)
    assert [step for step, _ in trend] == [step for step, _ in points]
    assert all(min(losses) - 1e-9 <= loss <= max(losses) + 1e-9 for _, loss in trend)


def test_the_curve_falls_where_the_loss_falls_and_a_wild_step_does_not_flatten_it() -> None:
    falling = [(step, 1.0 - step / 100) for step in range(100)]
    wild = [*falling[:50], (50, 1e9), *falling[51:]]
    for points in (falling, wild):
        paper = loss_curve(points, 640, 260)
        trend = [
            (x, y)
            for x in range(paper.width)
            for y in range(paper.height)
            if paper.getpixel((x, y)) == ImageColor.getrgb(ACCENT)
        ]
        left = min(y for x, y in trend if x < 120)
        right = max(y for x, y in trend if 440 < x < 540)
        assert right - left > 60


def test_no_loss_or_only_broken_ones_is_said() -> None:
    broken = loss_curve([(1, math.nan), (2, math.inf)], 400, 200)
    assert broken.tobytes() == loss_curve([], 400, 200).tobytes()
    assert len(set(broken.get_flattened_data())) > 2


def test_bars_fit_their_paper() -> None:
    assert stage_bars([("a very long name of a stage indeed", 1e5), ("b", 0.0)], 300, 120).size == (300, 120)
    assert stage_bars([], 300, 120).size == (300, 120)
