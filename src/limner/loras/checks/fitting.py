"""Whether the adapters of a file fit a base: every layer exists there, with that input and output width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod

from limner.loras.file.header import Header
from limner.loras.file.naming import Index, Slot
from limner.loras.file.structure import FIXED
from limner.types import Base

__all__ = ["clip_defects", "defects", "fits", "misfits"]


def fits(header: Header, index: Index, base: Base) -> bool:
    """Whether all adapters fit the base."""
    return index.family is base.family and next(misfits(header, index, base), None) is None


def misfits(header: Header, index: Index, base: Base) -> Iterator[str]:
    """What does not fit, one part of a sentence an adapter; the family is taken to be the base's."""
    for name, slot in index.slots.items():
        if reason := _misfit(header, slot, base):
            yield f"{name}: {reason}"


def defects(header: Header, index: Index) -> Iterator[str]:
    """The adapters whose shapes no base of the family can have, whatever its width; one part of a sentence each."""
    width = _common_width(header, index.slots)
    for name, slot in index.slots.items():
        if reason := _wrong_shape(header, slot, width, "the base"):
            yield f"{name}: {reason}"


def clip_defects(header: Header, index: Index) -> Iterator[str]:
    """The adapters of CLIP-L whose shapes no CLIP can have; one part of a sentence each."""
    width = _common_width(header, index.clip)
    for name, slot in index.clip.items():
        if reason := _wrong_shape(header, slot, width, "CLIP-L"):
            yield f"{name}: {reason}"


def _common_width(header: Header, slots: Mapping[str, Slot]) -> int | None:
    widths = Counter(
        header.tensors[slot.down].shape[-1] // slot.target.columns
        for slot in slots.values()
        if slot.down and slot.target.columns and header.tensors[slot.down].shape
    )
    return widths.most_common(1)[0][0] if widths else None


def _misfit(header: Header, slot: Slot, base: Base) -> str:
    target = slot.target
    for number, key, kind in ((target.double, "double_blocks", "double"), (target.single, "single_blocks", "single")):
        if number is not None and number >= base.shape[key]:
            return f"{base.id} has only {base.shape[key]} {kind} blocks"
    return _wrong_shape(header, slot, base.shape["width"], base.id) or _wrong_end(header, slot, base)


def _wrong_end(header: Header, slot: Slot, base: Base) -> str:
    """What differs in the first and last layers, whose sizes the width does not give; "" where no size is known."""
    place, sizes = slot.target.place, {**FIXED, **base.shape}
    took, gave = header.tensors[slot.down].shape[1], header.tensors[slot.up].shape[0]
    if took != sizes.get(place.takes, took):
        return f"takes {took} numbers, the layer of {base.id} takes {sizes[place.takes]}"
    if gave != sizes.get(place.gives, gave):
        return f"gives {gave} numbers, the layer of {base.id} gives {sizes[place.gives]}"
    return ""


def _wrong_shape(header: Header, slot: Slot, width: int | None, base: str) -> str:
    target = slot.target
    if not (slot.down and slot.up):
        return "one of its two matrices is missing"
    down, up = header.tensors[slot.down].shape, header.tensors[slot.up].shape
    if len(down) != 2 or len(up) != 2 or 0 in (*down, *up):
        return f"its matrices have the shapes {list(down)} and {list(up)}, which are not those of a linear layer"
    if down[0] != up[1]:
        return f"its matrices {list(down)} and {list(up)} have different ranks"
    if slot.alpha and prod(header.tensors[slot.alpha].shape) != 1:
        return "its alpha is not one number"
    if width is None:
        return ""
    if target.columns is not None and down[1] != target.columns * width:
        return f"takes {down[1]} numbers, the layer of {base} takes {target.columns * width}"
    if None not in target.rows:
        height = sum(rows or 0 for rows in target.rows) * width
        if up[0] != height:
            return f"gives {up[0]} numbers, the layer of {base} gives {height}"
    return ""
