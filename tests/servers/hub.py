"""A Hugging Face Hub on a real socket, as a fixture."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from limner.stand_ins.hub.server import HuggingFaceStandIn
from limner.stand_ins.serving import serve

from .quick_engine import QuickEngine

__all__ = ["TOKEN", "hub_server"]

TOKEN = "hf_planted_token_of_ann"


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFaceStandIn]:
    """A Hugging Face Hub on a real socket, at its ``url``; the token in the environment is ann's."""
    stand_in = HuggingFaceStandIn(QuickEngine(), tokens={TOKEN: "ann", "hf_of_somebody_else": "bob"})
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("limner.vendors.huggingface.hub.PAUSE", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: None))
    with serve(stand_in.app, stand_in):
        yield stand_in
