"""Whether every program takes a file as it is meant: its spelling, and where it keeps its strength.

Held against diffusers, ComfyUI, InvokeAI and sd-scripts as readers: see docs/faults.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from limner.loras.file.header import Header
from limner.loras.file.layers import alpha_of, trained_apart
from limner.loras.file.naming import Index, Slot, clip_module_name, module_name
from limner.loras.file.strength import TEXT_ENCODER, TRANSFORMER, declared_strength
from limner.types import Family, Finding, Severity, TensorNaming

__all__ = ["portability_findings", "unread_elsewhere"]

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
    if any(slot.alpha and trained_apart(header, slot) > 1 for slot in index.slots.values()):
        message = "sd-scripts trained it with split_qkv: others draw the layers that it split 3 or 4 times weaker."
        yield Finding("split-qkv", Severity.NOTE, message, _CONVERT)


# (family, naming, starts of BFL names, what does not read them); held against the programs themselves in tests/engines
# and in tests/loras/test_diffusers_loader.py
_ENDS = ("final_layer", "img_in", "txt_in", "time_in", "vector_in", "guidance_in")
_FLUX2_OWN = ("double_stream", "single_stream", "guidance_in")
_REFUSED = "InvokeAI, which then refuses the file"
_UNREAD: tuple[tuple[Family, TensorNaming, tuple[str, ...], str], ...] = (
    (
        Family.FLUX2,
        TensorNaming.DIFFUSERS,
        ("double_blocks.{}.img_mlp", "double_blocks.{}.txt_mlp", "single_blocks", "time_in", *_FLUX2_OWN),
        "ComfyUI, which in these names of FLUX.2 knows the attention of double blocks only",
    ),
    (Family.FLUX2, TensorNaming.KOHYA, ("final_layer.ada", *_FLUX2_OWN), "diffusers"),
    (Family.FLUX1, TensorNaming.BFL, ("",), "diffusers, which reads no names of BFL for FLUX.1"),
    (Family.FLUX1, TensorNaming.KOHYA, _ENDS, "diffusers"),
    (Family.FLUX1, TensorNaming.KOHYA, ("final_layer",), "sd-scripts"),
    (Family.FLUX1, TensorNaming.DIFFUSERS, ("final_layer.ada", "encoder.layers"), _REFUSED),
    (Family.FLUX1, TensorNaming.BFL, ("encoder.layers",), _REFUSED),
)


def unread_elsewhere(index: Index, naming: TensorNaming) -> Iterable[Finding]:
    """The layers that a program leaves out in the naming that a lora is written in."""
    names = [slot.target.place.bfl for slot in index.all_slots.values()]
    for family, written, starts, program in _UNREAD:
        count = sum(name.startswith(starts) for name in names)
        if (index.family, naming) == (family, written) and count:
            message = f"{count} of its {len(names)} layers are not read by {program}."
            remedy = "Export it in another naming for that program: limner lora export --naming."
            yield Finding("unread-elsewhere", Severity.NOTE, message, remedy)


def _misspelt(slot: Slot) -> Iterable[str]:
    part = slot.target.parts[0]
    ends = [".lora_A.weight"]
    if slot.target.place.bfl.startswith("encoder.layers."):
        module = clip_module_name(TensorNaming.DIFFUSERS, part)
        ends.append(".lora_linear_layer.down.weight")
    else:
        module = module_name(TensorNaming.DIFFUSERS, part, None)
    if slot.down not in [module + end for end in ends]:
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
