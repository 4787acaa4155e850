"""The generator fal against its stand-in on real sockets: many pictures at once, paid once, refusals told as such."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.errors import (
    AccountRefused,
    ContentRefused,
    InputRefused,
    LimnerError,
    OutOfCredit,
    Undecided,
    VendorRefused,
    WorkFailed,
)
from limner.generation.fal.generator import FalGenerator
from limner.generation.generator import Drawn, Generator
from limner.operations.home.workspace import Workspace
from limner.operations.payments.purchases import StoredPayments, decide
from limner.settings import Settings
from limner.types import Reach, Severity
from limner.vendors.fal.vendor import VENDOR
from tests.servers.fal_bench import TOKEN, FalBench, open_bench
from tests.servers.faults import Fault

SUBMIT = r"^/queue/[^/]+/[^/]+$"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FalBench]:
    with open_bench(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def workspace(bench: FalBench) -> Iterator[Workspace]:
    made = Workspace(bench.settings)
    yield made
    made.close()


def inputs(bench: FalBench) -> list[Any]:
    return [one.input for one in bench.stand_in.requests.values()]


def test_pictures_with_two_loras(bench: FalBench) -> None:
    assert isinstance(bench.generator, Generator)
    published = bench.lora("rex", seed=1)
    there = replace(published, url=bench.stand_in.files.keep(published.path.read_bytes(), "x", "a.safetensors"))
    order = bench.generation(there, bench.lora("zed", seed=2, scale=1.2), count=3)
    drawn = bench.draw(order)
    assert [one.seed for one in drawn] == [7, 8, 9]
    assert len({one.data for one in drawn}) == 3
    for one in drawn:
        assert one.media_type == "image/png"
        assert one.versions["model"] == "limner/limner-tiny"
        with Image.open(io.BytesIO(one.data)) as picture:
            assert picture.size == (128, 64)
    sent = inputs(bench)[0]
    assert sent["image_size"] == {"width": 128, "height": 64}
    assert sent["num_inference_steps"] == 4
    assert sent["guidance_scale"] == 2.0
    assert sent["num_images"] == 1
    assert [one["scale"] for one in sent["loras"]] == [0.8, 1.2]
    assert sent["loras"][0]["path"] == there.url
    # the other was uploaded once for all three, for a day
    assert len({one["loras"][1]["path"] for one in inputs(bench)}) == 1
    assert all(one.no_retry for one in bench.stand_in.requests.values())
    assert len(bench.stand_in.paid) == 3


def test_what_is_stored_is_not_drawn(bench: FalBench) -> None:
    order = bench.generation(count=4, done=frozenset({0, 2}))
    assert [one.index for one in bench.draw(order)] == [1, 3]


def test_a_scale_of_zero_leaves_the_lora_out(bench: FalBench) -> None:
    bench.draw(bench.generation(bench.lora(scale=0.0)))
    assert inputs(bench)[0]["loras"] == []


def test_flux2_and_further_parameters(bench: FalBench) -> None:
    order = bench.generation(bench.lora(base="flux2-random"), base="flux2-random", extra={"acceleration": "none"})
    assert len(bench.draw(order)) == 1
    assert inputs(bench)[0]["acceleration"] == "none"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"extra": {"accelaration": "none"}}, "extra-unknown"),
        ({"extra": {"num_images": 4}}, "extra-ours"),
        ({"steps": 51}, "steps-out-of-range"),
        ({"width": 100}, "width-not-possible"),
        ({"seed": 2**53}, "seed-out-of-range"),
        ({"model": "fal-ai/flux-lora"}, "model-of-another-base"),
        ({"prompt": ""}, "prompt-empty"),
    ],
)
def test_orders_that_cannot_be(bench: FalBench, changes: Any, code: str) -> None:
    order = bench.generation(**changes)
    assert code in {one.code for one in bench.generator.check(order) if one.severity is Severity.REFUSAL}
    with pytest.raises(InputRefused):
        bench.draw(order)
    assert bench.stand_in.requests == {}


def test_loras_out_of_reach(bench: FalBench, monkeypatch: pytest.MonkeyPatch) -> None:
    far = Settings(home=bench.folder / "far")

    def codes(**changes: Any) -> set[str]:
        use = replace(bench.lora(), **changes)
        return {one.code for one in FalGenerator(far).check(bench.generation(use)) if one.severity is Severity.REFUSAL}

    assert "lora-out-of-reach" not in codes()
    assert "lora-out-of-reach" not in codes(url="https://huggingface.co/ann/rex/resolve/main/a.safetensors")
    for url in (
        "http://example.org/a.safetensors",
        "https://127.0.0.1/a.safetensors",
        "https://192.168.0.3/a",
        "file:///a",
    ):
        assert "lora-out-of-reach" in codes(url=url)
    assert "lora-out-of-reach" in codes(path=None)
    assert "scale-out-of-range" in codes(scale=-1.0)
    assert "lora-too-large" in codes(byte_size=3 * 10**9)


def test_prices(bench: FalBench) -> None:
    def amount(base: str, width: int, height: int, **changes: Any) -> Decimal:
        return bench.generator.estimate(bench.generation(base=base, width=width, height=height, **changes)).amount

    assert amount("flux1-dev", 1024, 1024) == Decimal("0.035")
    assert amount("flux1-dev", 1024, 1040, count=2) == Decimal("0.14")
    big = replace(bench.lora(base="flux2-dev"), byte_size=2_500_000_000)
    assert bench.generator.estimate(bench.generation(big, base="flux2-dev", width=1000, height=1000)).amount == Decimal(
        "0.0315"
    )


def test_the_plan_sends_nothing(bench: FalBench) -> None:
    plan = asyncio.run(bench.generator.plan(bench.generation(bench.lora(), count=2)))
    assert plan.refusals == ()
    (paid,) = [call for call in plan.calls if call.costs]
    assert paid.times == 2
    assert not any(method in ("POST", "PUT") for method, _ in bench.faulty.requests)
    bench.stand_in.withdrawn.add("limner/limner-tiny")
    assert asyncio.run(bench.generator.plan(bench.generation())).refusals[0].code == "model-gone"
    bench.stand_in.withdrawn.clear()
    bench.stand_in.revoked.add(TOKEN)
    assert asyncio.run(bench.generator.plan(bench.generation())).refusals[0].code == "account"


def test_refusals_for_content_are_told_as_such(bench: FalBench) -> None:
    bench.stand_in.refused_words = ("gun",)
    bench.stand_in.blacked_words = ("naked",)
    with pytest.raises(ContentRefused, match="content filter"):
        bench.draw(bench.generation(prompt="zibbo with a gun"))
    assert bench.stand_in.paid == []
    with pytest.raises(ContentRefused, match="unfit"):
        bench.draw(bench.generation(prompt="zibbo naked"))
    assert len(bench.draw(bench.generation(prompt="zibbo naked", extra={"enable_safety_checker": False}))) == 1


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        ((422, {"detail": [{"loc": ["body", "seed"], "msg": "bad", "type": "x"}]}), VendorRefused, "seed: bad"),
        ((500, {"detail": "worker died"}), WorkFailed, "worker died"),
    ],
)
def test_failures_of_the_model(bench: FalBench, failure: Any, kind: type[LimnerError], said: str) -> None:
    bench.stand_in.failures.append(failure)
    with pytest.raises(kind, match=said):
        bench.draw(bench.generation())
    assert bench.stand_in.paid == []


def test_one_that_fails_loses_none_of_the_others_and_is_bought_anew(bench: FalBench, workspace: Workspace) -> None:
    order = bench.generation(count=5, payments=StoredPayments(workspace, "job_1"))
    bench.stand_in.failures.append((500, {"detail": "worker died"}))
    came: list[Drawn] = []

    async def draw() -> None:
        async for drawn in bench.generator.draw(order):
            came.append(drawn)  # noqa: PERF401 - what came before the failure is wanted

    with pytest.raises(WorkFailed, match="1 of 5"):
        asyncio.run(draw())
    assert len(came) == 4
    left = replace(order, done=frozenset(one.index for one in came))
    assert len(bench.draw(left)) == 1
    assert len(bench.stand_in.paid) == 5
    assert len(bench.stand_in.requests) == 6


def test_a_crash_after_the_answer_pays_nothing_again(bench: FalBench, workspace: Workspace) -> None:
    """What was bought and not stored is fetched again by the id that is kept, from the queue or from the list."""
    order = bench.generation(count=3, payments=StoredPayments(workspace, "job_1"))
    first = bench.draw(order)
    again = bench.draw(order)
    assert [one.data for one in first] == [one.data for one in again]
    bench.stand_in.expired |= set(bench.stand_in.requests)
    assert [one.data for one in first] == [one.data for one in bench.draw(order)]
    for one in bench.stand_in.requests.values():
        one.forgotten = True
    with pytest.raises(Undecided, match="does not keep it"):
        bench.draw(replace(order, count=1))
    assert len(bench.stand_in.paid) == 3
    decide(workspace, order.tag(0), "again")
    bench.draw(replace(order, count=1))
    assert len(bench.stand_in.paid) == 4


@pytest.mark.parametrize("kind", ["lost-reset", "lost-closed", "lost-html-502", "lost-garbled", "lost-error-500"])
def test_a_lost_answer_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with open_bench(tmp_path, monkeypatch, Fault(kind, "POST", SUBMIT, nth=2)) as bench:
        monkeypatch.setattr("limner.vendors.fal.client.LOOKS", (0.0, 0.1, 0.3))
        workspace = Workspace(bench.settings)
        order = bench.generation(bench.lora(), count=4, payments=StoredPayments(workspace, "job_1"))
        assert len(bench.draw(order)) == 4
        assert len(bench.stand_in.paid) == 4
        workspace.close()


def test_what_is_not_listed_yet_is_asked_about_and_found_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_bench(tmp_path, monkeypatch, Fault("lost-reset", "POST", SUBMIT)) as bench:
        workspace = Workspace(bench.settings)
        order = bench.generation(payments=StoredPayments(workspace, "job_1"))
        bench.stand_in.gate.clear()
        for _ in range(2):
            with pytest.raises(Undecided, match="limner costs decide generation_1-0"):
                bench.draw(order)
        bench.stand_in.gate.set()
        bench.stand_in.wait()
        assert len(bench.draw(order)) == 1
        assert len(bench.stand_in.paid) == 1
        workspace.close()


@pytest.mark.parametrize("kind", ["throttled", "busy-503", "html-502", "reset", "truncated", "reset-mid-body"])
def test_disturbances_are_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    posts = [Fault(kind, "POST", SUBMIT, seconds=0.01)] if kind in ("throttled", "busy-503") else []
    plan = [Fault(kind, "GET", "^/cdn/", seconds=0.01), Fault(kind, "GET", "/status$", seconds=0.01), *posts]
    with open_bench(tmp_path, monkeypatch, *plan) as bench:
        assert len(bench.draw(bench.generation(count=3))) == 3
        assert len(bench.stand_in.paid) == 3
        assert len(bench.faulty.hits) == len(plan)


def test_accounts_without_money_or_key(bench: FalBench, workspace: Workspace) -> None:
    order = bench.generation(count=8, payments=StoredPayments(workspace, "job_1"))
    bench.stand_in.no_credit = True
    with pytest.raises(OutOfCredit):
        bench.draw(order)
    bench.stand_in.no_credit = False
    bench.stand_in.revoked.add(TOKEN)
    with pytest.raises(AccountRefused) as refused:
        bench.draw(order)
    assert TOKEN not in str(refused.value)
    bench.stand_in.revoked.clear()
    assert len(bench.draw(order)) == 8
    assert len(bench.stand_in.paid) == 8


def test_forty_pictures_at_once(bench: FalBench) -> None:
    bench.stand_in.pace = 0.02
    drawn = bench.draw(bench.generation(bench.lora(), count=40))
    assert len({one.seed for one in drawn}) == 40
    assert len(bench.stand_in.paid) == 40


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([{"url": "data:image/png;base64,bm8gcGljdHVyZQ=="}], "no picture"),
        ([{"url": "data:image/png;base64,???"}], "no base64"),
        ([], "gave no picture 0"),
        ("none", "gave no picture 0"),
    ],
)
def test_answers_without_a_picture(bench: FalBench, images: Any, said: str) -> None:
    fault = Fault("edited", "GET", r"/requests/[^/]+$", times=0, edit=lambda answer: {**answer, "images": images})
    bench.faulty.add(fault)
    with pytest.raises(WorkFailed, match=said):
        bench.draw(bench.generation())


def test_a_picture_inside_the_answer(bench: FalBench) -> None:
    sink = io.BytesIO()
    Image.new("RGB", (128, 64), (9, 99, 200)).save(sink, "PNG")
    encoded = base64.b64encode(sink.getvalue()).decode()

    def inside(answer: Any) -> Any:
        return {**answer, "images": [{"url": f"data:image/png;base64,{encoded}"}]}

    bench.faulty.add(Fault("edited", "GET", r"/requests/[^/]+$", times=0, edit=inside))
    assert bench.draw(bench.generation())[0].data == sink.getvalue()
    # of another size than asked for, and paid: it is kept
    assert bench.draw(bench.generation(width=64))[0].data == sink.getvalue()


def test_a_stopped_drawing_gives_what_is_paid(bench: FalBench) -> None:
    bench.stand_in.pace = 0.05
    came: list[Drawn] = []

    async def draw() -> None:
        async for drawn in bench.generator.draw(bench.generation(count=30)):
            came.append(drawn)  # noqa: PERF401 - what came before the end is wanted

    async def stopped() -> None:
        task = asyncio.ensure_future(draw())
        while not bench.stand_in.paid:
            await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(stopped())
    bench.stand_in.wait()
    assert len(bench.stand_in.requests) < 30
    assert len(came) == len(bench.stand_in.requests) == len(bench.stand_in.paid)


def test_what_it_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    about = FalGenerator(Settings()).describe()
    assert about.reach == (Reach.URL, Reach.FILE)
    assert {"flux1-dev", "flux2-dev", "flux2-klein-4b", "flux2-klein-9b"} <= set(about.bases)
    assert VENDOR.attempts > 1
