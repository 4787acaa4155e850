"""The ledger as a file: every line, every digit, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from limner.errors import InputRefused
from limner.money.exports import as_csv, as_json, export_text
from limner.records import Cost, CostSummary

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def cost(**changes: object) -> Cost:
    facts = {
        "at": AT,
        "amount": Decimal("0.021"),
        "estimated": Decimal("0.021000"),
        "actual": None,
        "vendor": "fal",
        "what": "picture",
        "model": "fal-ai/flux-2/lora",
        "subject": "rex",
        "job": "job_1",
        "tag": "generation_1-0",
        "state": "settled",
        "note": "",
    }
    return Cost(**{**facts, **changes})  # type: ignore[arg-type]


def summary(*entries: Cost) -> CostSummary:
    return CostSummary(entries, Decimal("0.021"), Decimal("0.021"), {"2026-11-24": Decimal("0.021")}, {}, {}, ())


def test_csv_has_a_line_a_cost_with_all_digits() -> None:
    names, line = csv.reader(io.StringIO(as_csv([cost()])))
    assert dict(zip(names, line, strict=True)) == {
        "at": "2026-11-24T12:00:00+00:00",
        "amount": "0.021",
        "estimated": "0.021000",
        "actual": "",
        "vendor": "fal",
        "what": "picture",
        "model": "fal-ai/flux-2/lora",
        "subject": "rex",
        "job": "job_1",
        "tag": "generation_1-0",
        "state": "settled",
        "note": "",
    }


@given(some.text(some.characters(codec="utf-8", exclude_characters="\0")))
def test_any_words_survive_and_none_is_a_formula(words: str) -> None:
    _, line = csv.reader(io.StringIO(as_csv([cost(note=words)]), newline=""))
    assert line[-1].removeprefix("'") == words.removeprefix("'") or line[-1] == words
    assert not line[-1].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_json_holds_the_sums_too() -> None:
    found = json.loads(as_json(summary(cost(), cost(actual=Decimal("0.03")))))
    assert (found["total"], found["by_day"]) == ("0.021", {"2026-11-24": "0.021"})
    assert [entry["actual"] for entry in found["entries"]] == [None, "0.03"]


@pytest.mark.parametrize("suffix", ["", ".txt", ".xlsx"])
def test_another_ending_is_refused(suffix: str) -> None:
    with pytest.raises(InputRefused, match="not written as"):
        export_text(summary(), suffix)
    assert export_text(summary(cost()), ".CSV").startswith("at,amount")
