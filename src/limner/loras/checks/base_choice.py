"""Which base a file is for, among those that its shapes fit: what decides is named, and what is open stays open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from limner.errors import BaseUnclear
from limner.loras.file.header import Header
from limner.loras.file.metadata import Declared, declared_base
from limner.loras.file.naming import Index
from limner.types import Base, Finding, Severity

__all__ = ["Choice", "choose", "unclear"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The bases that fit, the likeliest first, and the one that it is; None where none fits or nobody can tell."""

    candidates: tuple[Base, ...]
    base: Base | None
    findings: tuple[Finding, ...] = ()


def choose(fitting: Sequence[Base], header: Header, index: Index, card: str = "") -> Choice:
    """Choose by what the header says, then by ``card`` (the id of the base that it names), then by guidance layers.

    Each only decides where it leaves one base; what leaves several ranks them.
    """
    if not fitting:
        message = "It fits no base that Limner knows: block numbers or widths are of another model."
        return Choice((), None, (Finding("no-base", Severity.WARNING, message, "Limner cannot draw with it."),))
    findings: list[Finding] = []
    declared = declared_base(header.metadata)
    if declared and not any(base.id in declared.ids for base in fitting):
        findings.append(_disagrees(declared, fitting))
    hints: list[tuple[tuple[str, ...], str]] = [
        (declared.ids, f"its header says so ({declared.key}: {declared.value[:60]})") if declared else ((), ""),
        ((card,), "its card says so"),
        (_guided(fitting, index), "it changes the guidance layers, which the others lack"),
    ]
    left, why = list(fitting), ""
    for ids, reason in hints:
        likelier = [base for base in left if base.id in ids]
        if likelier and len(likelier) < len(left):
            left, why = likelier, reason
    ranked = (*left, *(base for base in fitting if base not in left))
    if len(fitting) == 1:
        return Choice(ranked, fitting[0], tuple(findings))
    if len(left) == 1:
        message = f"It fits {_titles(fitting)}; it is taken to be for {left[0].title}, since {why}."
        findings.append(Finding("base-by-hint", Severity.NOTE, message, "Name the base yourself if that is wrong."))
        return Choice(ranked, left[0], tuple(findings))
    hint = f" More likely {_titles(left)}, since {why}." if why else ""
    message = f"It fits {_titles(fitting)}, and nothing in it says which it was made for.{hint}"
    remedy = f"Say which base: {' or '.join(base.id for base in ranked)} (--base)."
    severity = Severity.NOTE if len({base.family for base in fitting}) == 1 else Severity.WARNING
    findings.append(Finding("several-bases", severity, message, remedy))
    return Choice(ranked, None, tuple(findings))


def unclear(findings: Sequence[Finding], candidates: Sequence[str]) -> BaseUnclear:
    """The question which base a file is for, as an error; ``findings`` are those that ``choose`` made."""
    said = next(finding for finding in findings if finding.code == "several-bases")
    return BaseUnclear(said.message, remedy=said.remedy, thing="base", candidates=candidates)


def _disagrees(declared: Declared, fitting: Sequence[Base]) -> Finding:
    return Finding(
        "header-disagrees",
        Severity.WARNING,
        f"The header says {' or '.join(declared.ids)}, but the tensors are of {_titles(fitting)}; the tensors count.",
        "Ask its maker which base it was trained on.",
    )


def _guided(fitting: Sequence[Base], index: Index) -> tuple[str, ...]:
    if any(slot.target.place.bfl.startswith("guidance_in.") for slot in index.slots.values()):
        return tuple(base.id for base in fitting if base.guidance_embedded)
    return ()


def _titles(bases: Sequence[Base]) -> str:
    return " or ".join(base.title for base in bases)
