"""Adapters that no base can be right for: one too many, half of one, or matrices that do not belong together."""

from __future__ import annotations

from itertools import chain

from limner.loras.checks.fitting import clip_defects, defects
from limner.loras.file.header import Header
from limner.loras.file.naming import Index
from limner.types import Finding, Severity

__all__ = ["UNSOUND", "unsound"]

UNSOUND = ("two-adapters", "incomplete", "wrong-shapes")


def unsound(header: Header, index: Index) -> Finding | None:
    """The first thing that makes a file unfit for every base, by its true reason; None if there is none."""
    if index.twice:
        first, second = index.twice[0]
        message = f"It holds two adapters for one layer, {first[:90]} and {second[:90]}"
        message += f" ({len(index.twice)} such pairs)." if len(index.twice) > 1 else "."
        remedy = "Export one adapter alone, or merge them into one first."
        return Finding("two-adapters", Severity.WARNING, message, remedy)
    if index.incomplete:
        first = index.incomplete[0]
        half = "first (lora_A)" if not index.slots[first].down else "second (lora_B)"
        message = (
            f"{len(index.incomplete)} layers lack one of their two matrices: the {half} is missing of {first[:90]}."
        )
        return Finding("incomplete", Severity.WARNING, message, "Export the LoRA again.")
    if wrong := next(chain(defects(header, index), clip_defects(header, index)), ""):
        message = f"It holds an adapter that fits no base: {wrong}."
        return Finding("wrong-shapes", Severity.WARNING, message, "Export the LoRA again.")
    return None
