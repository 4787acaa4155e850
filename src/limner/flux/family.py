"""What differs between the FLUX families, as one small interface; each family is one file that fills it.

Pictures are handled as rows of tokens: ``(tokens, channels)`` with a grid ``(rows, columns)``, rows * columns = tokens,
one token for 16 x 16 pixels in the real models. ``sigma`` is the share of noise, 0 (picture) to 1 (noise), and a
velocity points from the picture to the noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from limner.errors import RecipeRefused
from limner.types import Base, Family

__all__ = ["Conditioning", "FluxFamily", "Grid", "block_linears", "match_modules"]

Grid = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What the text encoders make of texts: ``embeds`` (batch, tokens, width), ``pooled`` (batch, width) or None."""

    embeds: Tensor
    pooled: Tensor | None = None

    def __getitem__(self, rows: Sequence[int] | Tensor) -> Conditioning:
        """The texts of some rows, as a batch."""
        index = torch.as_tensor(rows, device=self.embeds.device)
        return Conditioning(self.embeds[index], None if self.pooled is None else self.pooled[index])

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> Conditioning:
        pooled = None if self.pooled is None else self.pooled.to(device, dtype)
        return Conditioning(self.embeds.to(device, dtype), pooled)

    @staticmethod
    def stack(parts: Sequence[Conditioning]) -> Conditioning:
        """Several batches as one."""
        pooled = [part.pooled for part in parts if part.pooled is not None]
        return Conditioning(torch.cat([part.embeds for part in parts]), torch.cat(pooled) if pooled else None)


class FluxFamily(Protocol):
    """One family of FLUX pipelines. All methods are pure: they keep nothing of a pipeline."""

    family: ClassVar[Family]
    pipelines: ClassVar[tuple[str, ...]]
    layer_presets: ClassVar[Mapping[str, tuple[str, ...]]]

    def encode_text(self, pipeline: Any, text: str, base: Base) -> Conditioning:
        """Encode one text (batch of 1), padded or cut to the base's ``max_text_tokens``."""
        ...

    def encode_picture(self, pipeline: Any, pixels: Tensor) -> tuple[Tensor, Grid]:
        """Encode pixels (3, height, width) in -1..1 to normalised tokens (tokens, channels) and their grid."""
        ...

    def velocity(
        self, transformer: Any, tokens: Tensor, grid: Grid, sigma: Tensor, text: Conditioning, guidance: float
    ) -> Tensor:
        """Predict the velocity of noisy tokens (batch, tokens, channels) at ``sigma`` (batch,)."""
        ...

    def draw(
        self,
        pipeline: Any,
        text: Conditioning,
        empty: Conditioning | None,
        *,
        width: int,
        height: int,
        steps: int,
        guidance: float,
        generator: torch.Generator,
    ) -> Any:
        """Draw one picture with the pipeline's own sampler; gives a PIL image. ``empty`` is the text "" encoded."""
        ...

    def wants_empty_text(self, pipeline: Any, guidance: float) -> bool:
        """Whether drawing at this guidance needs the empty text too (classifier-free guidance)."""
        ...


def block_linears(transformer: Any) -> list[str]:
    """The paths of all linear layers inside the transformer's double and single blocks, in the model's order."""
    return [
        name
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear) and name.split(".", 1)[0].endswith("transformer_blocks")
    ]


def match_modules(family: FluxFamily, transformer: Any, layers: str) -> list[str]:
    """The modules that a recipe's ``target_layers`` names: a preset, or parts of names divided by commas.

    A part matches a module whose path ends with it at a dot. A part that matches nothing is refused by name.
    """
    names = block_linears(transformer)
    if layers == "all-linear":
        return names
    parts = family.layer_presets.get(layers) or tuple(part.strip() for part in layers.split(",") if part.strip())
    matching = {part: {n for n in names if n == part or n.endswith("." + part)} for part in parts}
    unmatched = [part for part, found in matching.items() if not found]
    if layers not in family.layer_presets and (unmatched or not parts):
        raise RecipeRefused(
            f"The target layers '{layers}' name no layer of this base: {', '.join(unmatched) or 'empty'}.",
            remedy=f"Use all-linear, {', '.join(family.layer_presets)}, or ends of layer names such as {names[0]}.",
            thing="target_layers",
        )
    chosen = set().union(*matching.values())
    return [name for name in names if name in chosen]
