"""The limiter in virtual time against vendors of several kinds, and in real time from several threads."""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import pytest

from limner.vendors.http import limiter
from limner.vendors.http.limiter import Limiter, limiter_for
from tests.vendors.virtual_time import run_virtual
from tests.waiting import PATIENCE

Answered = tuple[int, dict[str, str]]


class Vendor(Protocol):
    def ask(self, moment: float) -> Answered: ...


class Bucket:
    """Allows ``rate`` a second and ``burst`` at once; tells when the next is free, in the given style."""

    def __init__(self, rate: float, burst: float, style: str) -> None:
        self.rate, self.burst, self.style = rate, burst, style
        self.tokens, self.looked = burst, 1000.0

    def ask(self, moment: float) -> Answered:
        self.tokens = min(self.burst, self.tokens + (moment - self.looked) * self.rate)
        self.looked = moment
        if self.tokens >= 1:
            self.tokens -= 1
            return 200, {}
        return 429, told(self.style, (1 - self.tokens) / self.rate)


class Window:
    """Allows so many in each second of the clock."""

    def __init__(self, each: int, style: str) -> None:
        self.each, self.style = each, style
        self.second, self.used = -1, 0

    def ask(self, moment: float) -> Answered:
        if int(moment) != self.second:
            self.second, self.used = int(moment), 0
        self.used += 1
        return (200, {}) if self.used <= self.each else (429, told(self.style, self.second + 1 - moment))


def told(style: str, wait: float) -> dict[str, str]:
    if style == "exact":
        return {"x-ratelimit-reset": f"{wait:.3f}"}
    if style == "whole seconds":
        return {"x-ratelimit-reset": str(math.ceil(wait))}
    return {}


async def fan_out(limits: Limiter, vendor: Vendor, *, count: int = 200, seconds: float = 0.05) -> tuple[float, int]:
    """So many calls at once, each sent until it is taken: how long all took, and how many were refused."""
    loop, chance = asyncio.get_running_loop(), random.Random(1)
    refused, last = 0, loop.time()

    async def call() -> None:
        nonlocal refused, last
        again = False
        while True:
            turn = await limits.turn(again=again)
            await asyncio.sleep(chance.uniform(0.005, 0.03))
            status, headers = vendor.ask(loop.time())
            if status == 200:
                last = loop.time()
                await asyncio.sleep(seconds)
                limits.learn(status, headers, turn=turn)
                return
            refused += 1
            await asyncio.sleep(chance.uniform(0.005, 0.02))
            limits.learn(status, headers, turn=turn)
            again = True

    began = loop.time()
    await asyncio.gather(*(call() for _ in range(count)))
    return last - began, refused


@pytest.mark.parametrize("style", ["exact", "whole seconds", "silent"])
@pytest.mark.parametrize("burst", [10, 20])
@pytest.mark.parametrize("start", [(8.0, 16), (8.0, 8), (20.0, 16), (50.0, 64)])
def test_the_vendors_rate_is_found_and_used(
    style: str, burst: int, start: tuple[float, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> tuple[float, int]:
        return await fan_out(Limiter(*start), Bucket(10, burst, style))

    seconds, refused = run_virtual(run(), monkeypatch)
    assert 200 / seconds >= 9.2
    assert refused <= start[1] * 2 + 12


@pytest.mark.parametrize(
    ("make", "least"),
    [
        (lambda: Bucket(10, 5, "exact"), 9.4),
        (lambda: Bucket(10, 5, "whole seconds"), 7.0),
        (lambda: Bucket(10, 1, "exact"), 7.0),
        (lambda: Window(10, "exact"), 8.0),
        (lambda: Window(10, "whole seconds"), 8.0),
    ],
)
def test_harder_vendors_are_served_too(
    make: Callable[[], Vendor], least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> float:
        return (await fan_out(Limiter(8, 16), make()))[0]

    assert 200 / run_virtual(run(), monkeypatch) >= least


def test_a_slow_vendor_is_not_taken_for_a_strict_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> float:
        return (await fan_out(Limiter(8, 16), Bucket(10, 10, "exact"), seconds=8.0))[0]

    assert 200 / run_virtual(run(), monkeypatch) >= 9.5


def test_it_recovers_when_the_limit_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> tuple[float, float]:
        limits, vendor = Limiter(8, 16), Bucket(4, 4, "exact")
        slow, _ = await fan_out(limits, vendor, count=100)
        vendor.rate, vendor.burst = 12, 12
        await fan_out(limits, vendor, count=200)
        fast, _ = await fan_out(limits, vendor, count=200)
        return 100 / slow, 200 / fast

    slow, fast = run_virtual(run(), monkeypatch)
    assert 3.6 <= slow <= 5
    assert fast >= 10.5


def test_a_refusal_pauses_all_until_the_time_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[float]:
        limits, loop = Limiter(100, 100), asyncio.get_running_loop()
        turn = await limits.turn()
        limits.learn(429, {"retry-after": "7"}, turn=turn)
        began = loop.time()
        turns = await asyncio.gather(*(limits.turn() for _ in range(5)))
        assert limits.paused_for == 0
        return [one.at - began for one in turns]

    assert all(7 <= at < 7.2 for at in run_virtual(run(), monkeypatch))


def test_refusals_that_bring_nothing_are_waited_out_ever_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[float]:
        limits, sent = Limiter(100, 100), []
        for _ in range(9):
            turn = await limits.turn()
            sent.append(turn.at)
            limits.learn(429, {}, turn=turn)
        return [after - before for before, after in pairwise(sent)]

    gaps = run_virtual(run(), monkeypatch)
    assert gaps[0] < 1
    assert gaps[-1] > 10
    assert gaps == sorted(gaps)


def test_what_is_left_is_not_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[float]:
        limits = Limiter(50, 50)
        turn = await limits.turn()
        limits.learn(200, {"ratelimit": '"api";r=3;t=40'}, turn=turn)
        turns = await asyncio.gather(*(limits.turn() for _ in range(5)))
        return [one.at - turn.at for one in turns]

    first = run_virtual(run(), monkeypatch)
    assert max(first[:3]) < 1
    assert min(first[3:]) >= 40


def test_calls_under_way_count_as_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> float:
        limits = Limiter(50, 50)
        first = await limits.turn()
        for _ in range(3):
            await limits.turn()
        # The answer to the first says three are left; they are under way already.
        limits.learn(200, {"x-ratelimit-remaining": "3", "x-ratelimit-reset": "5"}, turn=first)
        return (await limits.turn()).at - first.at

    assert run_virtual(run(), monkeypatch) >= 5


def test_a_limit_that_is_told_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> float:
        limits = Limiter(50, 50)
        limits.learn(200, {"ratelimit-policy": '"x";q=5;w=1'}, turn=await limits.turn())
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(limits.turn() for _ in range(25)))
        return asyncio.get_running_loop().time() - began

    assert run_virtual(run(), monkeypatch) >= 3.5


def test_turns_are_given_in_the_order_of_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[int]:
        limits, order = Limiter(5, 1), []

        async def ask(number: int) -> None:
            await limits.turn()
            order.append(number)

        await asyncio.gather(*(ask(number) for number in range(40)))
        return order

    assert run_virtual(run(), monkeypatch) == list(range(40))


def test_who_was_refused_goes_before_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[str]:
        limits, order = Limiter(5, 1), []

        async def ask(name: str, again: bool = False) -> None:
            await limits.turn(again=again)
            order.append(name)

        waiting = [asyncio.create_task(ask(f"new {number}")) for number in range(4)]
        await asyncio.sleep(0)
        waiting += [asyncio.create_task(ask(f"again {number}", True)) for number in range(2)]
        await asyncio.gather(*waiting)
        return order

    assert run_virtual(run(), monkeypatch)[1:] == ["again 0", "again 1", "new 1", "new 2", "new 3"]


def test_a_cancelled_waiter_costs_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> float:
        limits, loop = Limiter(10, 1), asyncio.get_running_loop()
        await limits.turn()
        began = loop.time()
        waiting = [asyncio.create_task(limits.turn()) for _ in range(20)]
        await asyncio.sleep(0.01)
        for task in waiting[:19]:
            task.cancel()
        return (await waiting[19]).at - began

    assert run_virtual(run(), monkeypatch) < 0.15


def test_it_is_shared_by_threads_with_loops_of_their_own() -> None:
    limits = Limiter(200, 1, 200)
    given: list[float] = []

    def work() -> None:
        async def ask() -> None:
            given.extend([(await limits.turn()).at for _ in range(15)])

        asyncio.run(ask())

    threads = [threading.Thread(target=work) for _ in range(4)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(given) == 60
    assert 59 / 200 * 0.9 <= time.monotonic() - began < 60


def test_a_loop_that_died_holds_nobody_up() -> None:
    limits = Limiter(1000, 1000)
    dead = asyncio.new_event_loop()
    dead.run_until_complete(_stuck(limits))
    dead.close()
    assert asyncio.run(asyncio.wait_for(limits.turn(), PATIENCE)).number >= 1


async def _stuck(limits: Limiter) -> None:
    limits.learn(429, {"retry-after": "0"})
    # Never awaited to its end: the loop is closed with the waiter first in the queue.
    limits._queue.append(limiter._Waiter(False))


def test_one_account_has_one_limiter() -> None:
    assert limiter_for("x y", 5, 5) is limiter_for("x y", 9, 9)
    assert limiter_for("x z", 5, 5) is not limiter_for("x y", 5, 5)
