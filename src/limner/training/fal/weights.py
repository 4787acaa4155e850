"""The file that fal's trainers give: that it is whole, and without layers that its base does not have.

fal's FLUX.2 trainer also trains ``guidance_in``. A base with a guidance layer keeps those tensors, and the conversion
renames them; on a base without one they change nothing, and every reader trips over them, so they are left out.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from limner.atomic_file import atomic_file
from limner.errors import WorkFailed
from limner.types import Base

__all__ = ["check_whole", "leave_out_guidance"]

GUIDANCE = ("guidance_in", "guidance_embedder")
MOST_HEADER = 100_000_000
_CHUNK = 2**20


def check_whole(path: Path) -> None:
    """WorkFailed: the file is no safetensors file, or not all of it; it is removed, so that it is fetched anew."""
    size = path.stat().st_size
    try:
        header, start = _header(path)
        end = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
    except (OSError, ValueError, KeyError, TypeError, IndexError, struct.error):
        end, start = -1, 0
    if end < 1 or start + end != size:
        path.unlink()
        raise WorkFailed(
            f"What fal gave as the lora is no whole safetensors file ({size:,} bytes).",
            remedy="Collect it again: limner trainings resume; it is not paid for twice.",
            thing=path.name,
        )


def leave_out_guidance(path: Path, base: Base) -> int:
    """Take out the tensors of guidance layers where the base has none; gives how many. All others keep their bytes."""
    if base.guidance_embedded:
        return 0
    header, start = _header(path)
    metadata = header.pop("__metadata__", None)
    dropped = [name for name in header if any(mark in name for mark in GUIDANCE)]
    if not dropped or len(dropped) == len(header):
        return 0
    kept: dict[str, Any] = {}
    spans: list[tuple[int, int]] = []
    offset = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if name in dropped:
            continue
        begin, end = entry["data_offsets"]
        kept[name] = {**entry, "data_offsets": [offset, offset + end - begin]}
        spans.append((start + begin, end - begin))
        offset += end - begin
    head = json.dumps(kept if metadata is None else {"__metadata__": metadata, **kept}).encode()
    head += b" " * (-len(head) % 8)
    with path.open("rb") as source, atomic_file(path) as target:
        target.write(struct.pack("<Q", len(head)) + head)
        for begin, length in spans:
            source.seek(begin)
            while length:
                piece = source.read(min(length, _CHUNK))
                if not piece:
                    raise WorkFailed(f"{path.name} ends too early.", remedy="Collect it again.", thing=path.name)
                target.write(piece)
                length -= len(piece)
    return len(dropped)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its tensors begin."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MOST_HEADER:
            raise ValueError("the header is too long")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    return header, 8 + length
