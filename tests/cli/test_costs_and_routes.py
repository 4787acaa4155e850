"""limner costs and limner routes: what they show, export and decide, at eighty columns and as JSON."""

from __future__ import annotations

import asyncio
import csv
import json
from decimal import Decimal
from pathlib import Path

import pytest

from limner.errors import AnswerLost, Undecided
from limner.money.payments import Purchase, Receipt
from limner.operations.home.workspace import Workspace
from limner.operations.payments.purchases import StoredPayments
from limner.settings import Settings

from .conftest import Shell

NARROW = {"COLUMNS": "80"}


async def bought() -> Receipt:
    return Receipt("job-1", cost=Decimal("1.46"))


async def drawn() -> Receipt:
    return Receipt("picture-1")


async def lost() -> Receipt:
    raise AnswerLost("The answer is lost.")


@pytest.fixture
def spent(limner: Shell) -> Shell:
    """A home with a training of known cost, twelve pictures of estimated cost, and two that nobody can tell about."""
    workspace = Workspace(Settings(home=limner.home))
    payments = StoredPayments(workspace, "job_1", "rex")
    dear, cheap = Decimal("1.50"), Decimal("0.021")

    async def spend() -> None:
        training = Purchase("training_a", "replicate", "training", "ostris/flux-dev-lora-trainer", dear)
        await payments.once(training, send=bought)
        for number in range(14):
            picture = Purchase(f"generation_b-{number}", "together", "picture", "FLUX.2-dev", cheap)
            if number < 12:
                await payments.once(picture, send=drawn)
                continue
            with pytest.raises(Undecided):
                await payments.once(picture, send=lost)

    asyncio.run(spend())
    workspace.close()
    return limner


def test_the_table_sums_up_and_says_what_waits(spent: Shell) -> None:
    shown = spent("costs", env={**NARROW, "LIMNER_BUDGET_TOTAL": "5"})
    assert shown.code == 0 and not shown.err
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 80
    # 12 stored and 2 undecided pictures: an amount that may have been paid counts.
    assert any(line.split()[1:] == ["together", "picture", "rex", "14", "about", "$0.29"] for line in lines)
    assert any(line.split()[1:] == ["replicate", "training", "rex", "1", "$1.46"] for line in lines)
    assert "In all $1.75, of which $0.29 is estimated." in lines
    assert "Budget in all: $1.75 of $5.00 is spent, $3.25 is left." in lines
    assert "2 may have been paid and wait for your word: limner costs open" in shown.out


def test_it_can_be_narrowed_down_and_read_as_json(spent: Shell) -> None:
    found = spent("costs", "--vendor", "replicate", "--days", "1", "--json").json
    assert (found["total"], found["estimated"], found["undecided"]) == ("1.460000", "0", 2)
    assert [entry["tag"] for entry in found["entries"]] == ["training_a"]
    assert spent("costs", "--subject", "tom", "--json").json["entries"] == []
    assert spent("costs", "--days", "0").code == 2


def test_every_single_cost_can_be_exported(spent: Shell, tmp_path: Path) -> None:
    told = spent("costs", "--export", tmp_path / "costs.csv")
    assert told.out == f"Wrote 15 costs to {tmp_path / 'costs.csv'}.\n"
    with (tmp_path / "costs.csv").open(newline="", encoding="utf-8") as source:
        rows = list(csv.DictReader(source))
    assert len(rows) == 15 and sum(Decimal(row["amount"]) for row in rows) == Decimal("1.754")
    assert spent("costs", "--export", tmp_path / "costs.json", "--json").json["costs"] == 15
    assert json.loads((tmp_path / "costs.json").read_text(encoding="utf-8"))["total"] == "1.754000"
    refused = spent("costs", "--export", tmp_path / "costs.pdf")
    assert refused.code == 2 and ".csv or .json" in refused.err


def test_one_is_decided_or_all_of_a_generation(spent: Shell) -> None:
    waiting = spent("costs", "open", env=NARROW)
    assert "generation_b-12" in waiting.out and "limner costs decide TAG again" in waiting.out
    assert max(map(len, waiting.out.splitlines())) <= 80
    assert [one["tag"] for one in spent("costs", "open", "--json").json] == ["generation_b-12", "generation_b-13"]
    again = spent("costs", "decide", "generation_b-12", "again")
    assert "limner jobs resume job_1" in again.out
    assert spent("costs", "--json").json["total"] == "1.733000"
    [dropped] = spent("costs", "decide", "generation_b", "drop", "--json").json
    assert (dropped["tag"], dropped["state"]) == ("generation_b-13", "dropped")
    assert spent("costs", "open").out == "Nothing waits for you.\n"
    assert spent("costs", "--json").json["total"] == "1.712000"


def test_decisions_that_cannot_be_taken_are_explained(spent: Shell) -> None:
    nothing = spent("costs", "decide", "generation_z", "drop")
    assert nothing.code == 3 and "limner costs open" in nothing.err
    nonsense = spent("costs", "decide", "generation_b-12", "perhaps")
    assert nonsense.code == 2 and "again" in nonsense.err
    assert spent("costs", "decide", "training_a", "drop").code == 4


def test_a_home_where_nothing_was_paid_says_so(limner: Shell) -> None:
    assert limner("costs").out == "Nothing was paid.\n"


def test_routes_fit_a_narrow_terminal_and_name_what_is_missing(limner: Shell) -> None:
    for words in (["--base", "flux1-dev", "--all"], ["--base", "flux2-dev"], []):
        shown = limner("routes", *words, env=NARROW)
        assert shown.code == 0 and max(map(len, shown.out.splitlines())) <= 80
    assert "✓ local → local  free" in shown.out
    hopeless = limner("routes", "--base", "flux1-dev", env={**NARROW, "LIMNER_DEVICE": "cpu"}).out
    assert "None works here yet." in hopeless and "limner routes --base flux1-dev --all" in hopeless


def test_routes_as_json_hold_those_that_do_not_work_too(limner: Shell) -> None:
    found = limner("routes", "--base", "limner-tiny", "--json").json
    assert found[0]["works"] and found[0]["cost"] == "0" and found[0]["pictures"] == 10
    assert all(one["works"] or one["reasons"] for one in found)
    assert limner("routes", "--subject", "nobody").code == 3
