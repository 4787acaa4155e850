"""A LoRA's tensors in our naming."""

from __future__ import annotations

from pathlib import Path

from limner.types import Base, TensorNaming

__all__ = ["MENDED", "in_our_naming"]


MENDED = (
    "guidance", "header-rank", "strength-twice", "mixed-naming", "text-encoder-unread", "unknown-tensors", "spelling",
    "strength-aside",
)  # fmt: skip
"""What inspection finds that a conversion puts right."""


def in_our_naming(weights: Path, into: Path, base: Base) -> Path:
    """A trainer's weights in diffusers' naming, without its leftovers: as they are, or converted. LoraRefused."""
    from limner.loras.checks.inspection import inspect
    from limner.loras.conversion.convert import to_diffusers

    found = inspect(weights)
    if found.naming is TensorNaming.DIFFUSERS and not any(finding.code in MENDED for finding in found.findings):
        return weights
    return to_diffusers(weights, into, base=base, drop_unread=True).path
