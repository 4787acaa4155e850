"""Small orders for the benches of the vendors: a training of ten photos, a lora as a file, a generation."""

from __future__ import annotations

import asyncio
import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from limner.catalog.bases import find_base
from limner.datasets.packages import package
from limner.generation.generator import GenerationOrder
from limner.training.recipe import Recipe
from limner.training.trainer import Trainer, TrainingOrder, TrainingReport
from limner.types import Crop, DatasetItem, DatasetManifest, LoraUse, SubjectFacts
from tests.servers.quick_engine import quick_lora

__all__ = ["ended", "generation_order", "lora_file", "photo_file", "training_order"]


def photo_file(folder: Path, number: int) -> tuple[str, Path]:
    """A small picture, by its digest."""
    pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    digest = hashlib.sha256(sink.getvalue()).hexdigest()
    path = folder / digest
    path.write_bytes(sink.getvalue())
    return digest, path


def training_order(
    folder: Path, name: str, recipe: Recipe, subject: SubjectFacts, *, layout: str, **changes: Any
) -> TrainingOrder:
    """An order of ten photos, packed in a trainer's layout into the run directory ``name``."""
    photos = dict(photo_file(folder, number) for number in range(10))
    items = tuple(
        DatasetItem(digest, "image/png", 32, 32, f"a photo of zibbo, number {n}", Crop(0, 0, 32, 32), (32, 32))
        for n, digest in enumerate(photos)
    )
    manifest, directory = DatasetManifest("ab" * 32, subject, 32, items), folder / name

    def packed() -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        return package(layout, manifest, photos.__getitem__, directory / "photos.zip").path

    made = TrainingOrder(
        id=name,
        run_directory=directory,
        manifest=manifest,
        photo_path=photos.__getitem__,
        recipe=recipe,
        base=find_base(recipe.base),
        base_path="/nowhere",
        package=packed,
    )
    return replace(made, **changes)


def lora_file(folder: Path, name: str, base: str, seed: int, scale: float) -> LoraUse:
    """A lora of a base, as a file here."""
    data = quick_lora(base, 4, bytes([seed]))
    path = folder / f"{name}-{seed}.safetensors"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return LoraUse(digest, scale, f"{name}@v1", path=path, base=base, byte_size=len(data))


def generation_order(*loras: LoraUse, base: str = "limner-tiny", **changes: Any) -> GenerationOrder:
    """One picture of 128 by 64 pixels."""
    made = GenerationOrder(
        id="generation_1",
        prompt="a drawing of zibbo",
        base=find_base(base),
        base_path="/nowhere",
        loras=tuple(loras),
        width=128,
        height=64,
        steps=4,
        guidance=2.0,
        seed=7,
    )
    return replace(made, **changes)


async def ended(trainer: Trainer, order: TrainingOrder, reference: str) -> TrainingReport:
    """Poll until the training has ended."""
    for _ in range(2000):
        report = await trainer.poll(order, reference)
        if report.state.ended:
            return report
        await asyncio.sleep(0.005)
    raise AssertionError(f"not ended: {report}")
