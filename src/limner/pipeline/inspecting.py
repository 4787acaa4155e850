"""Inspecting a file: a picture or a lora, told apart by its first bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limner.errors import InputRefused, NotFound

__all__ = ["inspect_file"]

PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")


def inspect_file(path: Path) -> dict[str, Any]:
    """What a picture or lora file says of itself, as plain JSON data."""
    if not path.is_file():
        raise NotFound(f"There is no file {path}.", remedy="Check the path.", thing=str(path))
    with path.open("rb") as stream:
        head = stream.read(16)
    if head.startswith(PICTURES):
        from limner.generation.inspection import describe

        return {"what": "picture", **describe(path)}
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        from limner.loras.inspection import inspect

        facts = inspect(path)
        plain = {name: getattr(facts, name) for name in facts.__dataclass_fields__}
        return {"what": "lora", **plain, "path": str(path), "metadata": dict(facts.metadata)}
    raise InputRefused(
        f"{path.name} is neither a picture nor a lora.",
        remedy="Give a PNG, JPEG or WebP picture, or a .safetensors file.",
        thing=str(path),
    )
