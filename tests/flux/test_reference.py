"""The engine held against diffusers: whole drawings bit for bit, and the loss against a plain reimplementation."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

from limner.flux.adapter import Adapter, LoraLinear, layer_shapes
from limner.flux.batches import EncodedDataset
from limner.flux.families import family_of
from limner.flux.family import Conditioning, match_modules
from limner.flux.loop import batch_loss
from limner.flux.sampling import draw

pytestmark = pytest.mark.engine

RECIPE = SimpleNamespace(seed=11, caption_dropout=0.5, timestep_sampling="logit-normal", guidance=2.5)
TEXTS = ("", "a cat", "a dog on a roof")
GRID = (4, 6)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_drawing_is_the_one_that_the_plain_pipeline_gives(kind: Any, guidance: float) -> None:
    """The same prompt, seed and settings given to diffusers' pipeline as its documentation says."""
    mine = draw(kind.load(), kind.base, "a cat", width=48, height=32, steps=3, guidance=guidance, seed=5)
    pipeline = kind.load()
    against: dict[str, Any] = {}
    if kind.base.family == "flux1" and not kind.base.guidance_embedded and guidance > 1:
        against = {"negative_prompt": "", "true_cfg_scale": guidance}
    theirs = pipeline(
        prompt="a cat",
        width=48,
        height=32,
        num_inference_steps=3,
        guidance_scale=guidance,
        max_sequence_length=kind.base.max_text_tokens,
        generator=torch.Generator().manual_seed(5),
        **against,
    ).images[0]
    assert numpy.asarray(mine).std() > 1
    assert numpy.array_equal(numpy.asarray(mine), numpy.asarray(theirs))


def encoded(kind: Any, pipeline: Any, dtype: torch.dtype = torch.float32) -> EncodedDataset:
    """Four random pictures with two captions."""
    family = family_of(kind.base)
    chance = torch.Generator().manual_seed(2)
    pictures = tuple(torch.randn(GRID[0] * GRID[1], 16, generator=chance) for _ in range(4))
    texts = Conditioning.stack([family.encode_text(pipeline, text, kind.base) for text in TEXTS])
    return EncodedDataset(pictures, (GRID,) * 4, (1, 2, 1, 2), texts, dtype=dtype)


def mounted(kind: Any, transformer: Any) -> Adapter:
    """An adapter on all linear layers whose B is not zero."""
    names = match_modules(family_of(kind.base), transformer, "all-linear")
    adapter = Adapter(transformer, layer_shapes(names, 2, 3.0), seed=0)
    chance = torch.Generator().manual_seed(4)
    adapter.load({name: torch.randn(p.shape, generator=chance) * 0.2 for name, p in adapter.parameters().items()})
    return adapter


def merge(adapter: Adapter) -> None:
    """Take the adapter off and add what it did to the weights themselves."""
    adapter.unmount()
    with torch.no_grad():
        for layer in adapter.layers.values():
            layer.frozen.weight += 1.5 * layer.lora_B @ layer.lora_A


def plain_loss(pipeline: Any, data: EncodedDataset, rows: list[int], number: int) -> Tensor:
    """Flow matching spelled out, one picture after the other, with the pipeline's own position ids."""
    digest = hashlib.sha256(f"{RECIPE.seed}/step/{number}".encode()).digest()
    chance = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    sigmas = 1 / (1 + torch.exp(-torch.randn(len(rows), generator=chance)))
    noises = torch.randn(len(rows), GRID[0] * GRID[1], 16, generator=chance)
    kept = torch.rand(len(rows), generator=chance) >= RECIPE.caption_dropout
    transformer = pipeline.transformer
    errors = []
    for row, sigma, noise, keep in zip(rows, sigmas, noises, kept, strict=True):
        picture = data.pictures[row]
        text = data.texts.embeds[data.text_rows[row] if keep else 0][None]
        if hasattr(pipeline, "_prepare_latent_image_ids"):
            ids = {
                "img_ids": pipeline._prepare_latent_image_ids(1, *GRID, "cpu", torch.float32),
                "txt_ids": torch.zeros(text.shape[1], 3),
                "pooled_projections": data.texts.pooled[data.text_rows[row] if keep else 0][None],
            }
        else:
            ids = {
                "img_ids": pipeline._prepare_latent_ids(torch.zeros(1, 16, *GRID)),
                "txt_ids": pipeline._prepare_text_ids(text),
            }
        predicted = transformer(
            hidden_states=((1 - sigma) * picture + sigma * noise)[None],
            timestep=sigma[None],
            guidance=torch.tensor([RECIPE.guidance]) if transformer.config.guidance_embeds else None,
            encoder_hidden_states=text,
            return_dict=False,
            **ids,
        )[0][0]
        errors.append((predicted - (noise - picture)) ** 2)
    return torch.stack(errors).mean()


def test_the_loss_is_that_of_plain_flow_matching(kind: Any) -> None:
    pipeline = kind.load()
    family = family_of(kind.base)
    data = encoded(kind, pipeline)
    adapter = mounted(kind, pipeline.transformer)
    batches = [([0, 1, 3], 0), ([2, 2, 1, 0], 7)]
    with torch.no_grad():
        drawn = [batch_loss(family, pipeline.transformer, data, RECIPE, rows, n) for rows, n in batches]
    trained = [batch_loss(family, pipeline.transformer, data, RECIPE, rows, n) for rows, n in batches]
    merge(adapter)
    with torch.no_grad():
        wanted = torch.stack([plain_loss(pipeline, data, rows, number) for rows, number in batches])
    torch.testing.assert_close(torch.stack(drawn), wanted, rtol=1e-5, atol=0)
    torch.testing.assert_close(torch.stack(trained).detach(), wanted, rtol=1e-5, atol=0)


def gradients(kind: Any, pipeline: Any, data: EncodedDataset, adapter: Adapter) -> tuple[Tensor, list[Tensor]]:
    loss = batch_loss(family_of(kind.base), pipeline.transformer, data, RECIPE, [0, 1, 2], 3)
    return loss.detach(), list(torch.autograd.grad(loss, list(adapter.parameters().values())))


def test_recomputing_activations_changes_no_gradient(kind: Any) -> None:
    """What large models train with to save memory."""
    pipeline = kind.load()
    data = encoded(kind, pipeline)
    adapter = mounted(kind, pipeline.transformer)
    loss, plain = gradients(kind, pipeline, data, adapter)
    pipeline.transformer.enable_gradient_checkpointing()
    again, recomputed = gradients(kind, pipeline, data, adapter)
    assert torch.equal(loss, again)
    assert all(torch.equal(one, other) for one, other in zip(plain, recomputed, strict=True))
    assert any(gradient.abs().max() > 0 for gradient in plain)


def test_bfloat16_gives_float32_gradients_along_those_of_plain_autograd(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does: everything frozen in bfloat16, the trained layers and their gradients in float32."""
    pipeline = kind.load(dtype=torch.bfloat16)
    data = encoded(kind, pipeline, torch.bfloat16)
    adapter = mounted(kind, pipeline.transformer)
    loss, fused = gradients(kind, pipeline, data, adapter)

    def plain(layer: LoraLinear, x: Tensor) -> Tensor:
        linear = torch.nn.functional.linear
        low = linear(linear(x, layer.lora_A.to(x.dtype)), layer.lora_B.to(x.dtype))
        return layer.frozen(x) + layer.scale * low

    monkeypatch.setattr(LoraLinear, "forward", plain)
    reference, wanted = gradients(kind, pipeline, data, adapter)
    assert all(gradient.dtype is torch.float32 for gradient in fused)
    assert abs(float(loss - reference)) < 0.01 * float(reference)
    one, other = (torch.cat([gradient.flatten() for gradient in parts]) for parts in (fused, wanted))
    assert float(torch.nn.functional.cosine_similarity(one, other, dim=0)) > 0.98
