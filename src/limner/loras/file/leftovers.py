"""What of a file can be left out in a conversion because it does nothing, and the word that says so.

Exporters add tensors that no reader uses: differences that are all zero, adapters that were never trained, an alpha
without matrices, guidance layers for a base that takes no guidance. Whatever does something stays, or is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import BinaryIO

from limner.loras.file.header import Header
from limner.loras.file.naming import Index, Slot, role_of
from limner.loras.file.number_formats import FLOATS, chunks
from limner.types import Base, Finding, Severity

__all__ = ["Cleaned", "without_leftovers"]

_ADDED = (".diff", ".diff_b", ".lora_A.bias", ".lora_B.bias", ".lora_down.bias", ".lora_up.bias")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """An index without what does nothing, the names of the tensors left out, and what to say about it."""

    index: Index
    dropped: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def without_leftovers(
    file: BinaryIO,
    header: Header,
    index: Index,
    *,
    candidates: Sequence[Base] = (),
    drop_text_encoder: bool = False,
    drop_unread: bool = False,
) -> Cleaned:
    """Leave out what does nothing on any of the candidates (the bases that the file may be for).

    Text encoder parts that do something are left out only if asked for: all of them, or with ``drop_unread`` those that
    no reader takes, T5's among them, while CLIP-L's stay. What is not left out of the former is in ``beyond_clip``.
    """

    def zero(name: str) -> bool:
        return header.tensors[name].dtype in FLOATS and not any(values.any() for values in chunks(file, header, name))

    findings: list[Finding] = []
    idle = _idle(index.unknown, zero)
    text = index.beyond_clip
    lost = list(index.text_encoder) if drop_text_encoder else []
    if not lost:
        idle += (still := _idle(text, zero))
        lost = [name for name in text if name not in still] if drop_unread else []
    guidance = _guidance(index, candidates)
    slots = {path: slot for path, slot in index.slots.items() if path not in guidance}
    guided = [name for slot in guidance.values() for name in (slot.down, slot.up, slot.alpha) if name]
    gone = {*idle, *lost}
    if idle:
        message = f"{len(idle)} tensors that do nothing were left out, such as {idle[0][:70]}."
        findings.append(Finding("left-out", Severity.NOTE, message))
    if guided:
        message = f"{len(guidance)} layers of the guidance embedding were left out: {candidates[0].title} has none."
        findings.append(Finding("guidance-left-out", Severity.WARNING, message))
    if lost:
        which = "of the text encoders" if drop_text_encoder else "of a text encoder that no program here reads"
        stays = f"; those of CLIP-L stay (layers: {len(index.clip)})" if index.clip and not drop_text_encoder else ""
        message = f"{len(lost)} tensors {which} were left out, such as {lost[0][:60]}{stays}. Pictures may change."
        findings.append(Finding("text-encoder-left-out", Severity.WARNING, message))
    kept = replace(
        index,
        slots=MappingProxyType(slots),
        clip=MappingProxyType({} if drop_text_encoder else dict(index.clip)),
        text_encoder=tuple(name for name in index.text_encoder if name not in gone),
        unknown=tuple(name for name in index.unknown if name not in gone),
    )
    return Cleaned(kept, (*idle, *guided, *lost), tuple(findings))


def _idle(names: Iterable[str], zero: Callable[[str], bool]) -> list[str]:
    """The tensors, of names that belong to no known layer, that change nothing whatever they are for."""
    modules: dict[str, dict[str, str]] = {}
    found = []
    for name in names:
        path, role = role_of(name)
        if role and role not in modules.get(path, {}):
            modules.setdefault(path, {})[role] = name
        elif name.endswith(_ADDED) and zero(name):
            found.append(name)
    for roles in modules.values():
        if roles.keys() == {"alpha"} or (roles.keys() >= {"down", "up"} and zero(roles["up"])):
            found += roles.values()
    return found


def _guidance(index: Index, candidates: Collection[Base]) -> dict[str, Slot]:
    if not candidates or any(base.guidance_embedded for base in candidates):
        return {}
    return {path: slot for path, slot in index.slots.items() if slot.target.place.bfl.startswith("guidance_in.")}
