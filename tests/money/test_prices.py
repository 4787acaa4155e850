"""Prices: what the vendors' own rules give, the user's own prices, and that an estimate is never too low."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from limner.catalog.hosted import HostedModel
from limner.errors import InputRefused
from limner.money import prices
from limner.money.prices import estimate_pictures, estimate_training, price_of, read_prices, usd, use_home
from limner.types import Price


def row(
    model: str = "per_megapixel", amount: str = "0.02", *, does: str = "generate", **options: object
) -> HostedModel:
    price = Price(model, Decimal(amount), certain=bool(options.pop("certain", True)))
    return HostedModel("shop-row", "shop", does, "shop/model", "flux2-dev", price, "here", "2026-11-24", **options)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def catalog(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(prices, "hosted", lambda: {"shop-row": row(), "shop-trainer": row("per_step", does="train")})
    monkeypatch.setattr(prices, "_home", [])
    yield


def picture(model: HostedModel, **options: int) -> Decimal:
    return estimate_pictures(model, **{"width": 1024, "height": 1024, "steps": 28, "count": 1, **options}).amount


def test_megapixels_are_rounded_up_for_each_picture() -> None:
    assert picture(row(), width=1000, height=1000) == Decimal("0.02")
    assert picture(row(), width=1001, height=1000) == Decimal("0.04")
    assert picture(row(), width=512, height=512, count=4) == Decimal("0.08")


def test_more_steps_than_usual_cost_in_proportion_only_where_the_vendor_says_so() -> None:
    assert picture(row(steps=28), width=1000, height=1000, steps=56) == Decimal("0.02")
    dearer = row("per_megapixel_step", steps=28)
    assert picture(dearer, width=1000, height=1000, steps=56) == Decimal("0.04")
    assert picture(dearer, width=1000, height=1000, steps=4) == Decimal("0.02")


def test_large_loras_cost_a_share_more_for_each_gigabyte_begun() -> None:
    model = row(free_lora_bytes=2 * 10**9, lora_surcharge=Decimal("0.5"))
    one = {"width": 1000, "height": 1000}
    assert picture(model, **one, lora_bytes=2 * 10**9) == Decimal("0.02")
    assert picture(model, **one, lora_bytes=2 * 10**9 + 1) == Decimal("0.03")
    assert picture(model, **one, lora_bytes=4 * 10**9) == Decimal("0.04")


def test_training_is_charged_by_step_second_or_run() -> None:
    assert estimate_training(row("per_step", "0.0064", does="train"), steps=1000).amount == Decimal("6.4")
    by_second = row("per_second", "0.001525", does="train", seconds=1200.0, steps=1000)
    found = estimate_training(by_second, steps=2000)
    assert (found.amount, found.seconds, found.certain) == (Decimal("3.66"), 2400.0, True)
    assert estimate_training(by_second, steps=2000, seconds=100).amount == Decimal("0.1525")
    assert estimate_training(row("per_run", "1.5", does="train"), steps=5).amount == Decimal("1.5")
    assert estimate_training(row("free", "0", does="train"), steps=5).amount == 0


def test_what_is_a_guess_says_so() -> None:
    assert not estimate_training(row("per_second", "0.001", does="train"), steps=10).certain
    assert not estimate_training(row("per_moon", "1", does="train"), steps=10).certain
    assert not estimate_pictures(row(certain=False), width=64, height=64, steps=1, count=1).certain
    assert not estimate_pictures(row("per_second"), width=64, height=64, steps=1, count=1).certain
    assert estimate_pictures(row("per_second", seconds=3.0), width=64, height=64, steps=1, count=2).certain


@given(
    width=some.integers(64, 4096),
    height=some.integers(64, 4096),
    count=some.integers(1, 1000),
    steps=some.integers(1, 200),
    amount=some.decimals("0.000001", "10", places=6),
)
def test_an_order_is_never_estimated_below_its_pictures_one_by_one(
    width: int, height: int, count: int, steps: int, amount: Decimal
) -> None:
    for model in ("per_megapixel", "per_megapixel_step", "per_step", "per_second", "per_run"):
        one = row(model, str(amount), steps=28, seconds=5.0)
        whole = picture(one, width=width, height=height, steps=steps, count=count)
        single = picture(one, width=width, height=height, steps=steps)
        assert abs(whole - single * count) <= Decimal("0.000001") * count
        if model == "per_megapixel":
            assert single == amount * math.ceil(width * height / 1_000_000)


# --- the user's own prices --------------------------------------------------------------------------------------


def test_own_prices_go_over_the_catalogs_by_id_and_by_name(tmp_path: Path) -> None:
    use_home(tmp_path)
    assert price_of(row()).amount == Decimal("0.02")
    (tmp_path / "prices.toml").write_text('"shop/shop/model" = 0.035\n')
    own = price_of(replace(row(certain=False), id="another"))
    assert own == Price("per_megapixel", Decimal("0.035"), source="your prices.toml")
    lines = ['shop-row = { amount = 2, model = "per_run" }', '"shop/shop/model" = 0.035']
    (tmp_path / "prices.toml").write_text("\n".join(lines))
    assert picture(row()) == Decimal(2)
    (tmp_path / "prices.toml").unlink()
    assert price_of(row()).amount == Decimal("0.02")


def test_amounts_keep_every_digit() -> None:
    assert read_prices("shop-row = 0.1")["shop-row"].amount == Decimal("0.1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shop-row = ", "no TOML"),
        ("shop-rwo = 1", "no such model"),
        ("shop-row = -1", "no amount"),
        ("shop-row = nan", "no amount"),
        ("shop-row = true", "no amount"),
        ("shop-row = 'a lot'", "no amount"),
        ("shop-row = [1]", "no amount"),
        ("shop-row = { model = 'per_run' }", "no amount"),
        ("shop-row = { amount = 1, modle = 'per_run' }", "unknown fields ['modle']"),
        ("shop-row = { amount = 1, model = 'per_moon' }", "no way to charge"),
    ],
)
def test_a_wrong_price_is_named(text: str, said: str) -> None:
    with pytest.raises(InputRefused) as refused:
        read_prices(text)
    assert said in refused.value.message and "prices.toml" in refused.value.message and refused.value.remedy


def test_a_mistyped_name_gets_the_right_one() -> None:
    with pytest.raises(InputRefused, match="Did you mean shop-row"):
        read_prices("shop-rwo = 1")


@given(some.text())
def test_any_text_is_read_or_refused_in_our_words(text: str) -> None:
    with suppress(InputRefused):
        read_prices(text)


@pytest.mark.parametrize(
    ("amount", "words"),
    [("0", "$0.00"), ("2.4", "$2.40"), ("1234.5", "$1,234.50"), ("0.035", "$0.0350"), ("0.00001", "less than $0.0001")],
)
def test_money_in_words(amount: str, words: str) -> None:
    assert usd(Decimal(amount)) == words
