"""Writing safetensors whose bytes depend on nothing but their content, there whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from limner.errors import StorageFailed
from limner.loras.file.number_formats import Stored

__all__ = ["header_bytes", "new_file", "write_weights"]


def header_bytes(metadata: Mapping[str, str], tensors: Mapping[str, tuple[str, tuple[int, ...], int, int]]) -> bytes:
    """The header with its length before it; metadata sorted, padded so that the tensors start at a multiple of 8."""
    described = {
        name: {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
        for name, (dtype, shape, begin, end) in tensors.items()
    }
    ordered = {"__metadata__": dict(sorted({"format": "pt", **metadata}.items())), **described}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_weights(path: Path, tensors: Mapping[str, Stored], metadata: Mapping[str, str]) -> None:
    """Write a lora file; the widest number formats come first, as readers that map the file want them aligned."""
    order = sorted(tensors, key=lambda name: (-tensors[name].raw.itemsize, name))
    places, reached = {}, 0
    for name in order:
        stored = tensors[name]
        places[name] = (stored.dtype, stored.shape, reached, reached + stored.raw.nbytes)
        reached += stored.raw.nbytes
    with new_file(path) as file:
        file.write(header_bytes(metadata, places))
        for name in order:
            file.write(tensors[name].raw.tobytes())


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to be written that appears under its name only when all of it is on the disk; StorageFailed otherwise."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
        temporary = None
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as failure:
        raise StorageFailed(
            f"{path} cannot be written: {failure.strerror}.",
            remedy="Make room on the disk or name another folder.",
            thing=str(path),
        ) from failure
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
