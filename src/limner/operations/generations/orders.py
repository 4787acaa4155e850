"""From a request to a generator's order: prompt filled in, loras found, and each where that generator can get it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from limner import plugins
from limner.catalog import base_location, find_base
from limner.errors import Conflict, InputRefused
from limner.generation.generator import GenerationOrder
from limner.generation.prompts import fill
from limner.hubs.granting import Granting
from limner.hubs.hub import Hub
from limner.operations.home.workspace import Workspace
from limner.operations.jobs.context import StageContext
from limner.operations.loras import queries as lora_queries
from limner.operations.publications import job as publishing
from limner.operations.subjects import queries as reading
from limner.operations.trainings import actions as picking
from limner.store.models import (
    GenerationLoraRow,
    GenerationRow,
    GenerationSubjectRow,
    LoraRow,
    PublicationRow,
    SubjectRow,
)
from limner.types import BackEnd, Finding, JobState, LoraUse, Reach, Severity, Visibility

__all__ = [
    "ADDRESS_CODES",
    "add_row",
    "bare_order",
    "can_read",
    "grants",
    "order_of",
    "reach_findings",
    "reaches",
    "within_reach",
]

ADDRESS_CODES = ("lora-out-of-reach", "lora-unreachable")
"""What generators call a lora that has no address they can use."""


def order_of(
    workspace: Workspace, wanted: dict[str, Any], earlier: dict[str, Any], generator: str
) -> tuple[GenerationOrder, list[str]]:
    """The order of a request for one generator, and the subjects that its pictures show.

    While a job's own lora is yet to be made, one without file, digest and address stands for it.
    """
    about = plugins.back_end("limner.generators", generator, settings=workspace.settings).describe()
    uses: list[LoraUse] = []
    subjects: list[str] = []
    words: list[tuple[str, str]] = []
    with workspace.database.read() as session:
        for name, scale in wanted["loras"]:
            if name in wanted.get("remote", {}):
                use = LoraUse(**{**wanted["remote"][name], "scale": float(scale)})
                words.append((use.trigger, ""))
            elif picking.is_checkpoint(name):
                training, checkpoint = picking.find_checkpoint(session, name)
                subject = session.get_one(SubjectRow, training.subject)
                subjects.append(subject.slug)
                words.append((subject.trigger, subject.class_word))
                use = picking.use_of(workspace, training, checkpoint, subject, float(scale))
            elif not name and "lora" not in earlier:
                subject = reading.find_subject_row(session, wanted["subject"])
                subjects.append(subject.slug)
                words.append((subject.trigger, subject.class_word))
                use = LoraUse("", float(scale), f"the new lora of {subject.slug}", subject.trigger, base=wanted["base"])
            else:
                row = lora_queries.find_lora_row(session, name or earlier["lora"])
                subject = session.get_one(SubjectRow, row.subject)
                subjects.append(row.subject)
                words.append((row.trigger or subject.trigger, subject.class_word))
                use = _own(workspace, session, row, float(scale), about)
            uses.append(use)
        if not uses and wanted.get("subject"):
            # A picture of the base alone, for comparison: the same words, and it belongs to the subject it compares to.
            subject = reading.find_subject_row(session, wanted["subject"])
            subjects.append(subject.slug)
            words.append((subject.trigger, subject.class_word))
    bare = bare_order(workspace, wanted, generator)
    prompt = wanted["prompt"] if wanted.get("filled") else fill(wanted["prompt"], words)
    return replace(bare, prompt=prompt, loras=tuple(uses)), list(dict.fromkeys(subjects))


def bare_order(workspace: Workspace, wanted: dict[str, Any], generator: str) -> GenerationOrder:
    """The order without its loras, and with the prompt as it was written."""
    base = find_base(wanted["base"])
    about = plugins.back_end("limner.generators", generator, settings=workspace.settings).describe()
    model = wanted.get("model", "")
    several = "," in wanted["generator"]
    return GenerationOrder(
        id=wanted["generation"],
        prompt=wanted["prompt"],
        base=base,
        base_path=base_location(base, workspace.settings.base_paths),
        loras=(),
        width=wanted["width"],
        height=wanted["height"],
        steps=wanted["steps"],
        guidance=wanted["guidance"],
        seed=wanted["seed"],
        count=wanted["count"],
        # Among several generators a model is meant for the one that has it.
        model=model if not several or model in about.models else "",
        extra=wanted.get("extra", {}),
    )


def _own(workspace: Workspace, session: Session, row: LoraRow, scale: float, about: BackEnd) -> LoraUse:
    return LoraUse(
        digest=row.digest,
        scale=scale,
        name=f"{row.subject}@v{row.version}",
        trigger=row.trigger,
        path=workspace.blobs.place(row.digest),
        url=next(_public(workspace, session, row, about), ""),
        base=row.base,
        tensor_digest=row.tensor_digest,
        byte_size=row.byte_size,
        hosted=row.hosted,
        naming=row.naming,
    )


def _publications(session: Session, row: LoraRow) -> Sequence[PublicationRow]:
    return session.scalars(
        select(PublicationRow).where(PublicationRow.lora == row.id).order_by(PublicationRow.id.desc())
    ).all()


def can_read(about: BackEnd, hub: BackEnd) -> bool:
    """Whether a generator can fetch what is public on a hub."""
    if Reach.URL in about.reach:
        return Reach.URL in hub.reach
    return Reach.HUGGING_FACE in about.reach and Reach.HUGGING_FACE in hub.reach


def _public(workspace: Workspace, session: Session, row: LoraRow, about: BackEnd) -> Iterator[str]:
    """The addresses of the lora's public publications that the generator can fetch from, newest first."""
    for publication in _publications(session, row):
        if publication.visibility != Visibility.PUBLIC:
            continue
        hub: Hub = plugins.back_end("limner.hubs", publication.hub, settings=workspace.settings)
        if can_read(about, hub.describe()):
            url = hub.address(publication.repo, revision=publication.revision)
            if url:
                yield url


def reaches(about: BackEnd, use: LoraUse) -> bool:
    """Whether the generator can get at the lora as it is known now."""
    if Reach.FILE in about.reach and use.path is not None:
        return True
    return bool(use.url) or (Reach.HOSTED in about.reach and about.vendor in use.hosted)


def reach_findings(
    workspace: Workspace, wanted: dict[str, Any], order: GenerationOrder, about: BackEnd, findings: Sequence[Finding]
) -> list[Finding]:
    """A generator's findings on an order, where some loras get an address only when they are drawn.

    What it says of their addresses gives way to what will be done about them, or to the command that mends it.
    """
    if all(reaches(about, use) for use in order.loras):
        return list(findings)
    own = [found for use in order.loras if not reaches(about, use) for found in _reach(workspace, wanted, use, about)]
    return [*own, *(found for found in findings if found.code not in ADDRESS_CODES)]


def _reach(workspace: Workspace, wanted: dict[str, Any], use: LoraUse, about: BackEnd) -> Iterator[Finding]:
    """What will be done about a lora that the generator cannot get at, or a refusal with the command that mends it."""
    code = "lora-out-of-reach"
    if use.path is None:
        message = f"{about.title} fetches loras from an address that anyone can read, and {use.name} has none."
        mend = f"limner lora import {use.name} --subject SLUG, and publish that; or --generator local."
        yield Finding(code, Severity.REFUSAL, message, mend)
        return
    if picking.is_checkpoint(use.name):
        message = f"{about.title} fetches loras from an address that anyone can read; {use.name} is a checkpoint here."
        mend = f"limner lora pick {use.name.replace('#', ' ')}, and publish that; or --generator local."
        yield Finding(code, Severity.REFUSAL, message, mend)
        return
    grantable = _grantable(workspace, use, about)
    if grantable is not None:
        message = f"{use.name} is private: it is opened on the hub '{grantable[1].hub}' for as long as this takes."
        yield Finding("lora-opened", Severity.WARNING, message, "Its address is known when it is drawn.")
        return
    if wanted.get("publish_if_needed"):
        hub = _hub_for(workspace, about)
        try:
            publishing.refuse_without_consent(workspace, use.name.partition("@")[0])
        except Conflict as refusal:
            yield Finding("consent", Severity.REFUSAL, refusal.message, refusal.remedy)
        else:
            message = f"{use.name} is published on the hub '{hub}' for everyone, because you said so."
            yield Finding("lora-published", Severity.WARNING, message, "Its address is known when it is drawn.")
        return
    message = f"{about.title} fetches loras from an address that anyone can read, and {use.name} is nowhere public."
    private = " (or --hub s3 to keep it private, or generate with --publish-if-needed, or --generator local)."
    if Reach.URL not in about.reach:
        message = f"{about.title} takes loras from public repos of the Hugging Face Hub, and {use.name} is in none."
        private = " (or generate with --publish-if-needed, or --generator local)."
    yield Finding(code, Severity.REFUSAL, message, f"limner publish {use.name} --hub huggingface --public{private}")


def grants(hub: Hub) -> bool:
    """Whether the hub can open a private lora for the time of one generation."""
    return isinstance(hub, Granting)


def _grantable(workspace: Workspace, use: LoraUse, about: BackEnd) -> tuple[Granting, PublicationRow] | None:
    """A private publication on a hub that can open it for the time of one generation."""
    if use.path is None or Reach.URL not in about.reach:
        return None
    with workspace.database.read() as session:
        row = lora_queries.find_lora_row(session, use.name)
        for publication in _publications(session, row):
            hub = plugins.back_end("limner.hubs", publication.hub, settings=workspace.settings)
            if grants(hub):
                session.expunge(publication)
                return hub, publication
    return None


@asynccontextmanager
async def within_reach(
    context: StageContext, wanted: dict[str, Any], order: GenerationOrder, about: BackEnd
) -> AsyncIterator[tuple[GenerationOrder, tuple[LoraUse, ...]]]:
    """The order with every lora where the generator can get it, and the loras as pictures may tell of them.

    A lora that is nowhere public is opened on a hub that can do so for a while, or published where the user said so.
    What was opened is closed again, and its address, which nobody else shall know, stays out of the pictures.
    """
    workspace = context.workspace
    granted: list[tuple[Granting, str]] = []
    uses: list[LoraUse] = []
    told: list[LoraUse] = []
    try:
        for use in order.loras:
            url = shown = use.url
            if not reaches(about, use):
                grantable = await asyncio.to_thread(_grantable, workspace, use, about)
                if grantable is not None:
                    hub, publication = grantable
                    key = f"{order.id} {use.digest}"
                    granted.append((hub, key))
                    url = await asyncio.to_thread(hub.grant, publication.repo, publication.revision, key)
                elif wanted.get("publish_if_needed") and use.path is not None:
                    url = shown = await asyncio.to_thread(_publish, workspace, use, about)
            uses.append(replace(use, url=url))
            told.append(replace(use, url=shown))
        yield replace(order, loras=tuple(uses)), tuple(told)
    finally:
        for hub, key in granted:
            await asyncio.to_thread(hub.revoke, key)


def _hub_for(workspace: Workspace, about: BackEnd) -> str:
    """The hub to publish on so that the generator can fetch it: the user's own if that will do."""
    hub = workspace.settings.hub
    own = plugins.back_end("limner.hubs", hub, settings=workspace.settings).describe()
    return hub if can_read(about, own) else "huggingface"


def _publish(workspace: Workspace, use: LoraUse, about: BackEnd) -> str:
    """Publish a lora for everyone, because the user said so; its address."""
    hub = _hub_for(workspace, about)
    publishing.publish_now(workspace, use.name, hub=hub, visibility=Visibility.PUBLIC)
    with workspace.database.read() as session:
        url = next(_public(workspace, session, lora_queries.find_lora_row(session, use.name), about), "")
    if not url:
        raise InputRefused(
            f"{use.name} was published on '{hub}' and still has no address that anyone can read.",
            remedy="Publish it on another hub.",
            thing=use.name,
        )
    return url


def add_row(session: Session, wanted: dict[str, Any], order: GenerationOrder, subjects: Sequence[str]) -> None:
    """The generation's row, unless it is there. It belongs to whom its first subject belongs."""
    shown = select(SubjectRow.owner).where(SubjectRow.slug == (subjects[0] if subjects else ""))
    owner = session.scalar(shown)
    session.execute(
        insert(GenerationRow)
        .values(
            id=order.id,
            prompt=order.prompt,
            base=order.base.id,
            generator=wanted["generator"],
            loras=[{"name": use.name, "digest": use.digest, "scale": use.scale} for use in order.loras],
            width=order.width,
            height=order.height,
            steps=order.steps,
            guidance=order.guidance,
            seed=order.seed,
            count=order.count,
            state=JobState.WAITING,
            **({"owner": owner} if owner else {}),
        )
        .on_conflict_do_nothing()
    )
    for subject in subjects:
        session.execute(
            insert(GenerationSubjectRow).values(generation=order.id, subject=subject).on_conflict_do_nothing()
        )
    for name in {use.name for use in order.loras if use.name}:
        session.execute(insert(GenerationLoraRow).values(generation=order.id, lora=name).on_conflict_do_nothing())
