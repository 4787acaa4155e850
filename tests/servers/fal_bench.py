"""fal's stand-in on a real socket, with faults on the way, and the trainer and generator wired to it."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limner.catalog import find_base
from limner.datasets.packages import package
from limner.generation.fal import FalGenerator
from limner.generation.generator import Drawn, GenerationOrder
from limner.money import payments as money
from limner.settings import Settings
from limner.stand_ins.catalog import write_catalog
from limner.stand_ins.fal import FalStandIn
from limner.stand_ins.serving import serve
from limner.training.fal import FalTrainer, following
from limner.training.recipe import Recipe
from limner.training.trainer import TrainingOrder, TrainingReport
from limner.types import Crop, DatasetItem, DatasetManifest, LoraUse, SubjectFacts, SubjectKind
from limner.vendors import fal as fal_vendor
from limner.vendors import http, limiter
from tests.servers.faults import Fault, Faulty
from tests.servers.quick_engine import QuickEngine, quick_lora

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

    def photo(self, number: int) -> tuple[str, Path]:
        """A small picture, by its digest."""
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "PNG")
        digest = hashlib.sha256(sink.getvalue()).hexdigest()
        path = self.folder / digest
        path.write_bytes(sink.getvalue())
        return digest, path

    def training(self, name: str = "training_1", base: str = "limner-tiny", **changes: Any) -> TrainingOrder:
        """An order of ten photos; ``recipe`` changes single settings."""
        photos = dict(self.photo(number) for number in range(10))
        items = tuple(
            DatasetItem(digest, "image/png", 32, 32, f"a photo of zibbo, number {n}", Crop(0, 0, 32, 32), (32, 32))
            for n, digest in enumerate(photos)
        )
        kind = changes.pop("kind", SubjectKind.CHARACTER)
        subject = SubjectFacts("zibbo", "Zibbo", kind, "character", "zibbo")
        manifest = DatasetManifest("ab" * 32, subject, 32, items)
        directory = self.folder / name
        recipe = replace(Recipe(base, steps=20), **changes.pop("recipe", {}))

        def packed() -> Path:
            return package("fal", manifest, photos.__getitem__, directory / "photos.zip").path

        made = TrainingOrder(
            id=name,
            run_directory=directory,
            manifest=manifest,
            photo_path=photos.__getitem__,
            recipe=recipe,
            base=find_base(base),
            base_path="/nowhere",
            package=packed,
        )
        return replace(made, **changes)

    def lora(self, name: str = "rex", base: str = "limner-tiny", seed: int = 1, scale: float = 0.8) -> LoraUse:
        """A lora of a base, as a file here."""
        data = quick_lora(base, 4, bytes([seed]))
        path = self.folder / f"{name}-{seed}.safetensors"
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        return LoraUse(digest, scale, f"{name}@v1", path=path, base=base, byte_size=len(data))

    def generation(self, *loras: LoraUse, **changes: Any) -> GenerationOrder:
        base = find_base(changes.pop("base", "limner-tiny"))
        made = GenerationOrder(
            id="generation_1",
            prompt="a drawing of zibbo",
            base=base,
            base_path="/nowhere",
            loras=tuple(loras),
            width=128,
            height=64,
            steps=4,
            guidance=2.0,
            seed=7,
        )
        return replace(made, **changes)

    async def follow(self, order: TrainingOrder, reference: str, trainer: FalTrainer | None = None) -> TrainingReport:
        """Poll until the training has ended."""
        trainer = trainer or self.trainer
        for _ in range(2000):
            report = await trainer.poll(order, reference)
            if report.state.ended:
                return report
            await asyncio.sleep(0.005)
        raise AssertionError(f"not ended: {report}")

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
    monkeypatch.setattr("limner.generation.fal.PAUSES", (0.005, 0.02))
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
