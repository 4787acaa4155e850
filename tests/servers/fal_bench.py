"""fal's stand-in on a real socket, with faults on the way, and the trainer and generator wired to it."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from limner.generation.fal.generator import FalGenerator
from limner.generation.generator import Drawn, GenerationOrder
from limner.money import payments as money
from limner.settings import Settings
from limner.stand_ins.catalog import write_catalog
from limner.stand_ins.fal.server import FalStandIn
from limner.stand_ins.serving import serve
from limner.training.fal import FalTrainer, following
from limner.training.recipe import Recipe
from limner.training.trainer import TrainingOrder, TrainingReport
from limner.types import LoraUse, SubjectFacts, SubjectKind
from limner.vendors.fal import client as fal_vendor
from limner.vendors.http import client as http
from limner.vendors.http import limiter
from tests.servers.faults import Fault, Faulty
from tests.servers.orders import ended, generation_order, lora_file, training_order
from tests.servers.quick_engine import QuickEngine

__all__ = ["TOKEN", "FalBench", "open_bench"]

TOKEN = "fal-planted-key-of-ann:0123456789"


@dataclass
class FalBench:
    stand_in: FalStandIn
    faulty: Faulty
    settings: Settings
    folder: Path

    @property
    def trainer(self) -> FalTrainer:
        return FalTrainer(self.settings)

    @property
    def generator(self) -> FalGenerator:
        return FalGenerator(self.settings)

    def training(self, name: str = "training_1", base: str = "limner-tiny", **changes: Any) -> TrainingOrder:
        """An order of ten photos; ``recipe`` changes single settings."""
        kind = changes.pop("kind", SubjectKind.CHARACTER)
        subject = SubjectFacts("zibbo", "Zibbo", kind, "character", "zibbo")
        recipe = replace(Recipe(base, steps=20), **changes.pop("recipe", {}))
        return training_order(self.folder, name, recipe, subject, layout="fal", **changes)

    def lora(self, name: str = "rex", base: str = "limner-tiny", seed: int = 1, scale: float = 0.8) -> LoraUse:
        """A lora of a base, as a file here."""
        return lora_file(self.folder, name, base, seed, scale)

    def generation(self, *loras: LoraUse, **changes: Any) -> GenerationOrder:
        return generation_order(*loras, **changes)

    async def follow(self, order: TrainingOrder, reference: str, trainer: FalTrainer | None = None) -> TrainingReport:
        """Poll until the training has ended."""
        return await ended(trainer or self.trainer, order, reference)

    def train(self, order: TrainingOrder) -> TrainingReport:
        """Start and follow to the end."""

        async def whole() -> TrainingReport:
            return await self.follow(order, await self.trainer.start(order))

        return asyncio.run(whole())

    def draw(self, order: GenerationOrder) -> list[Drawn]:
        """All pictures that come, by index."""
        return asyncio.run(_all(self.generator.draw(order)))


async def _all(coming: AsyncIterator[Drawn]) -> list[Drawn]:
    return sorted([drawn async for drawn in coming], key=lambda drawn: drawn.index)


@contextmanager
def open_bench(folder: Path, monkeypatch: pytest.MonkeyPatch, *plan: Fault) -> Iterator[FalBench]:
    """A bench whose waits take no time, and whose catalog is the stand-ins'."""
    rows, bases = (importlib.import_module(f"limner.catalog.{name}") for name in ("hosted", "bases"))
    catalog = write_catalog(folder / "catalog")
    monkeypatch.setattr(rows, "_own", [catalog])
    monkeypatch.setattr(bases, "_own", [catalog])
    bases.bases.cache_clear()
    monkeypatch.setattr(limiter, "_limiters", {})
    monkeypatch.setattr(http, "pause", lambda seconds: asyncio.sleep(0))
    monkeypatch.setattr(money, "LOOKS", (0.0, 0.0))
    monkeypatch.setattr(fal_vendor, "LOOKS", (0.0, 0.0))
    monkeypatch.setattr(fal_vendor, "FACTS", replace(fal_vendor.FACTS, rate=5000.0, burst=5000))
    monkeypatch.setattr(following, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr("limner.generation.fal.generator.PAUSES", (0.005, 0.02))
    monkeypatch.setenv("FAL_KEY", TOKEN)
    stand_in = FalStandIn(QuickEngine(), tokens={TOKEN: "ann", "fal-another-key": "bob"})
    faulty = Faulty(stand_in.app, plan)
    with serve(faulty, stand_in):
        settings = Settings(
            home=folder / "home",
            fal_queue_url=stand_in.queue_url,
            fal_rest_url=stand_in.rest_url,
            fal_api_url=stand_in.api_url,
        )
        yield FalBench(stand_in, faulty, settings, folder)
    bases.bases.cache_clear()
