"""Two loras for a random FLUX.1 pipeline, made once, and a bench of its own a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limner.flux import sampling
from limner.operations.home.workspace import Workspace
from limner.settings import Settings

from .bench import Bench, Queue, add_lora
from .making import random_lora


@pytest.fixture(scope="session")
def lora_files(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One of rank 4 on all layers, one of rank 2 with an alpha of its own on some of the same layers."""
    folder = tmp_path_factory.mktemp("loras")
    first = random_lora(base_folder, folder / "first.safetensors", rank=4, alpha=4.0, seed=1)
    second = random_lora(base_folder, folder / "second.safetensors", rank=2, alpha=3.0, seed=2, layers="attn")
    return first, second


@pytest.fixture
def bench(tmp_path: Path, base_folder: Path, lora_files: tuple[Path, Path]) -> Iterator[Bench]:
    settings = Settings(
        home=tmp_path / "home", device="cpu", start_worker=False, base_paths={"limner-tiny": base_folder}
    )
    workspace = Workspace(settings)
    workspace.__dict__["submitter"] = Queue()
    for slug, path in zip(("first", "second"), lora_files, strict=True):
        add_lora(workspace, slug, path)
    yield Bench(workspace)
    workspace.close()


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seed of every picture that the engine draws."""
    seeds: list[int] = []
    draw = sampling.draw

    def noted(*arguments: Any, **options: Any) -> Any:
        seeds.append(options["seed"])
        return draw(*arguments, **options)

    monkeypatch.setattr(sampling, "draw", noted)
    return seeds
