"""The adapters of a lora in memory: one ``Layer`` for each pair of matrices, and the change of weights it makes.

A layer changes the weights of its target by (alpha / rank) up @ down. That change, not the matrices, is what two files
in different namings must have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from limner.errors import LoraRefused
from limner.loras.file.header import Header
from limner.loras.file.naming import Slot, Target, module_of
from limner.loras.file.number_formats import Stored, read_stored
from limner.loras.file.strength import TRANSFORMER, DeclaredStrength, declared_strength, split_ranks
from limner.types import TensorNaming

__all__ = ["Layer", "alpha_of", "deltas", "read_layers", "row_bounds", "swap_halves", "trained_apart"]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One adapter: ``down`` (rank, in), ``up`` (out, rank); its rows are those of the target's parts, in their order.

    Rows are always in diffusers' order: where BFL swaps shift and scale, they were swapped on reading.
    """

    target: Target
    down: Stored
    up: Stored
    alpha: float

    @property
    def rank(self) -> int:
        """The number of rows of ``down``."""
        return self.down.shape[0]

    @property
    def factor(self) -> Fraction:
        """alpha / rank, exactly."""
        return Fraction(self.alpha) / self.rank


def read_layers(file: BinaryIO, header: Header, slots: Mapping[str, Slot], component: str = TRANSFORMER) -> list[Layer]:
    """Read the adapters of a component whose shapes were checked; they are then all in memory."""
    declared = declared_strength(header.metadata, component)
    layers = []
    for slot in slots.values():
        down, up = read_stored(file, header, slot.down), read_stored(file, header, slot.up)
        alpha = alpha_of(file, header, slot, declared)
        if slot.target.swapped:
            up = swap_halves(up)
        layers.append(Layer(slot.target, down, up, alpha))
    return layers


def alpha_of(file: BinaryIO, header: Header, slot: Slot, declared: DeclaredStrength | None) -> float:
    """The alpha of one adapter, from its tensor, else the header, else its rank; see ``strength``."""
    rank = header.tensors[slot.down or slot.up].shape[0 if slot.down else -1]
    if slot.alpha:
        stored = read_stored(file, header, slot.alpha)
        if stored.raw.size != 1 or not np.isfinite(stored.numbers()).all():
            raise LoraRefused(
                f"The tensor {slot.alpha}, which gives a strength, is not one finite number.",
                remedy="Export the LoRA again.",
                thing=slot.alpha,
            )
        alpha = float(stored.numbers().reshape(()))
        return alpha * trained_apart(header, slot)
    if declared is not None and ".lora_A." in slot.down and slot.target.naming is not TensorNaming.DIFFUSERS:
        return declared.alpha_of(module_of(slot.down), rank)
    if declared is not None and slot.target.naming is TensorNaming.DIFFUSERS:
        return declared.alpha_of(slot.target.parts[0], rank)
    return float(rank)


def trained_apart(header: Header, slot: Slot) -> int:
    """In how many parts ``split_qkv`` trained a fused layer, each with the alpha of the file; 1 if it did not."""
    parts, rank = len(slot.target.parts), header.tensors[slot.down or slot.up].shape[0 if slot.down else -1]
    apart = parts > 1 and rank % parts == 0 and rank // parts in split_ranks(header.metadata)
    return parts if apart else 1


def swap_halves(up: Stored) -> Stored:
    """Swap the upper and lower half of the rows."""
    half = up.shape[0] // 2
    return Stored(up.dtype, np.concatenate([up.raw[half:], up.raw[:half]]))


def row_bounds(target: Target, height: int) -> list[tuple[int, int]]:
    """Where the rows of each part begin and end, from the whole height and the parts' shares of it."""
    if len(target.parts) == 1:
        return [(0, height)]
    shares = [rows or 0 for rows in target.rows]
    unit, rest = divmod(height, sum(shares))
    if rest:
        raise LoraRefused(
            f"{height} rows cannot be divided among {', '.join(target.parts)}.", remedy="Export the LoRA again."
        )
    ends = np.cumsum(shares) * unit
    return [(int(end) - share * unit, int(end)) for end, share in zip(ends, shares, strict=True)]


def deltas(layers: Iterable[Layer]) -> dict[str, NDArray[Any]]:
    """The change of weights (out, in) by diffusers path, in float64; parts whose change is exactly zero are left out.

    Large: for a real base one path at a time fits, not all of them.
    """
    changes: dict[str, NDArray[Any]] = {}
    for layer in layers:
        change = (layer.up.numbers() @ layer.down.numbers()) * (layer.alpha / layer.rank)
        for part, (begin, end) in zip(layer.target.parts, row_bounds(layer.target, len(change)), strict=True):
            rows = change[begin:end]
            if rows.any():
                changes[part] = changes[part] + rows if part in changes else rows
    return changes
