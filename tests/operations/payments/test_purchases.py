"""Paid at most once: with kills at every point, lost answers, two buyers at once, budgets and the user's decisions."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from limner.errors import (
    AnswerLost,
    Conflict,
    InputRefused,
    NotFound,
    SpendingRefused,
    StorageFailed,
    Undecided,
    VendorRefused,
)
from limner.money import payments as money
from limner.money.payments import Purchase, Receipt, announce
from limner.operations.erasure import subject
from limner.operations.home.workspace import Workspace
from limner.operations.payments import batch_writer, erase, ledger, purchases
from limner.operations.payments import purchase_lock as alone
from limner.operations.payments.intents import IntentState
from limner.operations.payments.purchases import StoredPayments
from limner.settings import Settings
from limner.store.models import IntentRow, JobRow, LedgerRow, SubjectRow
from limner.vendors.secrets.tokens import Secret
from tests.operations.counting_vendor import POINTS, buy, vendor
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[3]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.operations.counting_vendor"])
CENT = Decimal("0.01")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(money, "LOOKS", (0.0, 0.0))


@pytest.fixture
def workspace(tmp_path: Path) -> Any:
    made = Workspace(Settings(home=tmp_path / "home"))
    yield made
    made.close()


def budgeted(workspace: Workspace, **budgets: str) -> Workspace:
    for name, limit in budgets.items():
        setattr(workspace.settings, name, Decimal(limit))
    return workspace


def purchase(tag: str = "generation_1-0", cost: Decimal = CENT, **options: Any) -> Purchase:
    return Purchase(tag, "shop", "picture", "shop/model", cost, **options)


class Shop:
    """The vendor as ``send`` and ``find`` see it, in this process."""

    def __init__(self, *answers: Exception | Receipt) -> None:
        self.answers = list(answers)
        self.sent = 0
        self.listed: Receipt | None = None

    async def send(self) -> Receipt:
        self.sent += 1
        answer = self.answers.pop(0) if self.answers else Receipt("job-1", cost=Decimal("0.02"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def find(self) -> Receipt | None:
        return self.listed


def state_of(workspace: Workspace, tag: str = "generation_1-0") -> tuple[str, Decimal | None]:
    with workspace.database.read() as session:
        line = session.scalars(select(LedgerRow).where(LedgerRow.intent == tag)).one()
        return session.get_one(IntentRow, tag).state, line.actual


def once(workspace: Workspace, shop: Shop, *, find: bool = True, settle: bool = True, **options: Any) -> Receipt:
    payments = StoredPayments(workspace, "job_1", options.pop("subject", "rex"))
    finding = shop.find if find else None
    return asyncio.run(payments.once(purchase(**options), send=shop.send, find=finding, settle=settle))


# --- killed -----------------------------------------------------------------------------------------------------


def kill_buyer(home: Path, url: str, **options: Any) -> None:
    """A buyer in a process of its own, to its end by SIGKILL."""
    buyer = PROCESSES.Process(target=buy, args=(home, url), kwargs={"tag": "generation_1-0", **options})
    buyer.start()
    buyer.join(PATIENCE)
    assert buyer.exitcode == -signal.SIGKILL


def run_buyer(home: Path, url: str, **options: Any) -> subprocess.Popen[str]:
    words = json.dumps({"home": str(home), "url": url, "tag": "generation_1-0", **options})
    return subprocess.Popen(
        [sys.executable, "-m", "tests.operations.counting_vendor", words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("settle", [True, False], ids=["settled at once", "settled later"])
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
@pytest.mark.parametrize("die", POINTS)
def test_a_buyer_that_is_killed_anywhere_pays_once(workspace: Workspace, die: str, listed: bool, settle: bool) -> None:
    with vendor() as shop:
        options = {"listed": listed, "announced": True, "settle": settle}
        kill_buyer(workspace.home, shop.url, die=die, **options)
        paid_before = len(shop.paid)
        assert paid_before == (POINTS.index(die) >= POINTS.index("after the call"))
        again: Any
        try:
            again = buy(workspace.home, shop.url, tag="generation_1-0", die="", **options).reference
        except Undecided:
            again = "undecided"
        assert len(shop.paid) <= 1
        surely_not_sent = POINTS.index(die) < POINTS.index("going out")
        stored = die == "after the record" and settle
        if listed or surely_not_sent or stored:
            assert (again, len(shop.paid)) == ("job-1", 1)
            assert state_of(workspace)[0] == IntentState.SETTLED
        else:
            assert again == "undecided"
            assert [one.tag for one in purchases.undecided(workspace)] == ["generation_1-0"]
            # It is counted as paid until the user says otherwise.
            assert ledger.summary(workspace).total == Decimal("0.02")


def test_a_buyer_that_is_killed_at_one_point_after_the_other_pays_once(workspace: Workspace) -> None:
    with vendor() as shop:
        options: dict[str, Any] = {"listed": True, "announced": True, "settle": False}
        for die in (*POINTS[:7], "in the record", *POINTS[7:]):
            buyer = PROCESSES.Process(
                target=buy, args=(workspace.home, shop.url), kwargs={"tag": "generation_1-0", "die": die, **options}
            )
            buyer.start()
            buyer.join(PATIENCE)
            assert buyer.exitcode in (0, -signal.SIGKILL)
        assert buy(workspace.home, shop.url, tag="generation_1-0", die="", **options).reference == "job-1"
        assert shop.paid == ["generation_1-0"]
        # The vendor's list does not say what it cost, so the estimate counts.
        assert state_of(workspace) == (IntentState.SETTLED, None)


def test_one_that_does_not_announce_counts_as_sent_from_the_claim(workspace: Workspace) -> None:
    with vendor() as shop:
        options: dict[str, Any] = {"listed": False, "announced": False, "settle": True}
        kill_buyer(workspace.home, shop.url, die="waiting for a turn", **options)
        with pytest.raises(Undecided):
            buy(workspace.home, shop.url, tag="generation_1-0", die="", **options)
        assert shop.paid == []


def test_two_processes_at_once_buy_once(workspace: Workspace) -> None:
    with vendor() as shop:
        shop.pause = 1.0
        options: dict[str, Any] = {"listed": False, "announced": True, "settle": True, "die": ""}
        buyers = [run_buyer(workspace.home, shop.url, **options) for _ in range(3)]
        assert [one.communicate(timeout=PATIENCE)[0] for one in buyers] == ["job-1\n"] * 3
        assert shop.paid == ["generation_1-0"]


# --- in one process ---------------------------------------------------------------------------------------------


def test_tasks_at_once_buy_once_and_all_get_the_receipt(workspace: Workspace) -> None:
    shop = Shop()

    async def slow() -> Receipt:
        await asyncio.sleep(0.05)
        return await shop.send()

    async def all_at_once() -> list[Receipt]:
        payments = [StoredPayments(workspace, "job_1", "rex") for _ in range(8)]
        return await asyncio.gather(*(one.once(purchase(), send=slow) for one in payments))

    found = asyncio.run(all_at_once())
    assert {one.reference for one in found} == {"job-1"}
    assert shop.sent == 1
    assert state_of(workspace) == (IntentState.SETTLED, Decimal("0.02"))


def test_a_sure_refusal_costs_nothing_and_is_tried_again_by_the_next_run(workspace: Workspace) -> None:
    shop = Shop(VendorRefused("No such model."))
    with pytest.raises(VendorRefused):
        once(workspace, shop)
    assert state_of(workspace) == (IntentState.REFUSED, Decimal(0))
    assert ledger.summary(workspace).total == 0
    assert once(workspace, shop).reference == "job-1"
    assert (shop.sent, ledger.summary(workspace).total) == (2, Decimal("0.02"))


def test_a_lost_answer_is_found_at_the_vendor(workspace: Workspace) -> None:
    shop = Shop(AnswerLost("Lost."))
    shop.listed = Receipt("job-7", cost=Decimal("0.03"))
    assert once(workspace, shop).reference == "job-7"
    assert (shop.sent, state_of(workspace)) == (1, (IntentState.SETTLED, Decimal("0.03")))


def test_a_lost_answer_that_the_vendor_does_not_list_was_not_paid(workspace: Workspace) -> None:
    shop = Shop(AnswerLost("Lost."))
    with pytest.raises(AnswerLost, match="not done and not paid"):
        once(workspace, shop)
    assert state_of(workspace) == (IntentState.REFUSED, Decimal(0))


def test_a_lost_answer_without_a_list_asks_the_user_and_is_never_sent_again(workspace: Workspace) -> None:
    shop = Shop(AnswerLost("Lost."))
    for _ in range(3):
        with pytest.raises(Undecided, match="may have been paid") as asked:
            once(workspace, shop, find=False)
    assert "limner costs decide generation_1-0" in asked.value.remedy
    assert shop.sent == 1
    assert state_of(workspace) == (IntentState.UNDECIDED, None)
    # A vendor that can list it after all settles the doubt.
    shop.listed = Receipt("job-9")
    assert once(workspace, shop).reference == "job-9"
    assert shop.sent == 1


def test_an_unexpected_failure_before_it_went_out_costs_nothing(workspace: Workspace) -> None:
    with pytest.raises(KeyError):
        once(workspace, Shop(KeyError("id")), announced=True)  # type: ignore[arg-type]
    assert state_of(workspace) == (IntentState.REFUSED, Decimal(0))


def test_an_unexpected_failure_leaves_it_open(workspace: Workspace) -> None:
    shop = Shop(KeyError("id"))  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        once(workspace, shop)
    assert state_of(workspace)[0] == IntentState.OPEN
    shop.listed = Receipt("job-2")
    assert (once(workspace, shop).reference, shop.sent) == ("job-2", 1)


def test_a_list_that_lags_behind_a_crash_is_looked_at_again(workspace: Workspace) -> None:
    shop = Shop(KeyError("id"))  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        once(workspace, shop)
    looks = iter([None, None, Receipt("job-3")])

    async def find() -> Receipt | None:
        return next(looks)

    shop.find = find  # type: ignore[method-assign]
    assert (once(workspace, shop).reference, shop.sent) == ("job-3", 1)


def test_a_list_that_cannot_be_read_decides_nothing(workspace: Workspace) -> None:
    shop = Shop(AnswerLost("Lost."))

    async def find() -> Receipt | None:
        raise VendorRefused("The list is closed.")

    shop.find = find  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(VendorRefused, match="list is closed"):
            once(workspace, shop)
    assert (shop.sent, state_of(workspace)[0]) == (1, IntentState.OPEN)


@pytest.mark.parametrize("announced", [True, False])
def test_a_purchase_stopped_before_its_turn_was_not_sent_if_senders_say_when(
    workspace: Workspace, announced: bool
) -> None:
    begun = asyncio.Event()

    async def waits() -> Receipt:
        begun.set()
        await asyncio.sleep(600)
        await announce()
        raise AssertionError

    async def stopped() -> None:
        task = asyncio.ensure_future(StoredPayments(workspace, "job_1").once(purchase(announced=announced), send=waits))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    assert state_of(workspace)[0] == (IntentState.REFUSED if announced else IntentState.OPEN)


def test_a_purchase_stopped_while_it_is_written_down_was_not_sent(workspace: Workspace) -> None:
    shop = Shop()

    async def stopped() -> None:
        # The one writer is kept busy, so that the claim is not written before the wish to stop comes.
        go_on = threading.Event()
        batch_writer.write(workspace.database, lambda session: go_on.wait(PATIENCE))
        task = asyncio.ensure_future(StoredPayments(workspace, "job_1").once(purchase(), send=shop.send))
        await asyncio.sleep(0.05)
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    assert (shop.sent, state_of(workspace)) == (0, (IntentState.REFUSED, Decimal(0)))


def test_an_answer_is_asked_for_again_where_it_was_not_stored(workspace: Workspace) -> None:
    shop = Shop()
    once(workspace, shop, settle=False)
    assert state_of(workspace) == (IntentState.ANSWERED, Decimal("0.02"))
    shop.listed = Receipt("job-1", answer="the picture")
    assert once(workspace, shop, settle=False).answer == "the picture"
    asyncio.run(StoredPayments(workspace, "job_1").settle("generation_1-0", cost=Decimal("0.05"), reference="job-1"))
    assert (shop.sent, state_of(workspace)) == (1, (IntentState.SETTLED, Decimal("0.05")))


def test_an_answer_that_is_nowhere_any_more_asks_the_user(workspace: Workspace) -> None:
    shop = Shop()
    once(workspace, shop, settle=False)
    with pytest.raises(Undecided, match="was bought at shop"):
        once(workspace, shop, settle=False)
    purchases.decide(workspace, "generation_1-0", "again")
    once(workspace, shop, settle=False)
    # Both were paid, and both count.
    assert (shop.sent, ledger.summary(workspace).total) == (2, Decimal("0.04"))


def test_what_another_vendor_may_have_done_is_not_looked_for_here(workspace: Workspace) -> None:
    shop = Shop(AnswerLost("Lost."))
    with pytest.raises(Undecided):
        once(workspace, shop, find=False)
    other = Purchase("generation_1-0", "elsewhere", "picture", "m", CENT)
    with pytest.raises(Undecided, match="at shop before"):
        asyncio.run(StoredPayments(workspace, "job_1").once(other, send=shop.send, find=shop.find))
    assert shop.sent == 1


def test_settling_what_is_not_there_is_harmless(workspace: Workspace) -> None:
    asyncio.run(StoredPayments(workspace, "job_1").settle("nothing", cost=CENT))
    assert ledger.entries(workspace) == []


# --- budgets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["day", "subject", "total"])
def test_a_budget_refuses_before_anything_is_sent(workspace: Workspace, kind: str) -> None:
    budgeted(workspace, **{f"budget_{kind}": "0.05"})
    shop = Shop(Receipt("job-1", cost=Decimal("0.03")))
    once(workspace, shop, tag="a-0", cost=Decimal("0.05"))
    with pytest.raises(SpendingRefused) as refused:
        once(workspace, shop, tag="a-1", cost=Decimal("0.03"))
    assert f"LIMNER_BUDGET_{kind.upper()}" in refused.value.remedy
    assert "$0.0300" in refused.value.message and "$0.05" in refused.value.message
    assert shop.sent == 1
    with workspace.database.read() as session:
        assert session.get(IntentRow, "a-1") is None
    # The actual cost counts where it is known, so 2 cents are left.
    once(workspace, shop, tag="a-2", cost=Decimal("0.02"))
    assert (shop.sent, [b.left for b in ledger.budgets(workspace, "rex")]) == (2, [Decimal(0)])


def test_the_budget_of_a_subject_is_its_own_and_that_of_a_day_ends_with_it(workspace: Workspace) -> None:
    budgeted(workspace, budget_subject="0.05", budget_day="0.08")
    shop = Shop()
    once(workspace, shop, tag="a-0", cost=Decimal("0.05"))
    with workspace.database.write() as session:
        for line in session.scalars(select(LedgerRow)):
            line.actual = Decimal("0.05")
    once(workspace, shop, tag="b-0", cost=Decimal("0.03"), subject="tom")
    with pytest.raises(SpendingRefused, match="for 'rex'"):
        once(workspace, shop, tag="a-1", cost=CENT)
    with pytest.raises(SpendingRefused, match="for today"):
        once(workspace, shop, tag="b-1", cost=Decimal("0.02"), subject="tom")
    with workspace.database.write() as session:
        for line in session.scalars(select(LedgerRow)):
            line.created_at = line.created_at.replace(year=2020)
    once(workspace, shop, tag="b-1", cost=Decimal("0.02"), subject="tom")


def test_what_costs_nothing_is_never_refused(workspace: Workspace) -> None:
    budgeted(workspace, budget_total="0")
    once(workspace, Shop(), cost=Decimal(0))
    with pytest.raises(SpendingRefused):
        once(workspace, Shop(), tag="b-0", cost=Decimal("0.000001"))


def test_a_thousand_at_once_stay_within_the_budget_and_are_no_burden(workspace: Workspace) -> None:
    budgeted(workspace, budget_total="5.00")
    shop = Shop()

    async def all_at_once() -> list[Any]:
        payments = StoredPayments(workspace, "job_1", "rex")
        bought = (payments.once(purchase(f"g-{n}", announced=True), send=send) for n in range(1000))
        return await asyncio.gather(*bought, return_exceptions=True)

    async def send() -> Receipt:
        await announce()
        await asyncio.sleep(0.01)
        shop.sent += 1
        return Receipt("job")

    started = time.process_time()
    found = asyncio.run(all_at_once())
    assert time.process_time() - started < 60, "a thousand must not get in each other's way"
    assert shop.sent == 500
    assert sum(isinstance(one, SpendingRefused) for one in found) == 500
    assert ledger.summary(workspace).total == Decimal("5.00")


# --- decisions --------------------------------------------------------------------------------------------------


def doubtful(workspace: Workspace) -> Shop:
    shop = Shop(AnswerLost("Lost."))
    with pytest.raises(Undecided):
        once(workspace, shop, find=False)
    return shop


def test_again_buys_it_with_the_next_run(workspace: Workspace) -> None:
    shop = doubtful(workspace)
    assert purchases.decide(workspace, "generation_1-0", "again").state == IntentState.REFUSED
    assert ledger.summary(workspace).total == 0
    assert once(workspace, shop, find=False).reference == "job-1"
    assert (shop.sent, ledger.summary(workspace).total) == (2, Decimal("0.02"))


@pytest.mark.parametrize(("decision", "counted"), [("drop", Decimal(0)), ("paid", CENT)])
def test_dropped_and_paid_are_not_bought_again_until_asked_for(
    workspace: Workspace, decision: str, counted: Decimal
) -> None:
    shop = doubtful(workspace)
    purchases.decide(workspace, "generation_1-0", decision)
    assert purchases.undecided(workspace) == []
    assert ledger.summary(workspace).total == counted
    assert purchases.given_up(workspace, "generation_1") == {0}
    with pytest.raises(Conflict, match="not to be bought again"):
        once(workspace, shop)
    purchases.decide(workspace, "generation_1-0", "again")
    once(workspace, shop)
    assert (shop.sent, ledger.summary(workspace).total) == (2, Decimal("0.02") + counted)


def test_decisions_that_make_no_sense_are_refused(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="no purchase 'nothing'"):
        purchases.decide(workspace, "nothing", "again")
    with pytest.raises(InputRefused, match="'maybe' is no decision"):
        purchases.decide(workspace, "nothing", "maybe")
    once(workspace, Shop())
    with pytest.raises(Conflict, match="is bought and stored"):
        purchases.decide(workspace, "generation_1-0", "drop")


def test_what_is_being_bought_right_now_cannot_be_decided(workspace: Workspace) -> None:
    doubtful(workspace)
    assert alone.take(workspace.home, "generation_1-0")
    try:
        with pytest.raises(Conflict, match="right now"):
            purchases.decide(workspace, "generation_1-0", "again")
    finally:
        alone.release(workspace.home, "generation_1-0")
    purchases.decide(workspace, "generation_1-0", "again")


def test_what_a_running_job_will_tell_is_not_asked_of_the_user(workspace: Workspace) -> None:
    with pytest.raises(KeyError):
        once(workspace, Shop(KeyError("id")))  # type: ignore[arg-type]
    assert [one.state for one in purchases.undecided(workspace)] == [IntentState.OPEN]
    with workspace.database.write() as session:
        session.add(JobRow(id="job_1", kind="generate", subject="rex", request={}, state="running"))
    assert purchases.undecided(workspace) == []


# --- what rows hold ---------------------------------------------------------------------------------------------


def test_rows_hold_no_secret_and_no_picture(workspace: Workspace) -> None:
    token = Secret("r8_planted_token_0123456789").reveal()
    request = {
        "prompt": "a photo of rex",
        "headers": {"authorization": f"Bearer {token}"},
        token: ["nested", {"deep": token}],
        "zip": b"\x00" * 5000,
        "data": "data:image/png;base64," + "A" * 10_000,
        "scale": float("nan"),
        "path": Path("a/b"),
    }
    shop = Shop(VendorRefused(f"The token {token} is wrong."))
    with pytest.raises(VendorRefused):
        once(workspace, shop, request=request)
    with workspace.database.read() as session:
        row = session.get_one(IntentRow, "generation_1-0")
    kept = json.dumps(row.request)
    assert token not in kept + row.note and len(kept) < 1000
    assert row.request["prompt"] == "a photo of rex"
    workspace.close()
    held = b"".join(path.read_bytes() for path in workspace.home.rglob("*") if path.is_file())
    assert token.encode() not in held and b"A" * 200 not in held


def test_an_erased_subject_leaves_bare_amounts(workspace: Workspace) -> None:
    for slug in ("rex", "tom"):
        with workspace.database.write() as session:
            session.add(SubjectRow(slug=slug, name=slug, kind="person", class_word="man", trigger="xyz"))
        request = {"prompt": f"{slug} at the beach", "url": f"https://hub/{slug}-lora"}
        shop = Shop(Receipt(f"me/{slug}-lora:1", cost=Decimal("0.02")))
        once(workspace, shop, tag=f"g_{slug}-0", subject=slug, request=request)
    subject.remove(workspace, "rex")
    found = ledger.summary(workspace)
    assert (found.total, found.by_subject) == (Decimal("0.04"), {"": Decimal("0.02"), "tom": Decimal("0.02")})
    workspace.close()
    held = b"".join(path.read_bytes() for path in workspace.home.rglob("*") if path.is_file())
    assert b"tom at the beach" in held
    assert b"rex at the beach" not in held and b"rex-lora" not in held


def test_a_picture_of_two_subjects_is_forgotten_with_either(workspace: Workspace) -> None:
    once(workspace, Shop(), tag="generation_9-4", subject="tom", request={"prompt": "rex and tom"})
    with workspace.database.write() as session:
        erase._forget(session, "rex", frozenset(["generation_9"]))
    with workspace.database.read() as session:
        assert session.get_one(IntentRow, "generation_9-4").request == {}


# --- the book ---------------------------------------------------------------------------------------------------


def test_one_that_is_refused_does_not_undo_the_others_of_its_transaction(workspace: Workspace) -> None:
    go_on = threading.Event()
    started = batch_writer.write(workspace.database, lambda session: go_on.wait(PATIENCE))

    def add(number: int) -> Any:
        def work(session: Any) -> int:
            session.add(LedgerRow(job=f"j{number}", vendor="v", what="w"))
            session.flush()
            if number == 1:
                raise SpendingRefused("No.")
            return number

        return work

    futures = [batch_writer.write(workspace.database, add(number)) for number in range(3)]
    go_on.set()
    started.result()
    assert (futures[0].result(), futures[2].result()) == (0, 2)
    with pytest.raises(SpendingRefused):
        futures[1].result()
    assert sorted(cost.job for cost in ledger.entries(workspace)) == ["j0", "j2"]


def test_a_locked_database_is_told_and_nothing_is_sent(tmp_path: Path) -> None:
    from limner.store import Database

    workspace = Workspace(Settings(home=tmp_path / "home"))
    workspace.database.dispose()
    workspace.database = Database(workspace.home / "limner.db", busy_milliseconds=50)
    shop = Shop()
    with Database(workspace.home / "limner.db").write() as other:
        other.execute(text("SELECT 1"))
        with pytest.raises(StorageFailed, match="locked"):
            once(workspace, shop)
    assert shop.sent == 0
    assert once(workspace, shop).reference == "job-1"
