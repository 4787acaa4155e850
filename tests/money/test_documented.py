"""docs/guide/costs.md against the code: its examples are read, its table names every way to charge."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from limner.money.prices import MODELS, read_prices
from limner.operations.payments.purchases import DECISIONS
from limner.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "costs.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_budgets_are_settings() -> None:
    assert set(tomllib.loads(BLOCKS[0])) == {name for name in Settings.model_fields if name.startswith("budget_")}


def test_the_prices_are_read_with_the_catalog_as_it_is() -> None:
    assert len(read_prices(BLOCKS[1])) == 3


def test_every_way_to_charge_is_told() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(MODELS) - {"free"}


def test_every_decision_is_told() -> None:
    for decision, meaning in DECISIONS.items():
        assert re.search(rf"decide \S+ {decision} +# {re.escape(meaning)}$", PAGE, re.MULTILINE)
