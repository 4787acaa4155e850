"""Versions: the next lora of a subject, wherever it comes from."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from limner.store.models import LoraRow
from limner.types import LoraFacts

__all__ = ["add_lora"]


def add_lora(
    session: Session,
    subject: str,
    facts: LoraFacts,
    *,
    training: str | None = None,
    hosted: dict[str, str] | None = None,
    trigger: str = "",
) -> LoraRow:
    """The subject's next version; ``trigger`` over the one in the file's header."""
    newest = session.scalar(select(func.max(LoraRow.version)).where(LoraRow.subject == subject)) or 0
    lora = LoraRow(
        subject=subject,
        version=newest + 1,
        digest=facts.digest,
        tensor_digest=facts.tensor_digest,
        training=training,
        base=facts.base,
        naming=facts.naming,
        rank=facts.rank,
        alpha=facts.alpha,
        modules=facts.modules,
        byte_size=facts.byte_size,
        trigger=trigger or facts.trigger,
        header=dict(facts.metadata),
        hosted=hosted or {},
    )
    session.add(lora)
    session.flush()
    return lora
