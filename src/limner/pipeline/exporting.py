"""Exporting: a lora as a file in the tensor naming of another program."""

from __future__ import annotations

from pathlib import Path

from limner.catalog import find_base
from limner.errors import InputRefused, StorageFailed
from limner.loras.conversion import convert
from limner.records import Lora
from limner.types import TensorNaming

__all__ = ["NAMINGS", "export_as"]

NAMINGS = (TensorNaming.DIFFUSERS, TensorNaming.KOHYA, TensorNaming.BFL)


def export_as(lora: Lora, naming: str, path: Path) -> Path:
    """Write a lora in another naming, which changes the base by exactly the same. InputRefused: no such naming."""
    if naming not in NAMINGS:
        raise InputRefused(
            f"Limner writes no lora in the naming '{naming}'.", remedy=f"One of {', '.join(NAMINGS)}.", thing=naming
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return convert(lora.path, TensorNaming(naming), path, base=find_base(lora.base)).path
    except OSError as failure:
        raise StorageFailed(
            f"{path} cannot be written: {failure.strerror}.", remedy="Free some space, or name another place."
        ) from failure
