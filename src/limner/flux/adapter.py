"""The LoRA adapter: low-rank layers beside frozen linear ones, and the lora file in diffusers/PEFT naming.

A layer gives ``W x + b + (alpha / rank) B A x``. Drawing uses the very operations of PEFT, so that a picture from the
live adapter equals one from the file; training uses a fused form of the same formula with its own backward pass.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Adapter", "LoraLinear", "Shape", "adapter_metadata", "layer_shapes"]

PREFIX = "transformer."


@dataclass(frozen=True, slots=True)
class Shape:
    """Rank and alpha of one layer; the layer's strength is alpha / rank."""

    rank: int
    alpha: float


class LoraLinear(nn.Module):
    """A frozen linear layer with a trainable low-rank part beside it. A and B are float32 whatever W is."""

    def __init__(self, frozen: nn.Linear, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.frozen = frozen
        self.scale = shape.alpha / shape.rank
        bound = 1 / math.sqrt(frozen.in_features)
        down = torch.empty(shape.rank, frozen.in_features).uniform_(-bound, bound, generator=generator)
        self.lora_A = nn.Parameter(down.to(frozen.weight.device))
        self.lora_B = nn.Parameter(torch.zeros(frozen.out_features, shape.rank, device=frozen.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        down, up = self.lora_A.to(x.dtype), self.lora_B.to(x.dtype)
        if torch.is_grad_enabled():
            parts = (x, self.frozen.weight, self.frozen.bias, down, up, self.scale)
            fused: Tensor = _FusedLora.apply(*parts)  # type: ignore[no-untyped-call]
            return fused
        low = nn.functional.linear(nn.functional.linear(x, down), up)
        result: Tensor = self.frozen(x)
        return result + low * self.scale


class _FusedLora(torch.autograd.Function):
    """The layer as few large operations: nothing of the size of the output is multiplied or added on its own.

    The low-rank product A x is kept for the backward pass; the frozen weight takes no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        low = flat @ down.T
        y = nn.functional.linear(flat, weight, bias).addmm_(low, up.T, alpha=scale)
        ctx.save_for_backward(flat, low, weight, down, up)
        ctx.scale = scale
        ctx.shape = x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat, low, weight, down, up = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, gradients[0].shape[-1])
        narrow = gradient @ up
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = (gradient @ weight).addmm_(narrow, down, alpha=ctx.scale).view(ctx.shape)
        to_down = (narrow.T @ flat).mul_(ctx.scale)
        to_up = (gradient.T @ low).mul_(ctx.scale)
        return to_x, None, None, to_down, to_up, None


class Adapter:
    """The low-rank layers mounted in one transformer, by the path of the layer they stand beside."""

    def __init__(self, transformer: Any, shapes: Mapping[str, Shape], *, seed: int) -> None:
        self.transformer = transformer
        self.shapes = dict(sorted(shapes.items()))
        generator = torch.Generator().manual_seed(seed)
        self.layers: dict[str, LoraLinear] = {}
        for name, shape in self.shapes.items():
            layer = LoraLinear(transformer.get_submodule(name), shape, generator)
            transformer.set_submodule(name, layer)
            self.layers[name] = layer

    def unmount(self) -> None:
        """Put the frozen layers back as they were."""
        for name, layer in self.layers.items():
            self.transformer.set_submodule(name, layer.frozen)

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trainable tensors by their name in a lora file."""
        named: dict[str, nn.Parameter] = {}
        for name, layer in self.layers.items():
            named[f"{PREFIX}{name}.lora_A.weight"] = layer.lora_A
            named[f"{PREFIX}{name}.lora_B.weight"] = layer.lora_B
        return named

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the values of a lora file's tensors; names and shapes must be this adapter's (ValueError)."""
        own = self.parameters()
        if tensors.keys() != own.keys():
            raise ValueError(f"the tensors are of other layers: {sorted(tensors.keys() ^ own.keys())[:3]}")
        for name, parameter in own.items():
            if parameter.shape != tensors[name].shape:
                raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(parameter.shape)}")
            parameter.copy_(tensors[name])

    @contextmanager
    def holding(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Hold other values for a while, for instance the moving average's, and then one's own again."""
        own = {name: parameter.detach().clone() for name, parameter in self.parameters().items()}
        self.load(tensors)
        try:
            yield
        finally:
            self.load(own)

    def metadata(self) -> str:
        """The header entry by which diffusers and PEFT know rank and alpha of every layer."""
        return adapter_metadata(self.shapes)


def adapter_metadata(shapes: Mapping[str, Shape]) -> str:
    """``lora_adapter_metadata`` in diffusers' form: JSON of a PEFT LoraConfig, each key prefixed ``transformer.``."""
    counted: dict[Shape, int] = {}
    for shape in shapes.values():
        counted[shape] = counted.get(shape, 0) + 1
    common = max(counted, key=lambda shape: (counted[shape], shape.rank, shape.alpha))
    config = {
        "r": common.rank,
        "lora_alpha": _plain(common.alpha),
        # the ^ and $ keep PEFT from matching a pattern against the end of a longer name
        "rank_pattern": {_exactly(n): s.rank for n, s in shapes.items() if s.rank != common.rank},
        "alpha_pattern": {_exactly(n): _plain(s.alpha) for n, s in shapes.items() if s.alpha != common.alpha},
        "target_modules": sorted(shapes),
        "lora_dropout": 0.0,
        "bias": "none",
        "use_dora": False,
        "use_rslora": False,
        "init_lora_weights": True,
    }
    return json.dumps({f"{PREFIX}{key}": value for key, value in config.items()}, sort_keys=True)


def layer_shapes(
    names: Sequence[str], rank: int, alpha: float, exceptions: Sequence[tuple[str, int, float]] = ()
) -> dict[str, Shape]:
    """Rank and alpha a layer: the recipe's, or those of the last exception whose text is part of the layer's name."""
    shapes: dict[str, Shape] = {}
    for name in names:
        shape = Shape(rank, alpha)
        for part, own_rank, own_alpha in exceptions:
            if part in name:
                shape = Shape(own_rank, own_alpha)
        shapes[name] = shape
    return shapes


def _exactly(name: str) -> str:
    return "^" + name.replace(".", r"\.") + "$"


def _plain(alpha: float) -> float | int:
    return int(alpha) if float(alpha).is_integer() else float(alpha)
