"""Consent and budgets: what is asked, what is refused, and in which words."""

from __future__ import annotations

from decimal import Decimal

import pytest

from limner.errors import ConsentNeeded, SpendingRefused
from limner.money.budgets import check_budgets
from limner.money.consent import check_consent
from limner.settings import Settings
from limner.types import BUDGETS, Budget, Estimate

ONE = Decimal("1.00")


@pytest.mark.parametrize(
    ("amount", "certain", "asked"),
    [("0", True, False), ("1.00", True, False), ("1.01", True, True), ("0.01", False, True), ("0", False, True)],
)
def test_what_is_asked_about(amount: str, certain: bool, asked: bool) -> None:
    estimate = Estimate(Decimal(amount), certain=certain)
    if asked:
        with pytest.raises(ConsentNeeded):
            check_consent(estimate, ONE, yes=False)
    else:
        check_consent(estimate, ONE, yes=False)
    check_consent(estimate, ONE, yes=True)


def test_the_question_names_the_amount_and_the_way_to_say_yes() -> None:
    with pytest.raises(ConsentNeeded) as question:
        check_consent(Estimate(Decimal("2.4"), note="1,000 steps at $0.0024"), ONE, yes=False)
    assert question.value.message == "This is about $2.40 (1,000 steps at $0.0024). Nothing was sent."
    assert "--yes" in question.value.remedy and "LIMNER_CONSENT_ABOVE" in question.value.remedy
    assert (question.value.exit_code, question.value.status) == (9, 402)


def test_a_guess_and_an_unknown_amount_are_called_so() -> None:
    with pytest.raises(ConsentNeeded, match=r"perhaps \$0\.50.*guess"):
        check_consent(Estimate(Decimal("0.5"), certain=False), ONE, yes=False)
    with pytest.raises(ConsentNeeded, match="an unknown amount"):
        check_consent(Estimate(certain=False), ONE, yes=False)


def test_a_budget_allows_its_last_cent_and_no_more() -> None:
    budget = Budget("day", Decimal(5), Decimal("4.99"))
    check_budgets([budget], Decimal("0.01"), what="picture")
    with pytest.raises(SpendingRefused) as refused:
        check_budgets([budget], Decimal("0.02"), what="picture at fal")
    assert refused.value.message == (
        "The picture at fal costs about $0.0200, and of the budget of $5.00 for today (UTC) $4.99 is spent: "
        "it would be exceeded. Nothing was sent."
    )
    assert "LIMNER_BUDGET_DAY" in refused.value.remedy and "midnight UTC" in refused.value.remedy


def test_a_budget_that_is_exceeded_already_has_nothing_left_and_lets_free_steps_pass() -> None:
    budget = Budget("subject", Decimal(1), Decimal(3), "rex")
    assert (budget.left, budget.words) == (Decimal(0), "for 'rex'")
    check_budgets([budget], Decimal(0), what="picture")


def test_every_kind_of_budget_is_a_setting() -> None:
    assert {f"budget_{kind}" for kind in BUDGETS} == {
        name for name in Settings.model_fields if name.startswith("budget_")
    }
