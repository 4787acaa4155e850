"""The header of a safetensors file, read strictly: a file that lies about itself is refused before anything is used.

Layout: 8 bytes with the header's length (little endian), the header as JSON, then the tensors' bytes without gaps.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from limner.errors import LoraRefused, NotFound, StorageFailed

__all__ = ["BITS", "LARGEST_FILE", "Digests", "Header", "TensorEntry", "digests", "read_header"]

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16,
    "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip
LARGEST_FILE = 6 * 10**9
"""Bytes: no lora of a known base is larger; what is, is a whole model."""
LONGEST_HEADER = 32 * 2**20
MOST_BRACKETS = 200_000  # a tensor has two; the largest FLUX checkpoints have 2,000 tensors
MOST_COMMAS = 1_000_000  # captions and tag counts of a trainer included
MOST_DIMENSIONS = 8
CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor: its number format, its shape, and where its bytes are, counted from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header: tensors by name in the order of their bytes, metadata, and where the bytes start.

    ``config``: what became of the ``adapter_config.json`` beside the file; "" if there is none. See ``adapter_config``.
    """

    path: Path
    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    data_start: int
    byte_size: int
    config: str = ""


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 of the whole file (Civitai's AutoV2 is its start) and of the tensors' bytes alone (AutoV3)."""

    file: str
    tensors: str


def read_header(path: Path) -> Header:
    """Read and check the header of a file.

    NotFound if there is no file, LoraRefused with the reason if it is no sound safetensors file, StorageFailed if it
    cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _refusal(path, "is not a file", "Name the .safetensors file itself.")
        with path.open("rb") as file:
            return _read(path, file, os.fstat(file.fileno()).st_size)
    except FileNotFoundError as failure:
        raise NotFound(f"There is no file {path}.", remedy="Check the name.", thing=str(path)) from failure
    except OSError as failure:
        raise StorageFailed(
            f"{path} cannot be read: {failure.strerror}.", remedy="Check the disk and the rights.", thing=str(path)
        ) from failure


def digests(header: Header) -> Digests:
    """Digest a file whose header was read; the bytes are streamed."""
    whole, tensors = hashlib.sha256(), hashlib.sha256()
    with header.path.open("rb") as file:
        whole.update(file.read(header.data_start))
        while chunk := file.read(CHUNK):
            whole.update(chunk)
            tensors.update(chunk)
    return Digests(whole.hexdigest(), tensors.hexdigest())


def _refusal(path: Path, reason: str, remedy: str = "") -> LoraRefused:
    remedy = remedy or "Fetch or export the file again."
    return LoraRefused(f"{path.name} {reason}.", remedy=remedy, thing=str(path))


def _read(path: Path, file: BinaryIO, size: int) -> Header:
    start = file.read(64)
    if not start:
        raise _refusal(path, "is empty (0 bytes)")
    # a pickle starts with bytes that could also be a header's length, so the ninth byte decides
    if start[8:9] != b"{":
        raise _refusal(path, *_other_kind(start))
    length = int.from_bytes(start[:8], "little")
    if length > LONGEST_HEADER:
        raise _refusal(path, f"gives its header's length as {length} bytes, more than any LoRA has")
    if 8 + length > size:
        raise _refusal(path, f"gives its header's length as {length} bytes, but the whole file has {size}: truncated")
    file.seek(8)
    parsed = _parse(path, file.read(length))
    metadata = parsed.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _refusal(path, "has metadata that is not text by name")
    tensors = {name: _entry(path, name, entry) for name, entry in parsed.items()}
    ordered = dict(sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)))
    _check_layout(path, ordered, size - 8 - length)
    return Header(path, ordered, metadata, 8 + length, size)


def _other_kind(start: bytes) -> tuple[str, str]:
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"):
        return (
            "is a pickle (PyTorch .pt, .bin or .ckpt), which can run code when it is opened; Limner never opens one",
            "Ask its maker for a .safetensors file.",
        )
    if start.startswith(b"version https://git-lfs"):
        return "is only a Git LFS pointer, not the weights", "Fetch the real file, for example with git lfs pull."
    if start.lstrip()[:1] == b"<":
        return "is a web page, not weights: the download was answered with a page", "Sign in and fetch it again."
    if start[:4] == b"GGUF":
        return "is a GGUF file, which holds a whole model", "Name a LoRA in safetensors format."
    return "is not a safetensors file: no header stands at its start", "Name a LoRA in safetensors format."


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands in it twice")
        return found

    # counted before it is parsed: Python's objects take up to forty times the bytes of the text
    if text.count(b"{") + text.count(b"[") > MOST_BRACKETS or text.count(b",") > MOST_COMMAS:
        raise _refusal(path, "has a header with more entries than any LoRA has", "Name a LoRA, not a whole model.")
    try:
        parsed = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as failure:
        reason = " ".join(str(failure).split())[:120]
        raise _refusal(path, f"has a header that cannot be read as JSON ({reason})") from failure
    if not isinstance(parsed, dict):
        raise _refusal(path, "has a header that is not a JSON object")
    return parsed


def _entry(path: Path, name: str, entry: Any) -> TensorEntry:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _refusal(path, f"describes the tensor '{name[:80]}' without dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _refusal(path, f"has the tensor '{name[:80]}' in the unknown number format {str(dtype)[:20]}")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _refusal(path, f"gives the tensor '{name[:80]}' an impossible shape or place")
    if prod(shape) * (BITS[dtype] // 8) != offsets[1] - offsets[0]:
        raise _refusal(path, f"gives the tensor '{name[:80]}' a place that is not as large as its shape {shape}")
    return TensorEntry(dtype, tuple(shape), offsets[0], offsets[1])


def _counts(value: Any) -> bool:
    few = isinstance(value, list) and len(value) <= MOST_DIMENSIONS
    return few and all(type(number) is int and 0 <= number < 2**62 for number in value)


def _check_layout(path: Path, ordered: Mapping[str, TensorEntry], available: int) -> None:
    reached = 0
    for name, entry in ordered.items():
        if entry.begin != reached:
            what = "overlaps another one" if entry.begin < reached else "leaves a gap before it"
            raise _refusal(path, f"has the tensor '{name[:80]}' at a place that {what}")
        reached = entry.end
    if reached > available:
        raise _refusal(path, f"is truncated: its header promises {reached} bytes of tensors, {available} are there")
    if reached < available:
        raise _refusal(path, f"has {available - reached} bytes after its last tensor that nothing describes")
