"""Replicate's stand-in on a real socket, with faults on the way, and the trainer and generator wired to it."""

from __future__ import annotations

import asyncio
import importlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from openapi_core import Config, OpenAPI

from limner.catalog import find_base
from limner.errors import AnswerLost
from limner.generation.generator import Drawn, GenerationOrder
from limner.generation.replicate import generator as generating
from limner.generation.replicate.generator import ReplicateGenerator
from limner.money import payments as money
from limner.money.payments import Find, Purchase, Receipt, Send, find_lost
from limner.settings import Settings
from limner.stand_ins.catalog import write_catalog
from limner.stand_ins.replicate.server import ReplicateStandIn
from limner.stand_ins.serving import serve
from limner.training.recipe import Recipe
from limner.training.replicate import ReplicateTrainer
from limner.training.replicate import trainer as training
from limner.training.trainer import Collected, TrainingOrder, TrainingReport
from limner.types import LoraUse, SubjectFacts, SubjectKind
from limner.vendors.http import client as http
from limner.vendors.http import limiter
from limner.vendors.replicate import client as vendor
from tests.servers.contracts import Validated, read_spec
from tests.servers.faults import Fault, Faulty
from tests.servers.orders import ended, generation_order, lora_file, training_order
from tests.servers.quick_engine import QuickEngine

__all__ = ["TOKEN", "Book", "Killed", "ReplicateBench", "described", "open_bench"]

TOKEN = "r8_planted-token-of-ann"


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


@dataclass
class Book:
    """Payments that outlive a killed run, as the database's do: an open intent is looked up before it is sent again."""

    open: set[str] = field(default_factory=set)
    answered: dict[str, str] = field(default_factory=dict)
    settled: dict[str, Decimal | None] = field(default_factory=dict)
    purchases: list[Purchase] = field(default_factory=list)
    kill_after_send: bool = False

    async def once(self, purchase: Purchase, *, send: Send, find: Find | None = None, settle: bool = True) -> Receipt:
        self.purchases.append(purchase)
        tag = purchase.tag
        if tag in self.answered and settle:
            return Receipt(self.answered[tag])
        if tag in self.open and find is not None and (found := await find()) is not None:
            self.answered[tag] = found.reference
            return found
        assert tag not in self.answered, "what was answered is never sent again"
        self.open.add(tag)
        try:
            receipt = await send()
        except AnswerLost as lost:
            receipt = await find_lost(purchase, find, lost)
        if self.kill_after_send:
            raise Killed
        self.answered[tag] = receipt.reference
        return receipt

    async def settle(self, tag: str, *, cost: Decimal | None = None, reference: str = "") -> None:
        self.settled[tag] = cost if cost is not None else self.settled.get(tag)

    async def opened_at(self, tag: str) -> None:
        return None

    async def failed(self, tag: str, *, cost: Decimal | None = None) -> None:
        self.settled[tag] = cost


@dataclass
class ReplicateBench:
    stand_in: ReplicateStandIn
    faulty: Faulty
    checked: Validated
    settings: Settings
    folder: Path

    @property
    def trainer(self) -> ReplicateTrainer:
        return ReplicateTrainer(self.settings)

    @property
    def generator(self) -> ReplicateGenerator:
        return ReplicateGenerator(self.settings)

    def training(self, name: str = "training_1", base: str = "limner-tiny", **changes: Any) -> TrainingOrder:
        """An order of ten photos; ``recipe`` changes single settings."""
        subject = SubjectFacts("zibbo", "Zibbo", changes.pop("kind", SubjectKind.PERSON), "person", "zibbo")
        usual = Recipe(base, rank=4, alpha=4.0, steps=20, resolution=find_base(base).resolutions[0])
        recipe = replace(usual, **changes.pop("recipe", {}))
        return training_order(self.folder, name, recipe, subject, layout="replicate", **changes)

    def lora(self, name: str = "rex", base: str = "limner-tiny", seed: int = 1, scale: float = 0.8) -> LoraUse:
        """A lora of a base, as a file here."""
        return lora_file(self.folder, name, base, seed, scale)

    def generation(self, *loras: LoraUse, **changes: Any) -> GenerationOrder:
        return generation_order(*loras, **changes)

    async def follow(
        self, order: TrainingOrder, reference: str, trainer: ReplicateTrainer | None = None
    ) -> TrainingReport:
        """Poll until the training has ended."""
        return await ended(trainer or self.trainer, order, reference)

    def train(self, order: TrainingOrder, trainer: ReplicateTrainer | None = None) -> TrainingReport:
        """Start and follow to the end."""

        async def whole() -> TrainingReport:
            used = trainer or self.trainer
            return await self.follow(order, await used.start(order), used)

        return asyncio.run(whole())

    def trained(self, order: TrainingOrder) -> Collected:
        """Start, follow, collect."""

        async def whole() -> Collected:
            reference = await self.trainer.start(order)
            report = await self.follow(order, reference)
            assert report.error == ""
            return await self.trainer.collect(order, reference)

        return asyncio.run(whole())

    def draw(self, order: GenerationOrder) -> list[Drawn]:
        """All pictures that come, by index."""
        return asyncio.run(_all(self.generator.draw(order)))

    @property
    def paid(self) -> int:
        return len(self.stand_in.paid)


async def _all(coming: AsyncIterator[Drawn]) -> list[Drawn]:
    return sorted([drawn async for drawn in coming], key=lambda drawn: drawn.index)


TRAINED_ROW = """
[trained-limner-tiny]
vendor = "replicate"
does = "generate"
model = "trained/limner-tiny"
base = "limner-tiny"
price = { model = "per_second", amount = "0.001", certain = false }
seconds = 2
steps = 12
most_steps = 50
most_loras = 2
scales = [-1.0, 3.0]
sizes = [64, 192, 16]
source = "the stand-in"
as_of = "2026-11-24"
fixed = { aspect_ratio = "custom", output_format = "png", go_fast = false }
[trained-limner-tiny.fields]
prompt = "prompt"
steps = "num_inference_steps"
guidance = "guidance_scale"
seed = "seed"
count = "num_outputs"
width = "width"
height = "height"
size = "aspect_ratio"
scale = "lora_scale"
extra_lora = "extra_lora"
extra_scale = "extra_lora_scale"
"""


@cache
def described() -> OpenAPI:
    """The vendor's description, in which ``nullable`` means what it says: OpenAPI 3.1 has no such word."""
    spec = {**_nullable(read_spec("replicate")), "servers": [{"url": "/v1"}]}
    return OpenAPI.from_dict(spec, config=Config(spec_validator_cls=None))


def _nullable(value: Any) -> Any:
    if isinstance(value, list):
        return [_nullable(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {key: _nullable(one) for key, one in value.items()}
    if made.get("nullable") is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


@cache
def _catalog() -> dict[str, str]:
    """The stand-ins' catalog, made once: it is the same for every test."""
    with tempfile.TemporaryDirectory() as folder:
        return {path.name: path.read_text() for path in write_catalog(Path(folder)).iterdir()}


@contextmanager
def open_bench(folder: Path, monkeypatch: pytest.MonkeyPatch, *plan: Fault) -> Iterator[ReplicateBench]:
    """A bench whose waits take no time, and whose catalog is the stand-ins'."""
    rows, bases = (importlib.import_module(f"limner.catalog.{name}") for name in ("hosted", "bases"))
    own = folder / "own"
    own.mkdir()
    (own / "hosted.toml").write_text(TRAINED_ROW)
    catalog = folder / "catalog"
    catalog.mkdir()
    for name, text in _catalog().items():
        (catalog / name).write_text(text)
    monkeypatch.setattr(rows, "_own", [catalog, own])
    monkeypatch.setattr(bases, "_own", [catalog])
    bases.bases.cache_clear()
    monkeypatch.setattr(limiter, "_limiters", {})
    monkeypatch.setattr(http, "pause", lambda seconds: asyncio.sleep(0))
    monkeypatch.setattr(money, "LOOKS", (0.0, 0.0))
    monkeypatch.setattr(vendor, "FACTS", replace(vendor.FACTS, rate=5000.0, burst=5000))
    monkeypatch.setattr(vendor, "CREATES", (5000.0, 5000))
    monkeypatch.setattr(generating, "LOOKS", (0.005, 0.01))
    monkeypatch.setattr(training, "FIRST_LOOK", 2.0)
    monkeypatch.setenv("REPLICATE_API_TOKEN", TOKEN)
    stand_in = ReplicateStandIn(QuickEngine(), tokens={TOKEN: "ann", "r8_another-token": "bob"})
    stand_in.per_minute = (100_000, 100_000)
    checked = Validated(stand_in.app, "replicate", under="/v1")
    checked.described = described()
    faulty = Faulty(checked, plan)
    with serve(faulty, stand_in) as url:
        yield ReplicateBench(stand_in, faulty, checked, Settings(home=folder / "home", replicate_url=url), folder)
    bases.bases.cache_clear()
