"""The fan-out: what fails loses nothing else, what cannot succeed is not begun, what is out is given when cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import (
    AccountRefused,
    Cancelled,
    ContentRefused,
    LimnerError,
    Undecided,
    VendorBusy,
    VendorFailed,
    VendorRefused,
    WorkFailed,
)
from limner.generation.fan_out import TURNS, Brake, fan_out
from limner.generation.generator import Drawn
from tests.waiting import PATIENCE

KINDS = [AccountRefused, ContentRefused, Undecided, VendorBusy, VendorFailed, VendorRefused, WorkFailed]


def drawn(index: int) -> Drawn:
    return Drawn(index, index, b"x", "image/png", 0.0)


async def collected(paint: Callable[[int], Awaitable[Drawn]], count: int, most: int, got: list[int]) -> None:
    async for one in fan_out(range(count), paint, most=most):
        got.append(one.index)  # noqa: PERF401 - what came before a failure is wanted


@given(
    st.integers(1, 40),
    st.integers(1, 8),
    st.dictionaries(st.integers(0, 39), st.sampled_from(KINDS), max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_every_picture_is_given_failed_or_never_begun(
    count: int, most: int, failing: dict[int, type[LimnerError]]
) -> None:
    begun: list[int] = []
    at_once = [0, 0]

    async def paint(index: int) -> Drawn:
        begun.append(index)
        at_once[0] += 1
        at_once[1] = max(at_once)
        await asyncio.sleep(0)
        at_once[0] -= 1
        if index in failing:
            raise failing[index](f"picture {index}")
        return drawn(index)

    got: list[int] = []
    failure: LimnerError | None = None
    try:
        asyncio.run(collected(paint, count, most, got))
    except LimnerError as raised:
        failure = raised
    wrong = {index for index in failing if index < count}
    assert sorted(got) == sorted(set(begun) - wrong)
    assert at_once[1] <= most
    assert (failure is None) == (not wrong)
    assert all(begun.count(index) == 1 for index in got)
    if failure is not None and count > 1:
        assert failure.message.startswith(f"{count - len(got)} of {count} pictures were not drawn.")


def test_busy_pictures_go_back_into_the_queue() -> None:
    tries = [0] * 6

    async def paint(index: int) -> Drawn:
        tries[index] += 1
        if index % 2 and tries[index] < 4:
            raise VendorBusy("busy")
        return drawn(index)

    got: list[int] = []
    asyncio.run(collected(paint, 6, 3, got))
    assert sorted(got) == list(range(6))
    assert tries == [1, 4, 1, 4, 1, 4]


def test_a_vendor_that_stays_busy_is_given_up() -> None:
    tries = [0]

    async def paint(index: int) -> Drawn:
        tries[0] += 1
        raise VendorBusy("busy")

    with pytest.raises(VendorBusy):
        asyncio.run(collected(paint, 1, 3, []))
    assert tries[0] == TURNS + 1


def test_what_fails_alike_stops_the_rest_and_matters_most() -> None:
    begun: list[int] = []

    async def paint(index: int) -> Drawn:
        begun.append(index)
        await asyncio.sleep(0)
        raise Undecided("perhaps paid") if index == 0 else AccountRefused("wrong token")

    with pytest.raises(AccountRefused, match="100 of 100"):
        asyncio.run(collected(paint, 100, 32, []))
    assert len(begun) <= 4


def test_a_mistake_of_ours_comes_through_and_leaves_no_task() -> None:
    async def paint(index: int) -> Drawn:
        if index == 1:
            raise ZeroDivisionError
        await asyncio.sleep(60)
        return drawn(index)

    async def run() -> int:
        with pytest.raises(ZeroDivisionError):
            await collected(paint, 3, 3, [])
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1


def test_cancelled_what_is_out_is_given_and_the_rest_is_never_sent() -> None:
    brake = Brake()
    stopped: list[int] = []
    gate = asyncio.Event()

    async def paint(index: int) -> Drawn:
        try:
            if index >= 2:
                await asyncio.sleep(60)  # waits for its turn
            brake.go(index)
        except asyncio.CancelledError:
            stopped.append(index)
            raise
        await gate.wait()
        return drawn(index)

    async def run() -> list[int]:
        got: list[int] = []

        async def take() -> None:
            async for one in fan_out(range(50), paint, most=8, brake=brake):
                got.append(one.index)  # noqa: PERF401

        taking = asyncio.ensure_future(take())
        await asyncio.sleep(0.01)
        taking.cancel()
        await asyncio.sleep(0.01)
        assert not taking.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await taking
        return got

    assert sorted(asyncio.run(run())) == [0, 1]
    assert stopped == [2, 3]
    with pytest.raises(Cancelled):
        brake.go(9)


def test_cancelled_twice_it_waits_for_nothing() -> None:
    brake = Brake()

    async def paint(index: int) -> Drawn:
        brake.go(index)
        await asyncio.sleep(60)
        return drawn(index)

    async def run() -> None:
        coming = fan_out(range(3), paint, most=3, brake=brake)
        taking = asyncio.ensure_future(anext(coming))
        for _ in range(2):
            await asyncio.sleep(0.01)
            taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(taking, PATIENCE)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_left_early_it_leaves_no_task() -> None:
    async def paint(index: int) -> Drawn:
        if index:
            await asyncio.sleep(60)
        return drawn(index)

    async def run() -> int:
        coming = fan_out(range(9), paint, most=4)
        await anext(coming)
        await coming.aclose()
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1
