"""The generator of Together AI against its stand-in, on real sockets: what is sent, paid, refused, lost and found."""

# ruff: noqa: F811 - a fixture is imported by its name

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from PIL import Image

from limner.errors import (
    AccountRefused,
    AnswerLost,
    ContentRefused,
    InputRefused,
    OutOfCredit,
    SpendingRefused,
    Undecided,
    VendorFailed,
    VendorRefused,
    WorkFailed,
)
from limner.generation.fan_out import fan_out
from limner.generation.generator import Drawn
from limner.generation.together.generator import TogetherGenerator
from limner.money.payments import Purchase, Receipt, Unrecorded
from limner.types import Severity
from limner.vendors.together import client as client_module
from tests.generation.together_bench import TOKEN, TogetherBench, collect, together_bench  # noqa: F401 - a fixture


class Book(Unrecorded):
    """Payments that remember what was bought and settled."""

    def __init__(self, most: int = 10**6) -> None:
        self.bought: list[Purchase] = []
        self.most = most

    async def once(self, purchase: Purchase, **how: Any) -> Receipt:
        if len(self.bought) >= self.most:
            raise SpendingRefused("The budget of today is spent.")
        self.bought.append(purchase)
        assert how["settle"] is False
        return await super().once(purchase, **how)


def codes(findings: Any, severity: Severity = Severity.REFUSAL) -> set[str]:
    return {finding.code for finding in findings if finding.severity is severity}


def test_pictures_come_with_the_loras_that_the_vendor_fetched(together_bench: TogetherBench) -> None:
    bench = together_bench
    first, second = bench.lora("rex"), bench.lora("zib", seed=2, scale=1.1)
    book = Book()
    drawn = bench.draw(bench.order(first, second, count=3, payments=book))
    assert [(one.index, one.seed, one.media_type) for one in drawn] == [
        (0, 7, "image/png"),
        (1, 8, "image/png"),
        (2, 9, "image/png"),
    ]
    assert {Image.open(io.BytesIO(one.data)).size for one in drawn} == {(128, 64)}
    assert len({one.data for one in drawn}) == 3
    assert drawn[0].versions["model"] == "limner/limner-tiny"
    assert len(bench.stand_in.paid) == 3
    assert {purchase.tag for purchase in book.bought} == {"generation_1-0", "generation_1-1", "generation_1-2"}
    assert bench.checked.violations == []
    assert ("post", "/v1/images/generations") in bench.checked.seen
    sent = sorted(bench.stand_in.requests, key=lambda body: body["seed"])[0]
    assert sent == {
        "model": "limner/limner-tiny",
        "prompt": "a drawing of zibbo",
        "width": 128,
        "height": 64,
        "steps": 4,
        "n": 1,
        "seed": 7,
        "guidance": 2.0,
        "response_format": "base64",
        "output_format": "png",
        "image_loras": [{"path": first.url, "scale": 0.8}, {"path": second.url, "scale": 1.1}],
    }
    assert all(dict(purchase.request)["prompt"] == sent["prompt"] for purchase in book.bought)


def test_the_lora_decides_the_picture_and_one_of_scale_0_stays_out(together_bench: TogetherBench) -> None:
    bench = together_bench
    lora = bench.lora()
    bare, with_it = bench.draw(bench.order())[0], bench.draw(bench.order(lora))[0]
    without = bench.draw(bench.order(replace(lora, scale=0.0)))[0]
    assert bare.data == without.data != with_it.data
    assert "image_loras" not in bench.stand_in.requests[-1]


def test_what_is_done_is_not_drawn_again(together_bench: TogetherBench) -> None:
    drawn = together_bench.draw(together_bench.order(count=5, done=frozenset({0, 2, 3})))
    assert [one.index for one in drawn] == [1, 4]
    assert len(together_bench.stand_in.paid) == 2


@pytest.mark.parametrize("lenient", [False, True])
def test_answers_in_every_form_are_read(together_bench: TogetherBench, lenient: bool) -> None:
    bench = together_bench
    bench.stand_in.lenient = lenient
    one = bench.draw(bench.order())[0]
    bench.stand_in.always_url = True
    assert bench.draw(bench.order())[0].data == one.data
    assert not bench.checked.violations or lenient


def test_other_parameters_go_through_to_the_vendor(together_bench: TogetherBench) -> None:
    bench = together_bench
    extra = {
        "guidance": 5.0,
        "disable_safety_checker": True,
        "output_format": "jpeg",
        "reference_images": ["https://x/y.png"],
    }
    drawn = bench.draw(bench.order(extra=extra))[0]
    assert drawn.media_type == "image/jpeg"
    assert extra.items() <= bench.stand_in.requests[0].items()


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        ({"guidence": 3}, "extra-unknown", "Did you mean guidance?"),
        ({"whatever": 3}, "extra-unknown", "It knows negative_prompt"),
        ({"seed": 3}, "extra-ours", ""),
        ({"image_loras": []}, "extra-ours", ""),
        ({"output_format": "webp"}, "extra-value", "png or jpeg"),
        ({"prompt_upsampling": "yes"}, "extra-value", "true or false"),
        ({"reference_images": "https://x/y.png"}, "extra-value", "a list"),
        ({"guidance": float("nan")}, "extra-value", "a number"),
    ],
)
def test_parameters_that_cannot_be_are_refused_before_anything_is_sent(
    together_bench: TogetherBench, extra: dict[str, Any], code: str, words: str
) -> None:
    bench = together_bench
    (found,) = [one for one in bench.generator.check(bench.order(extra=extra)) if one.severity is Severity.REFUSAL]
    assert found.code == code
    assert words in found.remedy
    with pytest.raises(InputRefused):
        bench.draw(bench.order(extra=extra))
    assert bench.checked.seen == []


def test_a_parameter_that_the_model_may_not_heed_is_sent_with_a_warning(together_bench: TogetherBench) -> None:
    bench = together_bench
    order = bench.order(extra={"negative_prompt": "rain"})
    assert "extra-unheeded" in codes(bench.generator.check(order), Severity.WARNING)
    bench.draw(order)
    assert bench.stand_in.requests[0]["negative_prompt"] == "rain"


def test_limits_are_the_models(together_bench: TogetherBench) -> None:
    bench = together_bench
    generator = bench.generator
    loras = [bench.lora(name, seed=seed) for seed, name in enumerate(("a", "b", "c"))]
    assert codes(generator.check(bench.order(*loras))) == {"too-many-loras"}
    assert codes(generator.check(bench.order(steps=51))) == {"steps-out-of-range"}
    assert codes(generator.check(bench.order(width=120))) == {"width-not-possible"}
    assert codes(generator.check(bench.order(height=512))) == {"height-not-possible"}
    big = bench.order(base="flux2-dev", width=2048, height=1000)
    assert codes(generator.check(big)) == {"width-not-possible", "height-not-possible"}
    assert codes(generator.check(bench.order(replace(loras[0], scale=5.0)))) == {"scale-out-of-range"}
    assert codes(generator.check(bench.order(replace(loras[0], base="flux2-dev")))) == {"lora-does-not-fit"}
    odd = replace(loras[0], naming="kohya")
    assert "lora-naming" in codes(generator.check(bench.order(odd)), Severity.WARNING)


def test_a_base_that_the_vendor_has_not_names_what_draws_it(together_bench: TogetherBench) -> None:
    generator = together_bench.generator
    (found,) = list(generator.check(together_bench.order(base="flux2-klein-4b", width=1024, height=1024)))
    assert found.code == "no-model"
    assert "--generator local" in found.remedy
    wrong = together_bench.order(model="black-forest-labs/FLUX.2-dev")
    assert codes(generator.check(wrong)) == {"model-of-another-base"}
    assert codes(generator.check(together_bench.order(model="nobody/knows"))) == {"model-unknown"}


def test_the_withdrawn_model_is_refused_by_the_live_list_and_used_where_it_is_listed(
    together_bench: TogetherBench,
) -> None:
    bench = together_bench
    order = bench.order(base="flux1-dev", width=1024, height=1024, steps=28, guidance=3.5)
    assert "model-withdrawn" in codes(bench.generator.check(order), Severity.WARNING)
    plan = asyncio.run(bench.generator.plan(order))
    (refused,) = plan.refusals
    assert refused.code == "model-withdrawn"
    assert "2026-02-25" in refused.message
    assert "--generator local" in refused.remedy
    with pytest.raises(VendorRefused, match="does not list"):
        bench.draw(order)
    assert bench.stand_in.paid == []
    listed = replace(bench.stand_in.rows["black-forest-labs/FLUX.2-dev"], model=plan.model, base="flux1-dev")
    bench.stand_in.rows[plan.model] = listed
    assert asyncio.run(bench.generator.plan(order)).refusals == ()
    assert bench.draw(order)[0].versions["model"] == "black-forest-labs/FLUX.1-dev-lora"
    assert "guidance_scale" in bench.stand_in.requests[0]


def test_a_model_that_goes_between_list_and_picture_is_told(together_bench: TogetherBench) -> None:
    bench = together_bench
    generator = bench.generator
    asyncio.run(generator.plan(bench.order()))
    del bench.stand_in.rows["limner/limner-tiny"]
    with pytest.raises(VendorRefused, match="does not serve") as gone:
        asyncio.run(collect(generator, bench.order(count=9), []))
    assert "--generator local" in gone.value.remedy
    assert bench.stand_in.paid == []


def test_the_plan_is_what_is_sent_and_costs_nothing(together_bench: TogetherBench) -> None:
    bench = together_bench
    order = bench.order(bench.lora(), count=4, done=frozenset({1}))
    plan = asyncio.run(bench.generator.plan(order))
    assert plan.refusals == ()
    assert [(call.method, call.costs, call.times) for call in plan.calls] == [("GET", False, 1), ("POST", True, 3)]
    assert bench.stand_in.paid == []
    assert [path for _, path in bench.checked.seen] == ["/v1/models"]
    assert plan.estimate == bench.generator.estimate(order)
    bench.draw(bench.order(bench.lora()))
    assert plan.calls[1].body == bench.stand_in.requests[0]
    assert TOKEN not in json.dumps([dict(call.body) for call in plan.calls]) + str(plan)


def test_the_price_grows_with_megapixels_steps_and_count(together_bench: TogetherBench) -> None:
    bench = together_bench
    generator = bench.generator
    flux = {"base": "flux2-dev", "width": 992, "height": 992, "steps": 28}
    one = generator.estimate(bench.order(**flux))
    assert one.amount == Decimal("0.035")
    assert not one.certain
    assert generator.estimate(bench.order(**{**flux, "count": 10, "done": frozenset({1, 2})})).amount == 8 * one.amount
    assert generator.estimate(bench.order(**{**flux, "steps": 42})).amount == one.amount * Decimal("1.5")
    assert generator.estimate(bench.order(**{**flux, "steps": 14})).amount == one.amount
    assert generator.estimate(bench.order(**{**flux, "width": 1024, "height": 1024})).amount == 2 * one.amount
    assert (one.seconds or 0) > 0


def test_a_lora_that_nobody_can_read_is_refused_in_the_plan(together_bench: TogetherBench) -> None:
    bench = together_bench
    lora = bench.lora()
    bench.shelf.private.add("rex.safetensors")
    (refused,) = asyncio.run(bench.generator.plan(bench.order(lora))).refusals
    assert refused.code == "lora-out-of-reach"
    assert "401" in refused.message
    missing = replace(lora, url=f"{bench.shelf.url}/gone.safetensors")
    assert codes(asyncio.run(bench.generator.plan(bench.order(missing))).findings) == {"lora-out-of-reach"}
    with pytest.raises(VendorRefused, match="cannot get at the lora"):
        bench.draw(bench.order(lora, count=5))
    assert bench.stand_in.paid == []


def test_the_page_of_a_repo_is_an_address_too(together_bench: TogetherBench) -> None:
    bench = together_bench
    lora = bench.lora()
    bench.shelf.files["ann/rex/resolve/main/w.safetensors"] = bench.shelf.files["rex.safetensors"]
    page = replace(lora, url=f"{bench.shelf.url}/ann/rex")
    assert asyncio.run(bench.generator.plan(bench.order(page))).refusals == ()
    assert bench.draw(bench.order(page))[0].data == bench.draw(bench.order(lora))[0].data
    assert "ann/rex/resolve/main/w.safetensors" in bench.shelf.asked
    bench.shelf.files["ann/rex/resolve/main/second.safetensors"] = b"x"
    with pytest.raises(VendorRefused, match="2 safetensors files"):
        bench.draw(bench.order(page))


def test_a_lora_of_another_base_gives_the_vendors_words_with_the_remedy(together_bench: TogetherBench) -> None:
    bench = together_bench
    lora = replace(bench.lora(base="flux2-random"), base="limner-tiny")
    with pytest.raises(VendorRefused, match="unused keys") as refused:
        bench.draw(bench.order(lora, count=3))
    assert "limner loras import" in refused.value.remedy
    assert bench.stand_in.paid == []


def test_refused_content_is_reported_as_such_and_the_vendor_is_not_asked_a_hundred_times(
    together_bench: TogetherBench,
) -> None:
    bench = together_bench
    with pytest.raises(ContentRefused, match=r"^100 of 100 pictures were not drawn\. .*NSFW") as refused:
        bench.draw(bench.order(prompt="a forbidden-word", count=100))
    assert "Change the prompt" in refused.value.remedy
    assert len(bench.checked.seen) < 12
    assert bench.stand_in.paid == []


def test_one_refused_picture_does_not_lose_the_others(together_bench: TogetherBench) -> None:
    bench = together_bench
    draw = bench.stand_in.engine.draw

    def picky(*arguments: Any, **how: Any) -> bytes:
        return b"no picture" if how["seed"] in (9, 15) else draw(*arguments, **how)

    bench.stand_in.engine.draw = picky  # type: ignore[method-assign]
    got: list[Drawn] = []
    with pytest.raises(WorkFailed, match=r"^2 of 20 pictures were not drawn\. .*no picture"):
        asyncio.run(collect(bench.generator, bench.order(count=20), got))
    assert sorted(one.index for one in got) == [index for index in range(20) if index not in (2, 8)]


def test_a_picture_of_another_size_is_kept_because_it_is_paid(together_bench: TogetherBench) -> None:
    bench = together_bench
    draw = bench.stand_in.engine.draw
    bench.stand_in.engine.draw = lambda *a, **how: draw(*a, **{**how, "width": 64})  # type: ignore[method-assign]
    (drawn,) = bench.draw(bench.order())
    with Image.open(io.BytesIO(drawn.data)) as picture:
        assert picture.size == (64, 64)


def test_a_token_that_is_refused_or_missing(together_bench: TogetherBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = together_bench
    bench.stand_in.tokens.clear()
    (refused,) = asyncio.run(bench.generator.plan(bench.order())).refusals
    assert refused.code == "account"
    with pytest.raises(AccountRefused) as failed:
        bench.draw(bench.order())
    assert TOKEN not in str(failed.value)
    monkeypatch.delenv("TOGETHER_API_KEY")
    assert not bench.generator.describe().ready
    assert "need" in codes(bench.generator.check(bench.order()))


def test_no_credit_stops_at_once(together_bench: TogetherBench) -> None:
    bench = together_bench
    bench.stand_in.credit = 2
    got: list[Drawn] = []
    with pytest.raises(OutOfCredit, match="of 100 pictures were not drawn"):
        asyncio.run(collect(bench.generator, bench.order(count=100), got))
    assert len(got) == len(bench.stand_in.paid) >= 2
    assert len(bench.checked.seen) < 20


def test_a_budget_stops_at_once_and_what_was_bought_is_given(together_bench: TogetherBench) -> None:
    bench = together_bench
    got: list[Drawn] = []
    with pytest.raises(SpendingRefused, match="25 of 30"):
        asyncio.run(collect(bench.generator, bench.order(count=30, payments=Book(most=5)), got))
    assert len(got) == len(bench.stand_in.paid) == 5


def test_a_lost_answer_is_asked_about_and_never_sent_again(
    together_bench: TogetherBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = together_bench
    answer = bench.stand_in.app

    async def losing(scope: Any, receive: Any, send: Any) -> None:
        """Draw, be paid, and lose the answer of seed 9."""
        if scope.get("path") != "/v1/images/generations":
            return await answer(scope, receive, send)
        kept: list[Any] = []

        async def keep(message: Any) -> None:
            kept.append(message)

        before = len(bench.stand_in.requests)
        await answer(scope, receive, keep)
        mine = bench.stand_in.requests[before:]
        if any(body["seed"] == 9 for body in mine):
            await send({"type": "http.response.start", "status": 502, "headers": [(b"content-type", b"text/html")]})
            return await send({"type": "http.response.body", "body": b"<html>Bad Gateway</html>"})
        for message in kept:
            await send(message)
        return None

    monkeypatch.setattr(bench.checked, "app", losing)
    monkeypatch.setattr("limner.generation.hosted.HostedGenerator.pictures_at_once", 1)
    got: list[Drawn] = []
    with pytest.raises(Undecided, match="1 of 6 pictures were not drawn"):
        asyncio.run(collect(bench.generator, bench.order(count=6), got))
    assert [one.index for one in got] == [0, 1, 3, 4, 5]
    seeds = Counter(body["seed"] for body in bench.stand_in.requests)
    assert seeds == Counter(range(7, 13))
    assert len(bench.stand_in.paid) == 6


def test_where_every_answer_is_lost_few_are_sent(together_bench: TogetherBench) -> None:
    bench = together_bench

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == "/v1/models":
            return await app(scope, receive, send)
        await send({"type": "http.response.start", "status": 500, "headers": [(b"content-type", b"text/html")]})
        return await send({"type": "http.response.body", "body": b"oops"})

    app, bench.checked.app = bench.checked.app, broken
    with pytest.raises(Undecided, match="100 of 100"):
        bench.draw(bench.order(count=100))
    assert sum(path.endswith("generations") for _, path in bench.checked.seen) <= 6


def test_a_picture_that_cannot_be_fetched_names_its_address(
    together_bench: TogetherBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = together_bench
    bench.stand_in.always_url = True
    monkeypatch.setattr(client_module, "LOOKS", (0.0, 0.0))
    monkeypatch.setattr(bench.stand_in, "images", Forgetful())
    with pytest.raises(VendorFailed, match=r"paid for, but cannot be fetched from http://.*status 404"):
        bench.draw(bench.order())


class Forgetful(dict[str, bytes]):
    def __setitem__(self, name: str, data: bytes) -> None:
        pass


def test_the_rate_limit_loses_no_picture(together_bench: TogetherBench) -> None:
    bench = together_bench
    bench.stand_in.rate, bench.stand_in.burst = 20.0, 3
    bench.stand_in._turns = 3.0
    drawn = bench.draw(bench.order(count=24))
    assert [one.index for one in drawn] == list(range(24))
    assert len(bench.stand_in.paid) == len({entry.tag for entry in bench.stand_in.paid}) == 24
    assert bench.stand_in.refused_by_rate > 0


def test_cancelled_it_still_gives_what_was_sent(together_bench: TogetherBench) -> None:
    bench = together_bench
    bench.stand_in.seconds = 0.3
    got: list[Drawn] = []

    async def stopped() -> None:
        drawing = asyncio.ensure_future(collect(bench.generator, bench.order(count=200), got))
        while not got:
            await asyncio.sleep(0.001)
        drawing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drawing

    asyncio.run(stopped())
    assert 1 <= len(got) <= 32
    assert len(got) == len(bench.stand_in.paid)


def test_the_first_picture_does_not_wait_for_the_last() -> None:
    gates = {index: asyncio.Event() for index in range(3)}

    async def paint(index: int) -> Drawn:
        await gates[index].wait()
        return Drawn(index, index, b"", "image/png", 0.0)

    async def run() -> list[int]:
        coming = fan_out(range(3), paint, most=3)
        order = []
        for index in (2, 0, 1):
            gates[index].set()
            order.append((await anext(coming)).index)
        await coming.aclose()
        return order

    assert asyncio.run(run()) == [2, 0, 1]


def test_answer_lost_is_no_vendor_refusal() -> None:
    with pytest.raises(AnswerLost):
        client_module._given({"id": "x", "data": []})


def test_it_is_ready_only_with_a_token(together_bench: TogetherBench) -> None:
    about = TogetherGenerator(together_bench.settings).describe()
    assert about.ready
    assert {"flux2-dev", "flux1-dev", "limner-tiny", "flux2-random"} <= set(about.bases)
    assert "black-forest-labs/FLUX.2-dev" in about.models
    assert about.limits["loras"] == 2
    assert TOKEN not in repr(about)
