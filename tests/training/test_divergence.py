"""Divergence: curves of every kind, with the noise that flow matching has, drawn from a generator of their own."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable

import pytest

from limner.training.divergence import divergence, divergence_in_log

Curve = list[tuple[int, float]]
RECIPE = {"learning_rate": 0.002}
NOISES = (0.0, 0.2, 0.5, 0.9)
"""Deviations of the logarithm: from a smoothed curve to single steps of one picture."""


def noisy(shape: Callable[[float], float], points: int, noise: float, seed: int) -> Curve:
    chance = random.Random(seed)
    return [
        (10 * (at + 1), shape(at / max(1, points - 1)) * math.exp(chance.gauss(0, noise) - noise**2 / 2))
        for at in range(points)
    ]


def spike(at: float, height: float) -> Callable[[float], float]:
    return lambda x: 0.5 - 0.2 * x + (height if abs(x - at) < 0.04 else 0.0)


SOUND: dict[str, Callable[[float], float]] = {
    "falling": lambda x: 0.3 + 0.7 * math.exp(-4 * x),
    "flat": lambda x: 0.5,
    "flat and low": lambda x: 1e-4,
    "spike and recovery": spike(0.5, 20.0),
    "late spike and recovery": spike(0.85, 8.0),
    "early spike": spike(0.02, 50.0),
    "hump": lambda x: 0.5 + 0.3 * math.sin(math.pi * x),
    "slightly rising": lambda x: 0.5 + 0.05 * x,
    "steps": lambda x: 0.9 if x < 0.3 else 0.5 if x < 0.6 else 0.4,
}
RISING: dict[str, Callable[[float], float]] = {
    "rising": lambda x: 0.5 * math.exp(3 * x),
    "falling, then rising": lambda x: 0.3 + 4 * (x - 0.4) ** 2 * (3 if x > 0.4 else 1),
    "blown up and high": lambda x: 0.4 if x < 0.6 else 1.9,
    "exploding": lambda x: 0.4 if x < 0.9 else 0.4 * 10 ** (40 * (x - 0.9)),
    "at once": lambda x: 0.4 if x < 0.2 else 2.0,
}


@pytest.mark.parametrize("kind", SOUND)
def test_a_curve_that_is_sound_is_not_accused(kind: str) -> None:
    accused = [
        (noise, points, seed)
        for noise in NOISES
        for points in (3, 10, 30, 100, 400)
        for seed in range(40)
        if divergence(noisy(SOUND[kind], points, noise, seed), RECIPE)
    ]
    assert accused == []


@pytest.mark.parametrize("kind", RISING)
def test_a_curve_that_rises_is_found(kind: str) -> None:
    for noise, points in ((0.0, 30), (0.0, 100), (0.2, 60), (0.2, 400), (0.5, 200), (0.5, 400), (0.9, 800)):
        for seed in range(10):
            curve = noisy(RISING[kind], points, noise, seed)
            (found,) = divergence(curve, RECIPE)
            assert found.code == "diverged" and "smaller learning rate, such as 0.0005" in found.remedy
            assert not 0 < int(found.message.split("after step ")[1].split(":")[0]) > curve[-1][0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("points", [1, 5, 100])
def test_a_loss_that_is_no_number_is_found_however_short_the_curve(bad: float, points: int) -> None:
    (found,) = divergence([(step, 0.4) for step in range(1, points)] + [(points, bad)], {})
    assert f"from step {points} on" in found.message and "such as" not in found.remedy
    assert "nan" not in json.dumps(found.message).lower()


def test_short_curves_are_only_accused_when_they_explode() -> None:
    assert divergence([], RECIPE) == () == divergence([(1, 0.5)], RECIPE)
    assert divergence([(1, 0.1), (2, 5.0), (3, 9.0)], RECIPE) == ()
    assert divergence([(at, 0.5) for at in range(8)] + [(9, 40.0), (10, 90.0), (11, 300.0)], RECIPE)


@pytest.mark.parametrize(
    ("line", "broken"),
    [
        (" 40%|####      | 400/1000 [01:00<02:00,  5.0it/s, avr_loss=nan]", True),
        ("step 12 loss: NaN lr: 1e-4", True),
        ('{"step": 12, "loss": Infinity}', True),
        ("rex: 7/100 loss: -inf", True),
        ("loss: 0.4213 name: nan-goldin.jpg", False),
        ("glossy info: infinite", False),
        ("loss: nano", False),
    ],
)
def test_logs_of_trainers_say_it_too(line: str, broken: bool) -> None:
    assert bool(divergence_in_log(f"starting\n{line}\nsaving", RECIPE)) is broken
    assert divergence_in_log("loss" + " " * 200_000, RECIPE) == ()
