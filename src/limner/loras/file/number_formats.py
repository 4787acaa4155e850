"""Tensor bytes to numbers and back without torch, so that inspecting and converting need only numpy.

Bytes are kept as they are stored; only what must be computed is turned into float64, which holds every format exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from limner.loras.file.header import BITS, Header

__all__ = ["FLOATS", "Stored", "chunks", "decode", "encode", "read_stored"]

FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
_NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1", "F8_E8M0": "u1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
    "BOOL": "u1", "C64": "<c8",
}  # fmt: skip
CHUNK = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A tensor as a file stores it: the number format and the raw numbers in the tensor's shape."""

    dtype: str
    raw: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return self.raw.shape

    def numbers(self) -> NDArray[np.float64]:
        """The exact values as float64."""
        return decode(self.raw, self.dtype).astype(np.float64)

    def same_bytes(self, other: Stored) -> bool:
        """Whether both are stored by the same bytes, in one format and shape."""
        return self.dtype == other.dtype and self.shape == other.shape and self.raw.tobytes() == other.raw.tobytes()


@cache
def _float8(dtype: str) -> NDArray[np.float32]:
    exponent_bits, bias = (4, 7) if dtype == "F8_E4M3" else (5, 15)
    mantissa_bits = 7 - exponent_bits
    codes = np.arange(256)
    exponent = (codes >> mantissa_bits) & (2**exponent_bits - 1)
    mantissa = (codes & (2**mantissa_bits - 1)) / 2**mantissa_bits
    value = np.where(exponent == 0, mantissa * 2.0 ** (1 - bias), (1 + mantissa) * 2.0 ** (exponent - bias))
    if dtype == "F8_E4M3":  # no infinities; only the last code is not a number
        value[(codes & 0x7F) == 0x7F] = np.nan
    else:
        value[exponent == 31] = np.where(mantissa[exponent == 31] == 0, np.inf, np.nan)
    signed: NDArray[np.float32] = np.where(codes & 0x80, -value, value).astype(np.float32)
    return signed


def decode(raw: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Raw numbers to values that numpy can compute with, exactly."""
    if dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    if dtype in ("F8_E4M3", "F8_E5M2"):
        values: NDArray[Any] = _float8(dtype)[raw]
        return values
    return raw


def encode(values: NDArray[np.float64], dtype: str) -> Stored:
    """Round float64 values to F64, F32, F16 or BF16, to the nearest, ties to even."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return Stored(dtype, rounded.astype(np.uint16).reshape(values.shape))
    if dtype not in ("F64", "F32", "F16"):
        raise ValueError(f"values are never written as {dtype}")
    with np.errstate(over="ignore"):
        # ascontiguousarray makes a vector of a single number, which trainers then refuse as an alpha
        return Stored(dtype, np.ascontiguousarray(values.astype(_NUMPY[dtype])).reshape(values.shape))


def read_stored(file: BinaryIO, header: Header, name: str) -> Stored:
    """Read one tensor of a file as it is stored."""
    entry = header.tensors[name]
    file.seek(header.data_start + entry.begin)
    data = file.read(entry.end - entry.begin)
    return Stored(entry.dtype, np.frombuffer(data, dtype=_NUMPY[entry.dtype]).reshape(entry.shape))


def chunks(file: BinaryIO, header: Header, name: str) -> Iterator[NDArray[Any]]:
    """The values of one tensor piece by piece, flat, so that a large one never fills the memory."""
    entry = header.tensors[name]
    step = CHUNK * (BITS[entry.dtype] // 8)
    for begin in range(entry.begin, entry.end, step):
        file.seek(header.data_start + begin)
        yield decode(np.frombuffer(file.read(min(step, entry.end - begin)), dtype=_NUMPY[entry.dtype]), entry.dtype)
