"""LoRA files for tests, and an oracle for what they do that shares no code with limner.loras."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

# BFL layer -> (diffusers layers from top to bottom), written down by hand: the tests' own knowledge
FUSED = {
    "double_blocks.{}.img_attn.qkv": ["transformer_blocks.{}.attn." + p for p in ("to_q", "to_k", "to_v")],
    "double_blocks.{}.txt_attn.qkv": [
        "transformer_blocks.{}.attn." + p for p in ("add_q_proj", "add_k_proj", "add_v_proj")
    ],
    "single_blocks.{}.linear1": [
        "single_transformer_blocks.{}." + p for p in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
    ],
}
ALONE = {
    "double_blocks.{}.img_attn.proj": "transformer_blocks.{}.attn.to_out.0",
    "double_blocks.{}.txt_attn.proj": "transformer_blocks.{}.attn.to_add_out",
    "double_blocks.{}.img_mlp.0": "transformer_blocks.{}.ff.net.0.proj",
    "double_blocks.{}.img_mlp.2": "transformer_blocks.{}.ff.net.2",
    "double_blocks.{}.txt_mlp.0": "transformer_blocks.{}.ff_context.net.0.proj",
    "double_blocks.{}.txt_mlp.2": "transformer_blocks.{}.ff_context.net.2",
    "double_blocks.{}.img_mod.lin": "transformer_blocks.{}.norm1.linear",
    "double_blocks.{}.txt_mod.lin": "transformer_blocks.{}.norm1_context.linear",
    "single_blocks.{}.linear2": "single_transformer_blocks.{}.proj_out",
    "single_blocks.{}.modulation.lin": "single_transformer_blocks.{}.norm.linear",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
    "final_layer.linear": "proj_out",
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
}


@cache
def flux1_linears(width: int = 192, doubles: int = 2, singles: int = 4) -> dict[str, tuple[int, int]]:
    """(in, out) of every linear layer of diffusers' own FLUX.1 transformer."""
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        model = FluxTransformer2DModel(
            num_layers=doubles,
            num_single_layers=singles,
            attention_head_dim=width // 2,
            num_attention_heads=2,
            joint_attention_dim=128,
            pooled_projection_dim=128,
            in_channels=64,
            axes_dims_rope=(width // 8, width // 8, width // 4),
        )
    return _linears(model)


@cache
def flux2_linears(width: int, doubles: int, singles: int) -> dict[str, tuple[int, int]]:
    """(in, out) of every linear layer of diffusers' own FLUX.2 transformer."""
    from diffusers import Flux2Transformer2DModel

    with torch.device("meta"):
        model = Flux2Transformer2DModel(
            num_layers=doubles, num_single_layers=singles, attention_head_dim=width // 2, num_attention_heads=2
        )
    return _linears(model)


def _linears(model: torch.nn.Module) -> dict[str, tuple[int, int]]:
    return {n: (m.in_features, m.out_features) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}


def matrices(
    shape: tuple[int, int], rank: int, seed: int, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random down (rank, in) and up (out, rank) of a layer (in, out)."""
    generator = torch.Generator().manual_seed(seed)
    down = torch.randn(rank, shape[0], generator=generator)
    up = torch.randn(shape[1], rank, generator=generator)
    return down.to(dtype), up.to(dtype)


def diffusers_file(
    path: Path,
    linears: dict[str, tuple[int, int]],
    *,
    rank: int = 4,
    only: str = "blocks",
    dtype: torch.dtype = torch.float32,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A LoRA in diffusers' naming for all layers whose path contains ``only``."""
    tensors = {}
    for seed, (name, shape) in enumerate(linears.items()):
        if only in name:
            down, up = matrices(shape, rank, seed, dtype)
            tensors[f"transformer.{name}.lora_A.weight"] = down
            tensors[f"transformer.{name}.lora_B.weight"] = up
    return saved(path, tensors, metadata)


def saved(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata=metadata)
    return path


def kohya_name(bfl: str, number: int) -> str:
    return "lora_unet_" + bfl.format(number).replace(".", "_")


def changes(path: Path) -> dict[str, np.ndarray]:
    """What a file changes, (alpha / r) B A in float64 by diffusers path, for diffusers, Kohya and BFL names.

    As ComfyUI, sd-scripts and InvokeAI read it: alpha is a tensor beside the weights or else the rank, whatever the
    header says.
    """
    tensors = load_file(path)
    found = {}
    for name, down in tensors.items():
        for low, high in ((".lora_A.weight", ".lora_B.weight"), (".lora_down.weight", ".lora_up.weight")):
            if name.endswith(low):
                module = name.removesuffix(low)
                alpha = tensors.get(module + ".alpha", torch.tensor(float(len(down)))).double().item()
                product = tensors[module + high].double() @ down.double()
                found |= _by_diffusers_path(module, (product * (alpha / len(down))).numpy())
    return {name: change for name, change in found.items() if change.any()}


def _by_diffusers_path(module: str, change: np.ndarray) -> dict[str, np.ndarray]:
    if module.startswith("transformer."):
        return {module.removeprefix("transformer."): change}
    for number in range(40):
        for bfl, parts in FUSED.items():
            if module in (kohya_name(bfl, number), "diffusion_model." + bfl.format(number)):
                shares = [1, 1, 1, 4][: len(parts)]
                ends = np.cumsum(shares) * (len(change) // sum(shares))
                pieces = np.split(change, ends[:-1])
                return {part.format(number): piece for part, piece in zip(parts, pieces, strict=True)}
        for bfl, part in ALONE.items():
            if module in (kohya_name(bfl, number), "diffusion_model." + bfl.format(number)):
                if part == "norm_out.linear":
                    change = np.concatenate(np.split(change, 2)[::-1])
                return {part.format(number): change}
    raise AssertionError(f"the oracle does not know {module}")


def assert_same_changes(left: dict[str, np.ndarray], right: dict[str, np.ndarray], tolerance: float = 1e-12) -> None:
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_allclose(left[name], right[name], rtol=tolerance, atol=tolerance * np.abs(left[name]).max())
