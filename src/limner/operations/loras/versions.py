"""Versions: the next lora of a subject, wherever it comes from."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from limner.store.models import GenerationLoraRow, LoraRow
from limner.types import LoraFacts

__all__ = ["add_lora"]


def add_lora(
    session: Session,
    subject: str,
    facts: LoraFacts,
    *,
    training: str | None = None,
    picked_from: str | None = None,
    step: int | None = None,
    hosted: dict[str, str] | None = None,
    trigger: str = "",
    original: str = "",
) -> LoraRow:
    """The subject's next version; ``trigger`` over the one in the file's header.

    ``training`` made it, or it was ``picked_from`` one's checkpoint of ``step``, or it came as another kind of adapter.
    """
    newest = session.scalar(select(func.max(LoraRow.version)).where(LoraRow.subject == subject)) or 0
    lora = LoraRow(
        subject=subject,
        version=max(newest, _last_drawn(session, subject)) + 1,
        digest=facts.digest,
        tensor_digest=facts.tensor_digest,
        training=training,
        picked_from=picked_from,
        step=step,
        base=facts.base,
        naming=facts.naming,
        rank=facts.rank,
        alpha=facts.alpha,
        modules=facts.modules,
        byte_size=facts.byte_size,
        trigger=trigger or facts.trigger,
        header=dict(facts.metadata),
        hosted=hosted or {},
        findings=[asdict(finding) for finding in facts.findings],
        original=original,
    )
    session.add(lora)
    session.flush()
    return lora


def _last_drawn(session: Session, subject: str) -> int:
    """The highest version that pictures name: one that was deleted must not come to mean other weights."""
    start = f"{subject}@v"
    names = select(GenerationLoraRow.lora).where(GenerationLoraRow.lora.startswith(start, autoescape=True)).distinct()
    found = [name.removeprefix(start) for name in session.scalars(names)]
    return max((int(number) for number in found if number.isdecimal()), default=0)
