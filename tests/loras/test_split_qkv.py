"""sd-scripts' split_qkv: parts trained apart with alpha / r each, saved as one of n times the rank with that alpha."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from limner.loras import inspect
from limner.loras.conversion.convert import convert
from limner.types import Family, TensorNaming

from .definitions import assert_same, changes, pack, read, write

WIDTH, RANK = 192, 2
SINGLE = ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]
HEIGHTS = [WIDTH, WIDTH, WIDTH, 4 * WIDTH]
MODULE = "lora_unet_single_blocks_0_linear1"


def trained(folder: Path, args: object, dim: str, alpha: float) -> tuple[Path, dict[str, np.ndarray]]:
    """The file as sd-scripts merges it, and B A of each part."""
    chance = np.random.default_rng(1)
    downs = [chance.integers(-9, 10, (RANK, WIDTH)) / 4 for _ in HEIGHTS]
    ups = [chance.integers(-9, 10, (height, RANK)) / 4 for height in HEIGHTS]
    up = np.zeros((sum(HEIGHTS), RANK * len(HEIGHTS)))
    for at, (top, part) in enumerate(zip(np.cumsum([0, *HEIGHTS]), ups, strict=False)):
        up[top : top + len(part), at * RANK : (at + 1) * RANK] = part
    tensors = {
        f"{MODULE}.lora_down.weight": pack(np.concatenate(downs), "BF16"),
        f"{MODULE}.lora_up.weight": pack(up, "BF16"),
        f"{MODULE}.alpha": pack(np.float64(alpha), "F32"),
    }
    metadata = {"ss_network_module": "networks.lora_flux", "ss_network_dim": dim, "ss_network_args": json.dumps(args)}
    products = {f"single_transformer_blocks.0.{p}": b @ a for p, a, b in zip(SINGLE, downs, ups, strict=True)}
    return write(folder / "a.safetensors", tensors, metadata), products


SPLIT = {"split_qkv": "True", "train_blocks": "single"}


@pytest.mark.parametrize(
    ("args", "dim", "times"),
    [
        (SPLIT, "2", 1),
        (SPLIT | {"single_dim": "2"}, "16", 1),
        ({"split_qkv": "False"}, "2", 1 / 4),
        ({}, "8", 1 / 4),
        (SPLIT, "8", 1 / 4),  # another rank: it was made anew since
        ("split_qkv", "2", 1 / 4),
        (["split_qkv"], "none", 1 / 4),
    ],
)
def test_split_layers_have_the_strength_that_they_were_trained_with(
    tmp_path: Path, args: object, dim: str, times: float
) -> None:
    alpha = 1.0
    path, products = trained(tmp_path, args, dim, alpha)
    means = {part: times * alpha / RANK * product for part, product in products.items()}
    told = {finding.code for finding in inspect(path).findings}
    assert ("split-qkv" in told) == (times == 1)
    for naming in (TensorNaming.DIFFUSERS, TensorNaming.KOHYA, TensorNaming.BFL):
        done = convert(path, naming, tmp_path / f"{naming}.safetensors")
        assert_same(means, changes(done.path, Family.FLUX1))
        again = convert(done.path, TensorNaming.KOHYA, tmp_path / "again.safetensors")
        assert_same(means, changes(again.path, Family.FLUX1))
        assert ("ss_network_args" in read(done.path)[1]) == (args == {} or "True" not in str(args))
