"""Records, pictures, loras and orders for the tests of this folder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from PIL import Image

from limner.catalog import find_base
from limner.generation.generator import GenerationOrder
from limner.types import ImageRecord, LoraUse

__all__ = ["flat_png", "lora_use", "many", "order", "picture", "random_lora", "record", "saved_as"]

many = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""How a property is tested: on many examples, whatever the time that one takes."""


def picture(width: int = 24, height: int = 16) -> Image.Image:
    """A picture in which every pixel differs from its neighbours."""
    made = Image.new("RGB", (width, height))
    made.putdata([(x * 9 % 256, y * 13 % 256, (x * y) % 256) for y in range(height) for x in range(width)])
    return made


def saved_as(kind: str, made: Image.Image | None = None, **options: Any) -> bytes:
    """A picture's bytes in a format that Pillow writes."""
    sink = io.BytesIO()
    (made or picture()).save(sink, kind, **options)
    return sink.getvalue()


def flat_png() -> bytes:
    """The bytes of a PNG without any text."""
    return saved_as("PNG")


def lora_use(name: str = "zib@v1", *, scale: float = 0.8, seed: int = 1, **changes: Any) -> LoraUse:
    use = LoraUse(
        digest=f"{seed:x}" * 64,
        scale=scale,
        name=name,
        trigger="zibbo",
        base="limner-tiny",
        tensor_digest=f"{seed + 8:x}" * 64,
    )
    return replace(use, **changes)


def record(**changes: Any) -> ImageRecord:
    made = ImageRecord(
        prompt="a drawing of zibbo on the beach",
        width=24,
        height=16,
        steps=20,
        guidance=1.0,
        seed=7,
        base="limner-tiny",
        generator="local",
        loras=(lora_use(),),
        versions={"limner": "0.1.0", "sampler": "FlowMatchEulerDiscreteScheduler", "weights": "c" * 64},
        made_at="2026-11-24T09:00:00+00:00",
    )
    return replace(made, **changes)


def order(base_path: str = "/nowhere", *, loras: Sequence[LoraUse] = (), **changes: Any) -> GenerationOrder:
    made = GenerationOrder(
        id="generation_1",
        prompt="a drawing of zibbo",
        base=find_base("limner-tiny"),
        base_path=base_path,
        loras=tuple(loras),
        width=64,
        height=64,
        steps=2,
        guidance=1.0,
        seed=7,
    )
    return replace(made, **changes)


def random_lora(base_folder: Path, path: Path, *, rank: int, alpha: float, seed: int, layers: str = "") -> Path:
    """A lora with random matrices on the blocks' linear layers whose name holds ``layers``."""
    import torch
    from diffusers import FluxTransformer2DModel
    from safetensors.torch import save_file

    from limner.flux.adapter import Shape, adapter_metadata
    from limner.flux.family import block_linears

    transformer = FluxTransformer2DModel.from_pretrained(base_folder, subfolder="transformer")
    chance = torch.Generator().manual_seed(seed)
    tensors, shapes = {}, {}
    for name in block_linears(transformer):
        if layers in name:
            linear = transformer.get_submodule(name)
            shapes[name] = Shape(rank, alpha)
            down = torch.randn(rank, linear.in_features, generator=chance)
            up = torch.randn(linear.out_features, rank, generator=chance)
            tensors[f"transformer.{name}.lora_A.weight"] = down * 0.2
            tensors[f"transformer.{name}.lora_B.weight"] = up * 0.2
    save_file(tensors, path, {"format": "pt", "lora_adapter_metadata": adapter_metadata(shapes)})
    return path
