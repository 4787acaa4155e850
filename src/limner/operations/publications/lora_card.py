"""A lora's own page: its model card with its owner's words, and taking a version away."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from limner.errors import Conflict, InputRefused
from limner.hubs.card import model_card
from limner.operations.home import blob_erasure as erasing
from limner.operations.home.workspace import Workspace
from limner.operations.loras import queries as lora_queries
from limner.operations.publications import hub_repos as published
from limner.operations.publications import job as publishing
from limner.operations.publications import repo_owners as repos
from limner.records import Erasure, Lora
from limner.store.models import JobRow, LoraOriginalRow, PublicationRow
from limner.types import UNDER_WAY

__all__ = ["card_text", "delete_lora", "set_card"]

LONGEST_CARD = 20_000


def card_text(workspace: Workspace, lora: str) -> str:
    """The model card as it would be published now: a YAML header and Markdown."""
    with workspace.database.read() as session:
        row = lora_queries.find_lora_row(session, lora)
        name, version = f"{row.subject}@v{row.version}", row.version
        place = session.scalars(
            select(PublicationRow).where(PublicationRow.lora == row.id).order_by(PublicationRow.id.desc()).limit(1)
        ).first()
        repo = place.repo if place is not None else repos.usual_name(row.subject)
    facts, _ = publishing.card_of(workspace, name, repo)
    return model_card(replace(facts, tag=f"v{version}"))


def set_card(workspace: Workspace, lora: str, words: str) -> Lora:
    """Keep the owner's own words for the model card; "" takes them away. InputRefused: they are too long."""
    if len(words) > LONGEST_CARD:
        raise InputRefused(
            f"The words for the card have {len(words):,} characters; {LONGEST_CARD:,} is the most.",
            remedy="Shorten them.",
            thing="card",
        )
    if any(char == "\0" or 0xD800 <= ord(char) <= 0xDFFF for char in words):
        raise InputRefused("The words for the card are no text.", remedy="Write them as plain text.", thing="card")
    with workspace.database.write() as session:
        row = lora_queries.find_lora_row(session, lora)
        row.card = words.replace("\r\n", "\n").strip()
        return lora_queries.lora_record(workspace, row)


def delete_lora(workspace: Workspace, lora: str, *, unpublish: bool = False) -> Erasure:
    """Delete one version, and its weights unless something else has them; pictures made with it stay.

    Conflict: it is published and ``unpublish`` was not said, or a job that has not ended uses it.
    """
    with workspace.database.read() as session:
        row = lora_queries.find_lora_row(session, lora)
        name, subject, digest = f"{row.subject}@v{row.version}", row.subject, row.digest
        kept = session.scalars(select(LoraOriginalRow.digest).where(LoraOriginalRow.lora == row.id)).all()
        places = session.scalars(select(PublicationRow).where(PublicationRow.lora == row.id)).all()
        where = sorted({(place.hub, place.repo) for place in places})
        _refuse_while_used(session, name)
    if where and not unpublish:
        named = ", ".join(f"{repo} on '{hub}'" for hub, repo in where)
        raise Conflict(
            f"{name} is published as {named}.",
            remedy=f"Take it away there too: limner lora delete {name} --unpublish",
            thing=name,
        )
    if where:
        published.unpublish(workspace, name)
    with workspace.database.write() as session:
        row = lora_queries.find_lora_row(session, name)
        _refuse_while_used(session, name)
        session.execute(delete(PublicationRow).where(PublicationRow.lora == row.id))
        session.delete(row)
    # Whether a blob is used is asked of everybody's rows: another user may have the same weights.
    with workspace.everyone.database.write() as session:
        unused = erasing.let_go(session, [digest, *kept])
    erasing.finish_later(workspace)
    return Erasure(subject, {"loras": 1, "publications": len(where), "blobs": len(unused)}, ())


def _refuse_while_used(session: Session, name: str) -> None:
    open_jobs = session.scalars(select(JobRow).where(JobRow.state.in_(UNDER_WAY)))
    for job in open_jobs:
        for stage in job.request["stages"]:
            named = [*(use[0] for use in stage.get("loras", ())), stage.get("lora", "")]
            if name in named:
                raise Conflict(
                    f"The job {job.id} uses {name}.",
                    remedy=f"Wait for it, or cancel it first: limner jobs cancel {job.id}",
                    thing=name,
                )
