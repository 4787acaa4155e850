"""Inspection: what a lora file is, read from its tensors' names and shapes; the header is heard but not believed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from limner.catalog import bases
from limner.errors import LoraRefused
from limner.loras.checks.base_choice import choose
from limner.loras.checks.fitting import defects, fits
from limner.loras.checks.portability import portability_findings
from limner.loras.checks.soundness import unsound
from limner.loras.file.adapter_config import config_findings, read_adapter
from limner.loras.file.additions import described
from limner.loras.file.foreign import refuse_foreign, refuse_other_inputs
from limner.loras.file.header import Digests, Header, digests
from limner.loras.file.layers import alpha_of
from limner.loras.file.metadata import declared_bases, declared_trigger
from limner.loras.file.naming import Index, index_names
from limner.loras.file.other_models import named_elsewhere
from limner.loras.file.strength import DeclaredStrength, declared_strength
from limner.loras.lycoris.nearest import TITLES, as_loras
from limner.types import Base, Family, Finding, LoraFacts, Severity

__all__ = [
    "Inspected",
    "candidates",
    "family_and_index",
    "guidance_findings",
    "inspect",
    "inspect_closely",
    "unsaid_strength",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Inspected:
    """The facts of a file with what they were read from, for those who go on with it."""

    facts: LoraFacts
    header: Header
    index: Index


def inspect(path: Path, *, card: str = "") -> LoraFacts:
    """Say what a lora file is: naming, family, base, rank, alpha, trigger, digests. No weights are computed with.

    ``card`` is what the card beside it says of its base: an id or repo. LoKr and LoHa are read as what they are (see
    ``kind``). NotFound if there is no file; LoraRefused, with the reason and what the file is instead, if it is no LoRA
    of a FLUX that is a base here.
    """
    return inspect_closely(path, card=card).facts


def inspect_closely(path: Path, *, card: str = "") -> Inspected:
    """``inspect``, with the header and the index of the tensors; of LoKr and LoHa those of ``lycoris.as_loras``."""
    header, special = as_loras(read_adapter(path))
    family, index = family_and_index(header)
    found = digests(header)
    fitting = candidates(header, {each: index_names(header.tensors, each) for each in Family})
    choice = choose(fitting, header, index, _base_of(card))
    base, findings = choice.base, list(choice.findings)
    if elsewhere := named_elsewhere(header.metadata, card):
        findings.append(elsewhere)
    kind = next(iter(special.values())).kind if special else "lora"
    if special:
        findings.append(_special(kind, len(special)))
    declared = declared_strength(header.metadata)
    with path.open("rb") as file:
        strengths = _strengths(file, header, index, declared, findings)
        findings += _beside(file, header, index, special=bool(special))
    findings += _findings(header, index, found)
    if base is not None and not base.guidance_embedded:
        findings += guidance_findings(index, base)
    common = strengths.most_common(1)[0][0] if strengths else (0, 0.0)
    slots = index.slots.values()
    dtypes = {header.tensors[name].dtype for slot in slots for name in (slot.down, slot.up) if name}
    facts = LoraFacts(
        path=path,
        digest=found.file,
        tensor_digest=found.tensors,
        byte_size=header.byte_size,
        naming=index.naming,
        family=base.family if base else family,
        base=base.id if base else "",
        rank=common[0],
        alpha=common[1],
        modules=len(index.slots),
        dtype=", ".join(sorted(dtypes)),
        trigger=declared_trigger(header.metadata),
        metadata=header.metadata,
        ranks=tuple(sorted({rank for rank, _ in strengths})),
        double_blocks=_numbers(slot.target.double for slot in slots),
        single_blocks=_numbers(slot.target.single for slot in slots),
        findings=tuple(findings),
        kind=kind,
        candidates=tuple(one.id for one in choice.candidates),
    )
    return Inspected(facts, header, index)


def family_and_index(header: Header) -> tuple[Family, Index]:
    """The family whose layers the file's names and shapes are, and its tensors sorted by what they mean there."""
    refuse_foreign(header)
    indexes = {family: index_names(header.tensors, family) for family in Family}
    if not any(index.slots for index in indexes.values()):
        example = ", ".join(name[:70] for name in list(header.tensors)[:2])
        raise LoraRefused(
            f"{header.path.name} changes no layer of a FLUX transformer; its tensors have names such as {example}.",
            remedy="Use a LoRA that was trained on a FLUX model.",
            thing=str(header.path),
        )
    fitting = [base.family for base in candidates(header, indexes)]
    hinted = [bases()[name].family for name in declared_bases(header.metadata) if name in bases()]

    def order(family: Family) -> tuple[int, bool, int, int, bool]:
        index = indexes[family]
        return (
            len(index.unknown),
            family not in fitting,
            sum(1 for _ in defects(header, index)),
            len(index.beyond_clip),
            bool(hinted) and family not in hinted,
        )

    family = min(Family, key=order)
    if not fitting:
        refuse_other_inputs(header, indexes[family])
    return family, indexes[family]


def candidates(header: Header, indexes: Mapping[Family, Index]) -> list[Base]:
    """The bases that the adapters fit, among the families that know the most of the file's names."""
    known = min(len(index.unknown) for index in indexes.values())
    families = [family for family, index in indexes.items() if index.slots and len(index.unknown) == known]
    fitting = [
        base for base in bases().values() if base.family in families and fits(header, indexes[base.family], base)
    ]
    # only FLUX.1 reads CLIP-L, so its tensors tell the family where the layers do not
    strange = {family: len(indexes[family].beyond_clip) for family in families}
    least = min((strange[base.family] for base in fitting), default=0)
    return [base for base in fitting if strange[base.family] == least]


def unsaid_strength(header: Header, index: Index) -> Iterable[Finding]:
    """PEFT's own files keep alpha in another file; what is then taken for it is told."""
    silent = not any(slot.alpha for slot in index.slots.values()) and declared_strength(header.metadata) is None
    if silent and not header.config and any(name.startswith("base_model.model.") for name in index.slots):
        message = "PEFT saved it, and keeps alpha in adapter_config.json beside it; here alpha is taken to be the rank."
        yield Finding("alpha-elsewhere", Severity.NOTE, message, "Draw with another scale if alpha there is another.")


def guidance_findings(index: Index, base: Base) -> Iterable[Finding]:
    """Told where a file changes guidance layers and the base has none."""
    layers = [name for name, slot in index.slots.items() if slot.target.place.bfl.startswith("guidance_in.")]
    if layers:
        message = f"{len(layers)} layers are of the guidance embedding, which {base.title} does not have."
        yield Finding("guidance", Severity.WARNING, message, "Convert it: that leaves them out.")


def _base_of(card: str) -> str:
    return next((base.id for base in bases().values() if card in (base.id, base.repo)), "")


def _special(kind: str, layers: int) -> Finding:
    message = f"It is {TITLES[kind]} (LyCORIS; layers: {layers}): no plain LoRA, and few programs read it."
    remedy = "Importing it makes the nearest LoRA, says what that costs, and keeps this file."
    return Finding(kind, Severity.NOTE, message, remedy)


def _strengths(
    file: BinaryIO, header: Header, index: Index, declared: DeclaredStrength | None, findings: list[Finding]
) -> Counter[tuple[int, float]]:
    counted: Counter[tuple[int, float]] = Counter()
    wrong = []
    for name, slot in index.slots.items():
        shape = header.tensors[slot.down or slot.up].shape
        if len(shape) != 2:
            continue
        rank = shape[0 if slot.down else 1]
        counted[rank, alpha_of(file, header, slot, declared)] += 1
        if declared is not None and name.startswith("transformer.") and declared.rank_of(slot.target.parts[0]) != rank:
            wrong.append(name)
    if wrong:
        findings.append(
            Finding(
                "header-rank",
                Severity.WARNING,
                f"The header gives {len(wrong)} layers another rank than their matrices have, such as {wrong[0]}.",
                "Convert it: that writes the header anew.",
            )
        )
    if declared is not None and any(slot.alpha for slot in index.slots.values()):
        message = "Strength is said twice, by alpha tensors and by the header; diffusers refuses such a file."
        findings.append(Finding("strength-twice", Severity.WARNING, message, "Convert it: that leaves one."))
    return counted


def _findings(header: Header, index: Index, found: Digests) -> Iterable[Finding]:
    if index.clip:
        message = f"{len(index.clip)} layers of the text encoder CLIP-L are changed too; not every service reads them."
        yield Finding("text-encoder", Severity.NOTE, message)
    if beyond := index.beyond_clip:
        message = f"{len(beyond)} tensors are for a text encoder, such as {beyond[0][:60]}; Limner draws without them."
        remedy = "Train without that text encoder, or use another tool."
        yield Finding("text-encoder-unread", Severity.WARNING, message, remedy)
    yield from unsaid_strength(header, index)
    added = set(index.additions)
    if unknown := [name for name in index.unknown if name not in added]:
        shown = ", ".join(name[:70] for name in unknown[:3])
        message = f"{len(unknown)} tensors mean nothing in this family: {shown}."
        yield Finding("unknown-tensors", Severity.WARNING, message, "Export the LoRA again without them.")
    namings = {slot.target.naming for slot in index.slots.values()}
    if len(namings) > 1:
        message = f"It mixes namings: {', '.join(sorted(namings))}."
        yield Finding("mixed-naming", Severity.WARNING, message, "Convert it to one naming.")
    recorded = header.metadata.get("modelspec.hash_sha256", "").removeprefix("0x").lower()
    if recorded and recorded != found.tensors:
        message = "The header records another digest of the tensors: they were changed after it was written."
        yield Finding("digest-disagrees", Severity.WARNING, message, "Fetch the file again from its maker.")


def _beside(file: BinaryIO, header: Header, index: Index, *, special: bool) -> Iterable[Finding]:
    """What the file or another one says of its strength, what it does beside its layers, and what makes it unsound."""
    yield from config_findings(header)
    wrong = unsound(header, index)
    if wrong is not None:
        yield wrong
    if added := index.additions:
        message = described(file, header, added) + "."
        yield Finding("additions", Severity.WARNING, message, "Import or convert it without them (--drop-additions).")
    if wrong is None and not special:
        yield from portability_findings(file, header, index)


def _numbers(numbers: Iterable[int | None]) -> tuple[int, ...]:
    return tuple(sorted({number for number in numbers if number is not None}))
