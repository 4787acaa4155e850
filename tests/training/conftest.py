"""A random FLUX.1 pipeline, real photos rendered as a dataset folder, and orders for the local trainer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limner.settings import Settings
from limner.training.local.run_directory import RunDirectory, identity_of
from limner.training.local.trainer import LocalTrainer
from limner.training.recipe import Recipe
from limner.training.trainer import TrainingOrder
from limner.types import Base, Family
from tests.flux.random_pipelines import random_base

from .orders import MakeOrder, write_dataset


@pytest.fixture(scope="session")
def base() -> Base:
    return random_base("random-flux1", Family.FLUX1, guidance_embedded=False)


@pytest.fixture
def make_order(tmp_path: Path, base: Base, base_folder: Path, real_photos: list[Path]) -> MakeOrder:
    """Make an order in a run directory of its own, dataset written; keyword arguments change the recipe."""

    def make(name: str = "run", *, sample_prompts: tuple[str, ...] = (), **changes: Any) -> TrainingOrder:
        recipe = Recipe(
            base.id,
            rank=4,
            alpha=4.0,
            learning_rate=1e-3,
            steps=6,
            batch_size=2,
            resolution=32,
            checkpoint_every=2,
            sample_every=0,
            caption_dropout=0.2,
        )
        folder = tmp_path / name
        manifest = write_dataset(folder / "dataset", real_photos)
        return TrainingOrder(
            id=f"training-{name}",
            run_directory=folder,
            manifest=manifest,
            photo_path=lambda digest: tmp_path / digest,
            recipe=replace(recipe, **changes),
            base=base,
            base_path=str(base_folder),
            sample_prompts=sample_prompts,
        )

    return make


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalTrainer]:
    """A local trainer whose processes are ended after the test, whatever happened."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield LocalTrainer(Settings(home=tmp_path / "home", device="cpu"), grace=20.0)
    for lock in tmp_path.rglob("lock"):
        run = RunDirectory(lock.parent)
        record = run.read(run.trainer)
        if record and identity_of(record["pid"]) == record["identity"]:
            LocalTrainer(Settings(home=tmp_path), grace=1.0).cancel_now(run.folder)
