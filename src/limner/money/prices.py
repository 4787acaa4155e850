"""What a hosted model costs: the price book, which is the catalog's rows with the user's ``prices.toml`` over them.

An estimate is never below what the vendor says it charges: pictures are rounded up to whole megapixels, loras to whole
gigabytes. Where a part of it is a guess, it says so (``certain`` False) and the user is asked.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from decimal import ROUND_UP, Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from limner.catalog.hosted import HostedModel, hosted
from limner.errors import InputRefused
from limner.types import Estimate, Price

__all__ = ["PRICES_FILE", "estimate_pictures", "estimate_training", "price_of", "read_prices", "usd", "use_home"]

PRICES_FILE = "prices.toml"
MODELS = ("free", "per_run", "per_second", "per_step", "per_megapixel", "per_megapixel_step")
GIGABYTE = 1_000_000_000
_SMALLEST = Decimal("0.000001")
# Careful guesses, used only where a row charges by the second and does not know how many, and marked as guesses.
_GUESSED_TRAINING = 1800.0
_GUESSED_PICTURE = 15.0

_home: list[Path] = []
_read: dict[Path, tuple[int, Mapping[str, Price]]] = {}


def use_home(home: Path) -> None:
    """Take the ``prices.toml`` of this home folder, for this process; the last one named counts."""
    _home[:] = [home]


def usd(amount: Decimal) -> str:
    """Money in words: ``$2.40``; below ten cents as exactly as it needs, never as nothing when it is something."""
    if amount == 0 or abs(amount) >= Decimal("0.1"):
        return f"${amount:,.2f}"
    if abs(amount) < Decimal("0.0001"):
        return "less than $0.0001" if amount > 0 else f"${amount}"
    return f"${amount:.4f}"


def read_prices(text: str) -> dict[str, Price]:
    """Parse a ``prices.toml``: a row's id, or ``vendor/model``, and its amount, or ``{ model, amount }``.

    A price without a ``model`` is charged as the row's own. InputRefused names the line and what is wrong with it.
    """
    try:
        lines: dict[str, Any] = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, ValueError, ArithmeticError) as failure:
        raise InputRefused(
            f"The {PRICES_FILE} of your home folder is no TOML: {failure}.",
            remedy="Correct that line.",
            thing=PRICES_FILE,
        ) from failure
    rows = hosted()
    named = {*rows, *(f"{row.vendor}/{row.model}" for row in rows.values())}
    found: dict[str, Price] = {}
    for key, value in lines.items():
        if key not in named:
            near = get_close_matches(key, named, n=1)
            raise _wrong(key, "the catalog has no such model", f"Did you mean {near[0]}?" if near else "Take it out.")
        entry = value if isinstance(value, dict) else {"amount": value}
        unknown = sorted(set(entry) - {"amount", "model"})
        model, amount = entry.get("model", ""), entry.get("amount")
        if unknown:
            raise _wrong(key, f"it has the unknown fields {unknown}", "Give amount, and model if it differs.")
        if model not in ("", *MODELS):
            raise _wrong(key, f"'{model}' is no way to charge", f"Give one of {', '.join(MODELS)}.")
        if (
            isinstance(amount, bool)
            or not isinstance(amount, int | Decimal)
            or not Decimal(amount).is_finite()
            or amount < 0
        ):
            raise _wrong(key, f"{amount!r} is no amount", "Give US dollars as a number, such as 0.035.")
        found[key] = Price(model, Decimal(amount), source=f"your {PRICES_FILE}")
    return found


def _wrong(key: str, what: str, remedy: str) -> InputRefused:
    return InputRefused(f"The price of '{key}' in your {PRICES_FILE} cannot be used: {what}.", remedy=remedy, thing=key)


def _own_prices() -> Mapping[str, Price]:
    for home in _home:
        path = home / PRICES_FILE
        try:
            stamp = path.stat().st_mtime_ns
        except OSError:
            continue
        if path not in _read or _read[path][0] != stamp:
            _read[path] = (stamp, read_prices(path.read_text(encoding="utf-8")))
        return _read[path][1]
    return {}


def price_of(row: HostedModel) -> Price:
    """What a row charges: the user's own price by the row's id, then by ``vendor/model``, then the catalog's."""
    own = _own_prices()
    found = own.get(row.id) or own.get(f"{row.vendor}/{row.model}") or row.price
    return found if found.model else replace(found, model=row.price.model)


def estimate_training(row: HostedModel, *, steps: int, seconds: float | None = None) -> Estimate:
    """What one training costs and takes. ``seconds``: how long it will run, if that is known better than by the row."""
    price = price_of(row)
    usual = seconds if seconds is not None else row.seconds
    if seconds is None and usual is not None and row.steps > 0:
        usual *= steps / row.steps
    if price.model == "per_step":
        return _estimate(price, price.amount * steps, usual, f"{steps:,} steps at ${price.amount}")
    return _by_time_or_run(price, 1, usual, _GUESSED_TRAINING)


def estimate_pictures(
    row: HostedModel, *, width: int, height: int, steps: int, count: int, lora_bytes: int = 0
) -> Estimate:
    """What ``count`` pictures cost, and take one after the other. ``lora_bytes`` is the size of all loras together."""
    price = price_of(row)
    more = Decimal(steps) / row.steps if row.steps and steps > row.steps else Decimal(1)
    usual = None if row.seconds is None else row.seconds * float(more)
    if price.model in ("per_megapixel", "per_megapixel_step"):
        megapixels = math.ceil(width * height / row.megapixel)
        each = price.amount * megapixels * (more if price.model == "per_megapixel_step" else 1)
        note = f"{count:,} × {megapixels} MP at ${price.amount}"
        whole = _estimate(price, each * count, usual, note)
    elif price.model == "per_step":
        whole = _estimate(price, price.amount * steps * count, usual, f"{count:,} × {steps} steps at ${price.amount}")
    else:
        whole = _by_time_or_run(price, count, usual, _GUESSED_PICTURE)
    over = math.ceil(max(0, lora_bytes - row.free_lora_bytes) / GIGABYTE)
    if row.lora_surcharge and over:
        amount = _rounded(whole.amount * (1 + row.lora_surcharge * over))
        whole = replace(whole, amount=amount, note=f"{whole.note}, +{row.lora_surcharge * over:.0%} for large loras")
    return replace(whole, seconds=None if usual is None else usual * count)


def _by_time_or_run(price: Price, count: int, usual: float | None, guess: float) -> Estimate:
    """Prices that do not depend on the order's size."""
    times = f"{count:,} × " if count > 1 else ""
    if price.model == "free":
        return Estimate(Decimal(0), usual, price.certain, "free")
    if price.model == "per_second":
        seconds = guess if usual is None else usual
        known = price.certain and usual is not None
        note = f"{times}about {seconds:,.0f} s at ${price.amount}"
        return _estimate(replace(price, certain=known), price.amount * Decimal(str(seconds)) * count, usual, note)
    # A way to charge that this order cannot be measured by is taken as an amount a run, and said to be a guess.
    known = price.certain and price.model == "per_run"
    return _estimate(replace(price, certain=known), price.amount * count, usual, f"{times}${price.amount} a run")


def _estimate(price: Price, amount: Decimal, seconds: float | None, note: str) -> Estimate:
    return Estimate(_rounded(amount), seconds, price.certain, note)


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(_SMALLEST, rounding=ROUND_UP)
