"""LoRAs: rows to records, and rows by name."""

from __future__ import annotations

import re

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.errors import LimnerError, NotFound
from limner.operations.home.workspace import Workspace
from limner.records import (
    Lora,
)
from limner.store.models import (
    LoraRow,
)
from limner.types import Finding

__all__ = ["LORA_NAME", "find_lora_row", "known_lora", "lora_record"]


FINDINGS: TypeAdapter[list[Finding]] = TypeAdapter(list[Finding])
LORA_NAME = re.compile(r"^(?P<slug>[^@:]+?)(?:@v?(?P<version>\d{1,9}))?$", re.ASCII)


def find_lora_row(session: Session, name: str) -> LoraRow:
    """A lora by ``slug`` (the newest version), ``slug@v2``, or at least eight digits of its digest."""
    match = LORA_NAME.match(name.strip())
    query = None
    if match:
        query = select(LoraRow).where(LoraRow.subject == match["slug"]).order_by(LoraRow.version.desc()).limit(1)
        if match["version"]:
            query = select(LoraRow).where(LoraRow.subject == match["slug"], LoraRow.version == int(match["version"]))
    row = session.scalars(query).first() if query is not None else None
    if row is None and re.fullmatch(r"[0-9a-f]{8,64}", name):
        found = session.scalars(select(LoraRow).where(LoraRow.digest.startswith(name))).all()
        row = found[0] if len({r.digest for r in found}) == 1 else None
    if row is None:
        known = session.execute(select(LoraRow.subject, LoraRow.version).order_by(LoraRow.id.desc()).limit(8)).all()
        raise NotFound(
            f"There is no lora '{name}'.",
            remedy=f"Known: {', '.join(f'{s}@v{v}' for s, v in known)}." if known else "Train one with `limner train`.",
            thing=name,
        )
    return row


def lora_record(workspace: Workspace, row: LoraRow) -> Lora:
    return Lora(
        name=f"{row.subject}@v{row.version}",
        subject=row.subject,
        version=row.version,
        digest=row.digest,
        tensor_digest=row.tensor_digest,
        base=row.base,
        naming=row.naming,
        rank=row.rank,
        alpha=row.alpha,
        byte_size=row.byte_size,
        trigger=row.trigger,
        training=row.training or row.picked_from,
        header=row.header,
        path=workspace.blobs.place(row.digest),
        created_at=row.created_at,
        step=row.step,
        card=row.card,
        findings=tuple(FINDINGS.validate_python(row.findings)),
        original=row.original,
    )


def known_lora(session: Session, name: str) -> str:
    """``slug@v2`` of the lora that a name means here; "" if there is none."""
    try:
        row = find_lora_row(session, name)
    except LimnerError:
        return ""
    return f"{row.subject}@v{row.version}"
