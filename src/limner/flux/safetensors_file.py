"""Safetensors files whose bytes depend on nothing but their content, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from limner.atomic_file import write_atomically

__all__ = ["safetensors_bytes", "write_safetensors"]


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Serialise tensors and metadata; the library leaves the order of the metadata to chance, here it is sorted."""
    data: bytes = save({name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())})
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    ordered = {"__metadata__": dict(sorted({"format": "pt", **metadata}.items())), **header}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically; OSError leaves what was there before."""
    write_atomically(path, safetensors_bytes(tensors, metadata))
