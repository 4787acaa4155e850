"""Validation: whether a file is a lora that works on a named base; if not, why, and what to do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import BinaryIO

import numpy as np

from limner.errors import LoraRefused
from limner.loras.fitting import clip_defects, misfits
from limner.loras.header import Header
from limner.loras.inspection import Inspected, inspect_closely
from limner.loras.naming import Index, index_names
from limner.loras.number_formats import FLOATS, chunks
from limner.loras.soundness import UNSOUND
from limner.types import Base, Family, Finding, LoraFacts, Severity

__all__ = ["check_numbers", "refuse_unsound", "validate"]

_FAMILIES = {Family.FLUX1: "FLUX.1", Family.FLUX2: "FLUX.2"}
# found in inspection, where they are only told; whoever wants to use the file cannot
_FATAL = ("unknown-tensors", "additions", "header-rank", "strength-twice")


def validate(path: Path, base: Base) -> LoraFacts:
    """Check that the file at ``path`` is a lora for ``base``: layers, shapes, finite numbers. All weights are read.

    LoraRefused says why it is not. What is odd but usable stands in the facts' findings (``does-nothing`` if it
    changes nothing at all). The facts name ``base``, which the file fits, even where it fits others too.
    """
    inspected = inspect_closely(path)
    refuse_unsound(inspected.facts)
    header = inspected.header
    index = index_names(header.tensors, base.family)
    _refuse_other_base(inspected, index, base)
    _refuse(inspected.facts, _FATAL)
    if defect := next(clip_defects(header, index), None):
        raise LoraRefused(f"{path.name}: {defect}.", remedy="Convert it without the text encoder.", thing=str(path))
    with path.open("rb") as file:
        untouched = check_numbers(file, header, index)
    findings = [one for one in inspected.facts.findings if one.code not in ("several-bases", "no-base")]
    findings += _idle(index, untouched)
    return dataclasses.replace(
        inspected.facts, base=base.id, family=base.family, naming=index.naming, findings=tuple(findings)
    )


def refuse_unsound(facts: LoraFacts) -> None:
    """LoraRefused, with the true reason, where no base can be right for a file: a matrix is missing, or one too many."""
    _refuse(facts, UNSOUND)


def _refuse(facts: LoraFacts, codes: tuple[str, ...]) -> None:
    for finding in facts.findings:
        if finding.code in codes:
            raise LoraRefused(f"{facts.path.name}: {finding.message}", remedy=finding.remedy, thing=str(facts.path))


def _refuse_other_base(inspected: Inspected, index: Index, base: Base) -> None:
    facts = inspected.facts
    wrong = list(misfits(inspected.header, index, base))
    if not wrong and not index.unknown:
        return
    other = facts.family and facts.family is not base.family and _FAMILIES[facts.family]
    if other:
        made_for = f"{other} ({facts.base})" if facts.base else other
        raise LoraRefused(
            f"{facts.path.name} is a LoRA for {made_for}, and does not fit {base.title}, which is "
            f"{_FAMILIES[base.family]}.",
            remedy=f"Draw with a base of the family {other}, or train one for {base.title}.",
            thing=str(facts.path),
        )
    if wrong:
        made_for = f" It fits {facts.base}." if facts.base else ""
        raise LoraRefused(
            f"{facts.path.name} does not fit {base.title}: {len(wrong)} of {len(index.slots)} layers differ, first "
            f"{wrong[0]}.{made_for}",
            remedy=f"Draw with {facts.base}." if facts.base else f"Train one for {base.title}.",
            thing=str(facts.path),
        )


def check_numbers(file: BinaryIO, header: Header, index: Index) -> int:
    """Read every weight of complete adapters; give the number of layers whose ``up`` is all zeros.

    LoraRefused: a weight is not finite, or is no floating point number.
    """
    idle = 0
    for name, slot in index.all_slots.items():
        for tensor in (slot.down, slot.up):
            dtype = header.tensors[tensor].dtype
            if dtype not in FLOATS:
                raise LoraRefused(
                    f"{header.path.name}: the weights of {name} are stored as {dtype}, no floating point format.",
                    remedy="Export the LoRA as BF16, F16 or F32.",
                    thing=tensor,
                )
            filled = False
            for values in chunks(file, header, tensor):
                if not np.isfinite(values).all():
                    raise LoraRefused(
                        f"{header.path.name}: {tensor} holds numbers that are not finite (NaN or infinite); the "
                        "training went wrong.",
                        remedy="Train again with a lower learning rate, or use an earlier checkpoint.",
                        thing=tensor,
                    )
                filled = filled or bool(values.any())
        idle += not filled
    return idle


def _idle(index: Index, untouched: int) -> list[Finding]:
    if untouched and untouched == len(index.all_slots):
        message = "It does nothing: every second matrix is zero, as before the first step of training."
        return [Finding("does-nothing", Severity.WARNING, message, "Train it, or use a later checkpoint.")]
    if untouched:
        message = f"{untouched} of {len(index.all_slots)} layers do nothing: their second matrix is zero."
        return [Finding("idle-layers", Severity.NOTE, message)]
    return []
