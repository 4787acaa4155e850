"""What the tests of hubs publish: true weights, a true card, true pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from limner.catalog import find_base
from limner.hubs.card import CardFacts, CardSample, model_card
from limner.hubs.hub import LoraPackage
from limner.plugins import back_end
from limner.settings import Settings
from limner.types import SubjectKind
from tests.servers.hub import hub_server

from .bucket import bucket_address, bucket_settings, new_bucket, s3_client  # noqa: F401 - fixtures

__all__ = ["Packer", "card_facts", "hub_server"]

Packer = Callable[..., LoraPackage]


def card_facts(**changes: object) -> CardFacts:
    facts: dict[str, object] = {
        "repo": "ann/jane",
        "title": "Jane",
        "kind": SubjectKind.CHARACTER,
        "trigger": "jane_doe",
        "class_word": "character",
        "base": find_base("limner-tiny"),
        "weights_name": "pytorch_lora_weights.safetensors",
        "weights_digest": "ab" * 32,
        "tag": "v1",
        "rank": 4,
        "alpha": 4.0,
        "modules": 40,
        "dataset_digest": "cd" * 32,
        "photos": 10,
        "settings": {"steps": 300, "learning rate": 0.001},
        "samples": (CardSample("a.png", "jane_doe in the rain"),),
        "limner_version": "0.1.0",
    }
    return CardFacts(**(facts | changes))  # type: ignore[arg-type]


def weights(path: Path, seed: int, size: int = 4000) -> Path:
    values = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    path.write_bytes(save({"transformer.x_embedder.lora_A.weight": values.reshape(4, -1)}))
    return path


@pytest.fixture
def pack(tmp_path: Path) -> Packer:
    """Make a package: ``pack(seed, title=..., sample=b"...")``."""

    def make(seed: int = 0, *, title: str = "Jane", sample: bytes | None = b"picture", size: int = 4000) -> LoraPackage:
        path = weights(tmp_path / f"weights-{seed}.safetensors", seed, size)
        samples = {}
        if sample is not None:
            samples["a.png"] = tmp_path / f"sample-{hashlib.sha256(sample).hexdigest()[:8]}.png"
            samples["a.png"].write_bytes(sample)
        return LoraPackage(
            path, hashlib.sha256(path.read_bytes()).hexdigest(), model_card(card_facts(title=title)), samples
        )

    return make


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LIMNER_HOME", str(tmp_path / "home"))
    return Settings(home=tmp_path / "home")


@pytest.fixture
def settings_for(request: pytest.FixtureRequest, settings: Settings) -> Callable[[str], Settings]:
    """Settings with which a hub works here: its service on a real socket, its secrets in the environment.

    A hub that is not named here is run with the plain settings of a home of its own.
    """

    def make(hub_name: str) -> Settings:
        if hub_name == "huggingface":
            url = request.getfixturevalue("hub_server").url
            return settings.model_copy(update={"huggingface_url": url})
        if hub_name == "s3":
            return settings.model_copy(update=request.getfixturevalue("bucket_settings"))
        return settings

    return make


@pytest.fixture
def folder_hub(settings: Settings) -> object:
    return back_end("limner.hubs", "folder", settings=settings)
