"""Splitting a fused adapter into its parts, and fusing parts into one, without changing what they do.

A fused adapter is either dense (all parts share ``down``) or a block diagonal (each part has columns of its own). Both
are told apart by the zeros that are there, and the cheaper exact form is chosen. Only a strength that is no power of
two is rounded where it is multiplied into the numbers; how much is said (``error``, 0.0 where nothing was).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from limner.loras.file.layers import Layer, row_bounds
from limner.loras.file.naming import Target
from limner.loras.file.number_formats import Stored, encode
from limner.loras.file.structure import Place
from limner.types import TensorNaming

__all__ = ["Fused", "fuse", "power_of_two", "scaled", "split"]


@dataclass(frozen=True, slots=True)
class Fused:
    """One adapter made of parts; ``error`` is the largest relative change that rounding made to a second matrix."""

    layer: Layer
    error: float


def split(layer: Layer) -> list[Layer]:
    """One adapter for each diffusers path of a fused one; parts that do nothing beside others that do are left out."""
    if len(layer.target.parts) == 1:
        return [layer]
    bounds = row_bounds(layer.target, layer.up.shape[0])
    # the bits of a zero may carry a sign, so values are looked at, not bytes
    touched = layer.up.numbers() != 0
    filled = [[int(at) for at in np.flatnonzero(touched[begin:end].any(axis=0))] for begin, end in bounds]
    columns = _blocks(filled, layer) if any(filled) else None
    parts = []
    for at, (begin, end) in enumerate(bounds):
        if any(filled) and not filled[at]:
            continue
        first, last = columns[at] if columns else (0, layer.rank)
        alpha = float(Fraction(layer.alpha) * (last - first) / layer.rank)
        parts.append(
            Layer(
                _part(layer.target, at),
                Stored(layer.down.dtype, np.ascontiguousarray(layer.down.raw[first:last])),
                Stored(layer.up.dtype, np.ascontiguousarray(layer.up.raw[begin:end, first:last])),
                alpha,
            )
        )
    return parts


def fuse(place: Place, parts: Mapping[int, Layer]) -> Fused:
    """One adapter for a BFL layer from those of its parts, by their position; absent parts become rows of zeros."""
    layers = [parts[at] for at in sorted(parts)]
    first, width = layers[0], layers[0].down.shape[1]
    target = replace(first.target, parts=_paths(place, first.target), rows=place.rows)
    if len(place.parts) == 1:
        return Fused(first, 0.0)
    heights = [width * (rows or 0) for rows in place.rows]
    if all(one.down.same_bytes(first.down) and one.factor == first.factor for one in layers):
        same, error = layers, 0.0
        down, alpha, starts, rank = first.down, first.alpha, [0] * len(layers), first.rank
    else:
        same, error = _common_format(layers)
        down = Stored(same[0].down.dtype, np.concatenate([one.down.raw for one in same]))
        starts = [int(end) - one.rank for end, one in zip(np.cumsum([one.rank for one in same]), same, strict=True)]
        rank = down.shape[0]
        alpha = float(same[0].factor * rank)
    up = np.zeros((sum(heights), rank), dtype=same[0].up.raw.dtype)
    for at, one, start in zip(sorted(parts), same, starts, strict=True):
        top = sum(heights[:at])
        up[top : top + heights[at], start : start + one.rank] = one.up.raw
    return Fused(Layer(target, down, Stored(same[0].up.dtype, up), alpha), error)


def scaled(layer: Layer, factor: Fraction) -> tuple[Layer, float]:
    """The layer with its change multiplied by a factor and its alpha left alone, and the relative error of rounding.

    A power of two is exact: it goes into ``up`` in its own number format, or where that has no room for it into both
    matrices. Any other factor is multiplied in float64, and both are stored as F32 (F64 stays F64).
    """
    if factor == 1:
        return layer, 0.0
    down, up = layer.down.numbers(), layer.up.numbers()
    if not factor or not up.any() or not down.any():
        return replace(layer, up=encode(np.zeros_like(up), layer.up.dtype)), 0.0
    wanted = up * float(factor)
    share = _share(down, wanted)
    if power_of_two(factor):
        for dtype in dict.fromkeys((layer.up.dtype, "F32", "F64")):
            for power in dict.fromkeys((1.0, share)):
                found = replace(layer, down=_as(layer.down, down * power, dtype), up=encode(wanted / power, dtype))
                if _same(found.down, down * power) and _same(found.up, wanted / power):
                    return found, 0.0
    dtype = "F64" if "F64" in (layer.up.dtype, layer.down.dtype) else "F32"
    found = replace(layer, down=encode(down * share, dtype), up=encode(wanted / share, dtype))
    if not np.isfinite(found.up.numbers()).all() or not _same(found.down, down * share):
        found = replace(layer, down=encode(down, "F64"), up=encode(wanted, "F64"))
        share = 1.0
    rounded = found.up.numbers() * share
    return found, float(np.linalg.norm(rounded - wanted) / np.linalg.norm(wanted))


def power_of_two(factor: Fraction) -> bool:
    """Whether multiplying a binary floating point number by it is exact (but for overflow and underflow)."""
    ends = (abs(factor.numerator), factor.denominator)
    return all(number > 0 and number & (number - 1) == 0 for number in ends)


LARGEST, SMALLEST = 2.0**15, 2.0**-12
"""Between these the largest number of a matrix has room in every format, half precision (F16) too."""


def _share(down: NDArray[np.float64], up: NDArray[np.float64]) -> float:
    """The power of two that ``down`` takes from ``up``: 1, or what makes both equally large if F16 has no room."""
    high, low = np.abs(up).max(), np.abs(down).max()
    if SMALLEST <= high <= LARGEST:
        return 1.0
    return float(2.0 ** round(np.log2(high / low) / 2))


def _as(stored: Stored, numbers: NDArray[np.float64], dtype: str) -> Stored:
    """Numbers as the tensor that they were stored in where it is of that format, and unchanged."""
    return stored if stored.dtype == dtype and np.array_equal(numbers, stored.numbers()) else encode(numbers, dtype)


def _same(stored: Stored, numbers: NDArray[np.float64]) -> bool:
    return np.array_equal(stored.numbers(), numbers)


def _blocks(filled: list[list[int]], layer: Layer) -> list[tuple[int, int]] | None:
    """The columns of each part, if they stand one after the other and cutting them keeps alpha exact; else None."""
    rank, count = layer.rank, len(filled)
    even = [(at * rank // count, (at + 1) * rank // count) for at in range(count)]
    starts = [columns[0] if columns else None for columns in filled]
    ragged, begin = [], 0
    for at in range(count):
        following = [start for start in starts[at + 1 :] if start is not None]
        end = begin if starts[at] is None else following[0] if following else rank
        ragged.append((begin, end))
        begin = end
    for blocks in ([even] if rank % count == 0 else []) + [ragged]:
        fits = all(begin <= column < end for (begin, end), own in zip(blocks, filled, strict=True) for column in own)
        lengths = [end - begin for (begin, end), own in zip(blocks, filled, strict=True) if own]
        alphas = [Fraction(layer.alpha) * length / rank for length in lengths]
        if fits and all(Fraction(float(alpha)) == alpha for alpha in alphas):
            return blocks
    return None


def _part(target: Target, at: int) -> Target:
    return replace(
        target, naming=TensorNaming.DIFFUSERS, parts=(target.parts[at],), rows=(target.rows[at],), swapped=False
    )


def _paths(place: Place, target: Target) -> tuple[str, ...]:
    return tuple(part.format(target.number) for part in place.parts)


def _common_format(layers: list[Layer]) -> tuple[list[Layer], float]:
    """The layers with one strength and one number format, so that they can share two matrices and an alpha."""
    factor = next((layer.factor for layer in layers if layer.factor), Fraction(1))
    done = [scaled(layer, layer.factor / factor) for layer in layers]
    same = [replace(changed, alpha=float(factor * changed.rank)) for changed, _ in done]
    downs, ups = _one_format([one.down for one in same]), _one_format([one.up for one in same])
    rounded = max(error for _, error in done)
    return [replace(one, down=down, up=up) for one, down, up in zip(same, downs, ups, strict=True)], rounded


def _one_format(tensors: list[Stored]) -> list[Stored]:
    formats = {one.dtype for one in tensors}
    if len(formats) == 1:
        return tensors
    widest = "F64" if "F64" in formats else "F32"
    return [encode(one.numbers(), widest) for one in tensors]
