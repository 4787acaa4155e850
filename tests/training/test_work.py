"""Inside the training process: what it reads, and what it lets go of."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import torch

from limner.flux.loading import load_pipeline, load_transformer
from limner.training.local.work import free_encoders
from limner.types import Base

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("keep_decoder", [True, False])
def test_the_encoders_are_gone_from_memory_before_the_transformer_comes(
    base: Base, base_folder: Path, keep_decoder: bool
) -> None:
    pipeline = load_pipeline(str(base_folder), base, transformer=None)
    assert pipeline.transformer is None
    texts = [weakref.ref(pipeline.text_encoder), weakref.ref(pipeline.text_encoder_2)]
    decoder = weakref.ref(pipeline.vae)
    free_encoders(pipeline, keep_decoder=keep_decoder)
    assert [encoder() for encoder in texts] == [None, None]
    assert (decoder() is not None) is keep_decoder
    transformer = load_transformer(pipeline, str(base_folder), base, device="cpu", dtype=torch.float32)
    assert pipeline.transformer is transformer
    assert not any(parameter.requires_grad for parameter in transformer.parameters())
