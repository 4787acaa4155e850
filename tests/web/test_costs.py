"""The page of costs: sums, budgets, what only the user can decide, and the export."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from fastapi.testclient import TestClient

from limner.operations.jobs import lifecycle
from limner.store.models import IntentRow, LedgerRow
from limner.studio import Studio
from limner.web.access import Rules
from limner.web.app import create_app
from tests.stage_requests import StoredRequest

from .conftest import Browser


def spend(
    studio: Studio, amount: str, *, billed: str | None = None, subject: str = "rex", vendor: str = "fal", days: int = 0
) -> str:
    """A cost so many days ago; the id of its job."""
    with studio._workspace.database.write() as session:
        job = lifecycle.add_job(session, kind="generate", stages=[StoredRequest("generate")], subject=subject)
        session.add(
            LedgerRow(
                job=job.id,
                subject=subject,
                vendor=vendor,
                what="picture",
                estimated=Decimal(amount),
                actual=None if billed is None else Decimal(billed),
                created_at=datetime.now(UTC) - timedelta(days=days),
            )
        )
        return job.id


def lose(studio: Studio, tag: str = "generation_51c4a0c2d7e9f3b8-3") -> str:
    """A purchase of which nobody can tell; its tag."""
    job = spend(studio, "0.01", billed="0.01")
    with studio._workspace.database.write() as session:
        session.add(
            IntentRow(
                tag=tag,
                job=job,
                subject="rex",
                vendor="together",
                what="picture",
                model="black-forest-labs/FLUX.2-dev",
                estimate=Decimal("0.45"),
                request={},
                state="undecided",
                note="The connection broke off.",
            )
        )
        session.add(
            LedgerRow(
                job=job,
                intent=tag,
                subject="rex",
                vendor="together",
                what="picture",
                estimated=Decimal("0.45"),
                actual=None,
            )
        )
    return tag


@pytest.fixture
def spent(studio: Studio) -> Studio:
    studio.subjects.add("rex", kind="pet")
    studio.subjects.add("zibbo", kind="character")
    spend(studio, "2.00", billed="1.50")
    spend(studio, "0.75", subject="zibbo", vendor="replicate", days=3)
    spend(studio, "9.00", billed="9.00", days=100)
    return studio


def test_an_empty_home_says_so(client: TestClient) -> None:
    answer = client.get("/costs")
    assert answer.status_code == 200
    assert "Nothing was paid" in answer.text
    assert "No budget is set" in answer.text


def test_sums_tell_billed_from_estimated(client: TestClient, spent: Studio) -> None:
    text = client.get("/costs").text
    assert "$2.25" in text
    assert "$1.50" in text
    assert "$9.00" not in text
    assert "desk-estimated" in text
    assert "<svg" in text
    assert "style=" not in text
    assert "$11.25" in client.get("/costs?days=all").text


def test_filters(client: TestClient, spent: Studio) -> None:
    text = client.get("/costs?subject=zibbo").text
    assert "$0.7500" not in text
    assert "$0.75" in text
    assert "$1.50" not in text
    assert client.get("/costs?days=nonsense&subject=" + "x" * 900).status_code == 200
    assert client.get("/costs?subject=%27%3B--&days=-1").status_code == 200
    months = client.get("/costs?days=365").text
    assert "By month" in months


def test_the_export_is_csv_for_spreadsheets(client: TestClient, spent: Studio) -> None:
    answer = client.get("/costs/export?days=all")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert sorted(Decimal(row["amount"]) for row in rows) == [Decimal("0.75"), Decimal("1.5"), Decimal(9)]
    assert Decimal(client.get("/costs/export?kind=json").json()["total"]) == Decimal("2.25")


@pytest.mark.parametrize("decision", ["paid", "drop", "again"])
def test_a_decision_is_explained_and_taken_once(client: TestClient, spent: Studio, decision: str) -> None:
    tag = lose(spent)
    text = client.get("/costs").text
    assert "It was paid" in text
    assert "are paid twice" in text
    assert client.post(f"/costs/purchases/{tag}", data={"decision": decision}).status_code == 303
    assert all(one.state != "undecided" for one in spent.payments.open())
    # Double submit, or the other tab: said, and nothing done.
    second = client.post(f"/costs/purchases/{tag}", data={"decision": decision})
    assert second.status_code in (303, 404)
    assert client.get("/costs").status_code == 200


def test_a_decision_that_is_none_is_refused(client: TestClient, spent: Studio) -> None:
    tag = lose(spent)
    client.post(f"/costs/purchases/{tag}", data={"decision": "burn"})
    assert [one.state for one in spent.payments.open()] == ["undecided"]
    assert client.post("/costs/purchases/none", data={"decision": "paid"}).status_code == 404


def test_budgets_are_changed_from_here_and_hold_at_once(client: TestClient, app: object, spent: Studio) -> None:
    seen = spent.settings_file.report().seen
    sent = {"seen": seen, "budget_day": "5", "budget_total": "50", "budget_subject": "", "consent_above": "1.00"}
    assert client.post("/costs/budgets", data=sent).status_code == 303
    assert (spent.settings.home / "limner.toml").read_text() == 'budget_day = "5"\nbudget_total = "50"\n'
    text = client.get("/costs").text
    assert "of $5.00" in text
    assert "<meter" in text
    # The other tab.
    late = client.post("/costs/budgets", data=sent | {"budget_day": "7"})
    assert late.status_code == 412
    assert "was changed since this page was opened" in late.text
    assert 'value="7"' in late.text


def test_a_wrong_budget_comes_back_with_what_is_wrong(client: TestClient, spent: Studio) -> None:
    answer = client.post("/costs/budgets", data={"budget_day": "-3", "seen": spent.settings_file.report().seen})
    assert answer.status_code == 422
    assert 'value="-3"' in answer.text
    assert "greater than or equal to 0" in answer.text


def test_who_is_no_admin_sees_their_own_costs_and_changes_no_budget(studio: Studio) -> None:
    studio.members.add("anna", "four words nobody guesses")
    studio.members.add("ben", "four other words nobody guesses")
    studio.subjects.add("rex", kind="pet")
    tag = lose(studio)
    app = create_app(studio.settings, rules=Rules(login=True))
    with Browser(app, base_url="http://localhost", follow_redirects=False) as ben:
        ben.cookies.set(app.state.doorkeeper.names.session, studio.members.open_session("ben"))
        text = ben.get("/costs").text
        assert "Nothing was paid" in text
        assert "Change the budgets" not in text
        refused = ben.post("/costs/budgets", data={"budget_day": "999"})
        assert refused.status_code == 403
        assert "Only an admin may do this" in refused.text
        assert ben.post(f"/costs/purchases/{tag}", data={"decision": "paid"}).status_code == 404
        for path in ("/settings", "/settings/webhooks", "/accounts", "/system"):
            assert ben.get(path).status_code == 403, path
    assert [one.state for one in studio.payments.open()] == ["undecided"]
    assert studio.settings_file.report()["budget_day"].value == ""
