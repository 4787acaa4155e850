"""Random pipelines of every kind, made once a session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.flux.loading import load_pipeline
from limner.types import Base, Family
from tests.flux.random_pipelines import random_base, save_flux1, save_flux2, save_klein


@dataclass(frozen=True)
class Kind:
    """One kind of pipeline: its base and the folder where it is saved."""

    base: Base
    folder: Path

    def load(self, **changes: Any) -> Any:
        return load_pipeline(str(self.folder), self.base, **changes)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def flux1(base_folder: Path) -> Kind:
    return Kind(random_base("random-flux1", Family.FLUX1, guidance_embedded=False), base_folder)


@pytest.fixture(scope="session")
def flux1_guided(tmp_path_factory: pytest.TempPathFactory) -> Kind:
    folder = save_flux1(tmp_path_factory.mktemp("flux1-guided"), guidance_embeds=True)
    return Kind(random_base("random-flux1-guided", Family.FLUX1, guidance_embedded=True), folder)


@pytest.fixture(scope="session")
def klein(tmp_path_factory: pytest.TempPathFactory) -> Kind:
    folder = save_klein(tmp_path_factory.mktemp("klein"))
    return Kind(random_base("random-klein", Family.FLUX2, guidance_embedded=False), folder)


@pytest.fixture(scope="session")
def flux2(tmp_path_factory: pytest.TempPathFactory) -> Kind:
    folder = save_flux2(tmp_path_factory.mktemp("flux2"))
    return Kind(random_base("random-flux2", Family.FLUX2, guidance_embedded=True), folder)


@pytest.fixture(params=["flux1", "flux1_guided", "klein", "flux2"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    """Each kind of pipeline in turn."""
    yield request.getfixturevalue(request.param)
