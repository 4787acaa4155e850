"""The generator of Inference Providers against the stand-in's router, on real sockets: served, paid, refused, lost."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.catalog import find_base
from limner.catalog.hosted import find_hosted
from limner.errors import (
    AccountRefused,
    AnswerLost,
    ContentRefused,
    InputRefused,
    OutOfCredit,
    Undecided,
    VendorRefused,
)
from limner.generation.generator import Drawn, GenerationOrder
from limner.generation.huggingface.generator import HuggingFaceGenerator
from limner.hubs.hub import WEIGHTS_NAME
from limner.money.payments import Purchase, Receipt, Unrecorded
from limner.settings import Settings
from limner.stand_ins.catalog import write_catalog
from limner.stand_ins.hub.repos import HubRepo
from limner.stand_ins.hub.server import HuggingFaceStandIn
from limner.stand_ins.serving import serve
from limner.types import LoraUse, Severity
from limner.vendors.http import limiter
from limner.vendors.huggingface.hub import repo_at
from limner.vendors.huggingface.inference_providers import Served, _given, _served
from tests.servers.hub import TOKEN
from tests.servers.quick_engine import QuickEngine, quick_lora


class Book(Unrecorded):
    """Payments that remember what was bought, and whose receipts a later run gets instead of paying."""

    def __init__(self) -> None:
        self.bought: list[Purchase] = []
        self.receipts: dict[str, Receipt] = {}
        self.settled: list[str] = []

    async def once(self, purchase: Purchase, **how: Any) -> Receipt:
        if purchase.tag in self.receipts:
            return Receipt(self.receipts[purchase.tag].reference)
        self.bought.append(purchase)
        self.receipts[purchase.tag] = await super().once(purchase, **how)
        return self.receipts[purchase.tag]

    async def settle(self, tag: str, **_: Any) -> None:
        self.settled.append(tag)

    async def opened_at(self, tag: str) -> None:
        return None

    async def failed(self, tag: str, *, cost: Decimal | None = None) -> None:
        return None


class Spoiled:
    """Stands before the hub: gives ``answer`` to a POST, after letting it through or not."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.answer: tuple[bool, int, bytes] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        spoilt = self.answer
        if scope["type"] != "http" or spoilt is None or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        if spoilt[0]:
            await self.app(scope, receive, _nowhere)
        kind = b"application/json" if spoilt[2].startswith(b"{") else b"text/html"
        await send({"type": "http.response.start", "status": spoilt[1], "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": spoilt[2]})


async def _nowhere(message: Any) -> None:
    """The answer that gets lost."""


@dataclass
class Bench:
    stand_in: HuggingFaceStandIn
    spoiled: Spoiled
    settings: Settings

    @property
    def generator(self) -> HuggingFaceGenerator:
        return HuggingFaceGenerator(self.settings)

    def lora(self, seed: int = 1, *, base: str = "limner-tiny", scale: float = 0.8, private: bool = False) -> LoraUse:
        """A lora of a base in a repo of ann's."""
        data = quick_lora("limner-tiny", 4, bytes([seed]))
        repo = HubRepo("ann/zib", private, self.stand_in.contents)
        card = f"---\nbase_model: {find_base(base).repo if ':' not in find_base(base).repo else base}\n---\n"
        files = {WEIGHTS_NAME: repo.keep(data, lfs=True), "README.md": repo.keep(card.encode(), lfs=False)}
        repo.commit(files, summary="x", author="ann")
        self.stand_in.repos["ann/zib"] = repo
        url = f"{self.settings.huggingface_url}/ann/zib/resolve/{repo.main.sha}/{WEIGHTS_NAME}"
        digest = hashlib.sha256(data).hexdigest()
        return LoraUse(digest, scale, "zib@v1", url=url, base=base, byte_size=len(data), naming="diffusers")

    def order(self, *loras: LoraUse, **changes: Any) -> GenerationOrder:
        base = find_base(changes.pop("base", "limner-tiny"))
        made = GenerationOrder(
            "generation_1", "a drawing of zibbo", base, "/nowhere", loras,
            width=128, height=64, steps=4, guidance=2.0, seed=7,
        )  # fmt: skip
        return replace(made, **changes)

    def draw(self, order: GenerationOrder) -> list[Drawn]:
        async def collect() -> list[Drawn]:
            return [drawn async for drawn in self.generator.draw(order)]

        return sorted(asyncio.run(collect()), key=lambda drawn: drawn.index)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    folder = write_catalog(tmp_path / "catalog")
    rows, bases = (importlib.import_module(f"limner.catalog.{name}") for name in ("hosted", "bases"))
    monkeypatch.setattr(rows, "_own", [folder])
    monkeypatch.setattr(bases, "_own", [folder])
    bases.bases.cache_clear()
    monkeypatch.setattr(limiter, "_limiters", {})
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    stand_in = HuggingFaceStandIn(QuickEngine(), tokens={TOKEN: "ann"})
    spoiled = Spoiled(stand_in.app)
    with serve(spoiled, stand_in) as url:
        yield Bench(stand_in, spoiled, Settings(home=tmp_path / "home", huggingface_url=url))
    bases.bases.cache_clear()


def codes(findings: Any, severity: Severity = Severity.REFUSAL) -> set[str]:
    return {finding.code for finding in findings if finding.severity is severity}


def test_pictures_come_and_are_paid_once(bench: Bench) -> None:
    book = Book()
    order = bench.order(bench.lora(), count=3, done=frozenset({1}), payments=book)
    drawn = bench.draw(order)
    assert [(one.index, one.seed, one.media_type) for one in drawn] == [(0, 7, "image/png"), (2, 9, "image/png")]
    assert {Image.open(io.BytesIO(one.data)).size for one in drawn} == {(128, 64)}
    assert len({one.data for one in drawn}) == 2
    assert len(bench.stand_in.paid) == 2
    assert {purchase.tag for purchase in book.bought} == {"generation_1-0", "generation_1-2"}
    assert all(TOKEN not in str(purchase) for purchase in book.bought)
    assert drawn[0].versions["provider"] == "fal-ai"
    again = bench.draw(bench.order(bench.lora(scale=0.3), count=1))
    assert again[0].data != drawn[0].data


def test_a_picture_that_was_paid_before_a_crash_is_only_fetched(bench: Bench) -> None:
    book = Book()
    order = bench.order(bench.lora(), payments=book)
    first = bench.draw(order)
    again = bench.draw(order)
    assert again[0].data == first[0].data
    assert len(bench.stand_in.paid) == 1
    bench.stand_in.router._pictures.clear()
    with pytest.raises(Undecided, match="paid for"):
        bench.draw(order)
    assert len(bench.stand_in.paid) == 1


REPLICATE = """
[own-replicate]
vendor = "huggingface"
does = "generate"
model = "limner/tiny-replicate"
base = "limner-tiny"
price = { model = "per_run", amount = "0.02", source = "a test" }
source = "a test"
as_of = "2026-11-24"
most_loras = 1
sizes = [64, 256, 16]
[own-replicate.fields]
prompt = "prompt"
size = "size"
steps = "num_inference_steps"
guidance = "guidance"
seed = "seed"
lora = "lora_weights"
scale = "lora_scale"
"""


def test_replicate_is_asked_in_its_own_words(bench: Bench, tmp_path: Path) -> None:
    rows = tmp_path / "catalog" / "hosted.toml"
    rows.write_text(rows.read_text(encoding="utf-8") + REPLICATE, encoding="utf-8")
    bench.stand_in.router.providers["limner/tiny-replicate"] = "replicate"
    order = bench.order(bench.lora(), model="limner/tiny-replicate", height=128)
    (call,) = asyncio.run(bench.generator.plan(order)).calls
    assert call.url.endswith("/router/replicate/v1/models/limner/tiny-replicate/predictions")
    assert call.body["input"]["lora_weights"] == f"{bench.settings.huggingface_url}/ann/zib"
    assert call.body["input"]["lora_scale"] == 0.8
    weak, strong = (bench.draw(replace(order, loras=(bench.lora(scale=scale),))) for scale in (0.1, 1.0))
    assert weak[0].versions["provider"] == "replicate"
    assert weak[0].data != strong[0].data
    assert len(bench.stand_in.paid) == 2


def test_a_provider_that_the_row_has_no_word_for_draws_nothing(bench: Bench) -> None:
    bench.stand_in.router.providers["limner/limner-tiny"] = "replicate"
    plan = asyncio.run(bench.generator.plan(bench.order(bench.lora())))
    assert codes(plan.findings) == {"repo-not-served"}


def test_the_plan_is_the_request_with_its_price_and_costs_nothing(bench: Bench) -> None:
    plan = asyncio.run(bench.generator.plan(bench.order(bench.lora(), count=4)))
    assert plan.refusals == ()
    (call,) = plan.calls
    assert (call.method, call.costs, call.times) == ("POST", True, 4)
    assert call.url == f"{bench.settings.huggingface_url}/router/fal-ai/limner/limner-tiny"
    assert call.body["loras"] == [
        {"path": f"{bench.settings.huggingface_url}/ann/zib/resolve/main/{WEIGHTS_NAME}", "scale": 0.8}
    ]
    assert call.body["image_size"] == {"width": 128, "height": 64}
    assert plan.estimate.amount == Decimal("0.14")
    assert bench.stand_in.paid == []


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("private", "lora-out-of-reach"),
        ("other weights at main", "lora-moved"),
        ("two files", "lora-ambiguous"),
        ("another base", "repo-not-served"),
        ("gone", "repo-not-asked"),
        ("revoked", "account"),
    ],
)
def test_what_a_provider_could_not_draw_is_refused_before_it_is_paid(bench: Bench, case: str, code: str) -> None:
    use = bench.lora()
    repo = bench.stand_in.repos["ann/zib"]
    if case == "private":
        repo.private = True
    elif case == "other weights at main":
        repo.commit({**repo.main.files, WEIGHTS_NAME: repo.keep(b"other\0", lfs=True)}, summary="y", author="ann")
    elif case == "two files":
        repo.commit({**repo.main.files, "b.safetensors": repo.keep(b"b\0", lfs=True)}, summary="y", author="ann")
    elif case == "another base":
        use = bench.lora(base="flux1-schnell")
        use = replace(use, base="limner-tiny")
    elif case == "gone":
        bench.stand_in.repos.clear()
    elif case == "revoked":
        bench.stand_in.revoked.add(TOKEN)
    plan = asyncio.run(bench.generator.plan(bench.order(use)))
    assert code in codes(plan.findings)
    assert all(finding.remedy for finding in plan.refusals)
    with pytest.raises((VendorRefused, AccountRefused)):
        bench.draw(bench.order(use))
    assert bench.stand_in.paid == []


def test_the_orders_own_mistakes_are_found_without_asking(bench: Bench) -> None:
    use = bench.lora()
    check = bench.generator.check
    assert codes(check(bench.order(use))) == set()
    assert "lora-missing" in codes(check(bench.order()))
    assert codes(check(bench.order(use, use)))
    assert "lora-out-of-reach" in codes(check(bench.order(replace(use, url="https://example.org/a.safetensors"))))
    assert "lora-out-of-reach" in codes(check(bench.order(replace(use, url=""))))
    assert "scale-out-of-range" in codes(check(bench.order(replace(use, scale=9.0))))
    assert "extra-unknown" in codes(check(bench.order(use, extra={"colour": 1})))
    assert "no-model" in codes(check(bench.order(use, base="flux2-klein-4b")))
    assert "width-not-possible" in codes(check(bench.order(use, width=130)))
    with pytest.raises(InputRefused):
        bench.draw(bench.order(replace(use, scale=9.0)))


def test_no_credit_is_said_and_nothing_is_paid(bench: Bench) -> None:
    bench.stand_in.router.no_credit = True
    with pytest.raises(OutOfCredit, match="credit") as raised:
        bench.draw(bench.order(bench.lora()))
    assert TOKEN not in str(raised.value)
    assert bench.stand_in.paid == []


def test_a_lost_answer_is_never_sent_again(bench: Bench) -> None:
    bench.spoiled.answer = (True, 502, b"<html>bad gateway</html>")
    with pytest.raises(Undecided) as raised:
        bench.draw(bench.order(bench.lora()))
    assert "limner costs" in raised.value.remedy
    assert len(bench.stand_in.paid) == 1


def test_a_filters_refusal_is_no_failure_of_ours(bench: Bench) -> None:
    bench.spoiled.answer = (False, 422, b'{"detail": [{"msg": "the prompt was flagged by a content policy"}]}')
    with pytest.raises(ContentRefused):
        bench.draw(bench.order(bench.lora()))
    book = Book()
    bench.spoiled.answer = (
        True, 200, b'{"images": [{"url": "https://example.org/black.png"}], "has_nsfw_concepts": [true]}'
    )  # fmt: skip
    with pytest.raises(ContentRefused, match="blacked"):
        bench.draw(bench.order(bench.lora(), payments=book))
    assert book.settled == ["generation_1-0"]


def test_describing_loads_no_client() -> None:
    code = (
        "import sys; from limner.settings import Settings\n"
        "from limner.generation.huggingface.generator import HuggingFaceGenerator\n"
        "HuggingFaceGenerator(settings=Settings()).describe()\n"
        "print({'huggingface_hub', 'httpx2', 'torch'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert run.stdout == "set()\n"


def test_the_answers_of_providers() -> None:
    fal, replicate = Served("fal-ai", "m", "w", "live"), Served("replicate", "m", "w", "live")
    assert _given({"images": [{"url": "https://x/a"}]}, fal).url == "https://x/a"
    assert _given({"output": ["https://x/a"]}, replicate).url == "https://x/a"
    assert _given({"output": "https://x/a", "status": "succeeded"}, replicate).url == "https://x/a"
    for body in (None, [], {}, {"images": []}, {"output": None, "status": "processing"}, {"output": "/etc/passwd"}):
        with pytest.raises(AnswerLost):
            _given(body, replicate)
    with pytest.raises(ContentRefused):
        _given({"status": "failed", "error": "NSFW content detected"}, replicate)
    with pytest.raises(VendorRefused):
        _given({"status": "failed", "error": "CUDA error"}, replicate)


def test_both_forms_of_the_mapping_are_read() -> None:
    entry = {"status": "live", "providerId": "m", "task": "text-to-image", "adapter": "lora", "adapterWeightsPath": "w"}
    expected = (Served("fal-ai", "m", "w", "live"),)
    assert _served({"fal-ai": entry}) == _served([{**entry, "provider": "fal-ai"}]) == expected
    assert _served({"fal-ai": {**entry, "task": "text-to-video"}}) == _served(None) == _served({"a": 1}) == ()


@pytest.mark.parametrize(
    ("url", "repo"),
    [
        ("https://huggingface.co/ann/zib", "ann/zib"),
        ("https://huggingface.co/ann/zib/resolve/main/a.safetensors", "ann/zib"),
        ("http://hub.local:8/ann/zib/resolve/v1/a.safetensors", "ann/zib"),
        ("https://example.org/ann/zib", ""),
        ("https://huggingface.co/ann", ""),
        ("https://[", ""),
        ("", ""),
    ],
)
def test_the_repo_of_an_address(url: str, repo: str) -> None:
    assert repo_at(url, "http://hub.local:8") == repo


def test_the_catalogs_rows_say_what_they_need() -> None:
    for row in find_hosted("huggingface", "generate"):
        assert row.most_lora_bytes or row.size_names
        assert {"prompt", "size", "steps", "guidance", "seed"} <= set(row.fields)
        assert ("loras" in row.fields) != ({"lora", "scale"} <= set(row.fields))
        assert row.price.source
        assert row.most_loras == 1
