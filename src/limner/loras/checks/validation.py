"""Validation: whether a file is a lora that works on a named base; if not, why, and what to do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import BinaryIO

import numpy as np

from limner.errors import LoraRefused
from limner.loras.checks.fitting import clip_defects, misfits
from limner.loras.checks.inspection import Inspected, guidance_findings, inspect_closely
from limner.loras.checks.soundness import UNSOUND
from limner.loras.file.foreign import refuse_foreign
from limner.loras.file.header import Header, read_header
from limner.loras.file.layers import alpha_of
from limner.loras.file.naming import Index, index_names
from limner.loras.file.number_formats import FLOATS, chunks
from limner.loras.file.strength import TEXT_ENCODER, TRANSFORMER, declared_strength
from limner.types import Base, Family, Finding, LoraFacts, Severity

__all__ = ["check_numbers", "refuse_unsound", "validate"]

_FAMILIES = {Family.FLUX1: "FLUX.1", Family.FLUX2: "FLUX.2"}
# found in inspection, where they are only told; whoever wants to use the file cannot
_OPEN = ("several-bases", "base-by-hint", "no-base")
_FATAL = ("unknown-tensors", "additions", "header-rank", "strength-twice")


def validate(path: Path, base: Base) -> LoraFacts:
    """Check that the file at ``path`` is a lora for ``base``: layers, shapes, finite numbers. All weights are read.

    LoraRefused says why it is not. What is odd but usable stands in the facts' findings (``does-nothing`` if it
    changes nothing at all). The facts name ``base``, which the file fits, even where it fits others too.
    """
    inspected = inspect_closely(path)
    refuse_unsound(inspected.facts)
    header = inspected.header
    refuse_foreign(read_header(path))  # inspection reads LoKr and LoHa, which is not to say that others do
    index = index_names(header.tensors, base.family)
    _refuse_other_base(inspected, index, base)
    _refuse(inspected.facts, _FATAL)
    if defect := next(clip_defects(header, index), None):
        raise LoraRefused(f"{path.name}: {defect}.", remedy="Convert it without the text encoder.", thing=str(path))
    with path.open("rb") as file:
        untouched = check_numbers(file, header, index)
    findings = [one for one in inspected.facts.findings if one.code not in _OPEN]
    if not base.guidance_embedded and inspected.facts.base != base.id:
        findings += guidance_findings(index, base)
    findings += _idle(index, untouched)
    return dataclasses.replace(
        inspected.facts, base=base.id, family=base.family, naming=index.naming, findings=tuple(findings)
    )


def refuse_unsound(facts: LoraFacts) -> None:
    """LoraRefused, with the true reason, where no base can be right for a file; see ``soundness``."""
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
    fitting = " or ".join(facts.candidates)
    # where no base fits, and both families know the names, the family is a guess
    sure = bool(fitting or index.unknown)
    other = sure and facts.family and facts.family is not base.family and _FAMILIES[facts.family]
    if other:
        made_for = f"{other} ({fitting})" if fitting else other
        raise LoraRefused(
            f"{facts.path.name} is a LoRA for {made_for}, and does not fit {base.title}, which is "
            f"{_FAMILIES[base.family]}.",
            remedy=f"Draw with a base of the family {other}, or train one for {base.title}.",
            thing=str(facts.path),
        )
    if wrong:
        made_for = f" It fits {fitting}." if fitting else ""
        raise LoraRefused(
            f"{facts.path.name} does not fit {base.title}: {len(wrong)} of {len(index.slots)} layers differ, first "
            f"{wrong[0]}.{made_for}",
            remedy=f"Draw with {fitting}." if fitting else f"Train one for {base.title}.",
            thing=str(facts.path),
        )


def check_numbers(file: BinaryIO, header: Header, index: Index) -> int:
    """Read every weight of complete adapters; give the number of layers that change nothing.

    Those are the ones of which a matrix is all zeros, or the alpha. LoraRefused: a weight is not finite, or is no
    floating point number.
    """
    idle = 0
    for component, slots in ((TRANSFORMER, index.slots), (TEXT_ENCODER, index.clip)):
        declared = declared_strength(header.metadata, component)
        for name, slot in slots.items():
            halves = [_changes(file, header, name, tensor) for tensor in (slot.down, slot.up)]
            idle += not (all(halves) and alpha_of(file, header, slot, declared))
    return idle


def _changes(file: BinaryIO, header: Header, name: str, tensor: str) -> bool:
    """Whether any number of a matrix is not zero."""
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
    return filled


def _idle(index: Index, untouched: int) -> list[Finding]:
    if untouched and untouched == len(index.all_slots):
        message = "It does nothing: in every layer a matrix is zero, as before the first step of training, or alpha is."
        return [Finding("does-nothing", Severity.WARNING, message, "Train it, or use a later checkpoint.")]
    if untouched:
        message = f"{untouched} of {len(index.all_slots)} layers do nothing: a matrix or the alpha is zero."
        return [Finding("idle-layers", Severity.NOTE, message)]
    return []
