"""Exporting: a lora as a file in the tensor naming of another program."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from limner.catalog import find_base
from limner.errors import InputRefused, NotFound, StorageFailed
from limner.loras.conversion.convert import convert
from limner.operations.home.workspace import Workspace
from limner.records import Lora
from limner.store.models import LoraOriginalRow, LoraRow
from limner.types import TensorNaming

__all__ = ["NAMINGS", "ORIGINAL", "export_as", "export_original"]

ORIGINAL = "original"
"""In place of a naming: the file as it came, where that was no LoRA."""

NAMINGS = (TensorNaming.DIFFUSERS, TensorNaming.KOHYA, TensorNaming.BFL)


def export_as(lora: Lora, naming: str, path: Path) -> Path:
    """Write a lora in another naming, which changes the base by exactly the same. InputRefused: no such naming."""
    if naming not in NAMINGS:
        raise InputRefused(
            f"Limner writes no lora in the naming '{naming}'.", remedy=f"One of {', '.join(NAMINGS)}.", thing=naming
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return convert(lora.path, TensorNaming(naming), path, base=find_base(lora.base), drop_unread=True).path
    except OSError as failure:
        raise StorageFailed(
            f"{path} cannot be written: {failure.strerror}.", remedy="Free some space, or name another place."
        ) from failure


def export_original(workspace: Workspace, lora: Lora, path: Path) -> Path:
    """Write the file that a lora was made of, byte for byte. NotFound: it came as a LoRA, and is its own original."""
    query = select(LoraOriginalRow.digest).join(LoraRow, LoraRow.id == LoraOriginalRow.lora)
    with workspace.database.read() as session:
        digest = session.scalar(query.where(LoraRow.subject == lora.subject, LoraRow.version == lora.version))
    if digest is None:
        message = f"{lora.name} was not made of another file."
        raise NotFound(message, remedy="Export it as it is, without a naming.", thing=lora.name)
    return workspace.blobs.export(digest, path)
