"""Whether every program takes a file as it is meant: its spelling, and where it keeps its strength.

Held against diffusers, ComfyUI, InvokeAI and sd-scripts as readers: see docs/faults.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from limner.loras.header import Header
from limner.loras.layers import alpha_of
from limner.loras.naming import Index, Slot, clip_module_name, module_name
from limner.loras.strength import TEXT_ENCODER, TRANSFORMER, declared_strength, split_ranks
from limner.types import Finding, Severity, TensorNaming

__all__ = ["portability_findings"]

_CONVERT = "Import or convert it: that writes what every program reads."


def portability_findings(file: BinaryIO, header: Header, index: Index) -> Iterable[Finding]:
    """What other programs would read differently from Limner, where a conversion mends it."""
    if index.naming is TensorNaming.DIFFUSERS:
        odd = next((name for slot in index.all_slots.values() for name in _misspelt(slot)), "")
        if odd:
            message = f"Not every program knows names such as {odd[:80]}."
            yield Finding("spelling", Severity.NOTE, message, _CONVERT)
        if any(slot.alpha for slot in index.all_slots.values()):
            message = "Its strength is kept in tensors beside the weights, where diffusers' names have none."
            yield Finding("strength-aside", Severity.NOTE, message, _CONVERT)
        elif _scaled(file, header, index):
            message = "Its strength is not in its weights but in its header or another file, which few programs read."
            yield Finding("strength-aside", Severity.NOTE, message, _CONVERT)
    if split_ranks(header.metadata) and any(slot.alpha and len(slot.target.parts) > 1 for slot in index.slots.values()):
        message = (
            "sd-scripts trained it with split_qkv: other programs draw the layers that it split 3 or 4 times weaker."
        )
        yield Finding("split-qkv", Severity.NOTE, message, _CONVERT)


def _misspelt(slot: Slot) -> Iterable[str]:
    part = slot.target.parts[0]
    if slot.target.place.bfl.startswith("encoder.layers."):
        module, wanted = (
            clip_module_name(TensorNaming.DIFFUSERS, part),
            (".lora_linear_layer.down.weight", ".lora_A.weight"),
        )
    else:
        module, wanted = module_name(TensorNaming.DIFFUSERS, part, None), (".lora_A.weight",)
    if slot.down not in [module + end for end in wanted]:
        yield slot.down


def _scaled(file: BinaryIO, header: Header, index: Index) -> bool:
    for component, slots in ((TRANSFORMER, index.slots), (TEXT_ENCODER, index.clip)):
        declared = declared_strength(header.metadata, component)
        if declared is None:
            continue
        for slot in slots.values():
            if alpha_of(file, header, slot, declared) != header.tensors[slot.down].shape[0]:
                return True
    return False
