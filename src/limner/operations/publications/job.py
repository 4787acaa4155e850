"""Publishing: a lora with its card and samples, to a hub, at an exact revision."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from sqlalchemy import select, update
from sqlalchemy.dialects.sqlite import insert

from limner._version import __version__
from limner.catalog import find_base
from limner.errors import Conflict
from limner.hubs.card import CardFacts, CardSample, model_card
from limner.hubs.hub import WEIGHTS_NAME, Hub, LoraPackage, Published, TagTaken
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.operations.jobs.context import StageContext
from limner.operations.jobs.request import StageRequest
from limner.operations.loras import queries as lora_queries
from limner.operations.payments import preflight
from limner.operations.publications import repo_owners
from limner.operations.subjects import queries as subject_queries
from limner.records import Job
from limner.store.models import ConsentRow, DatasetRow, PublicationRow, SampleRow, SubjectRow, TrainingRow
from limner.types import Consent, Progress, SubjectKind, Visibility

__all__ = [
    "PublishRequest",
    "card_of",
    "make_request",
    "publish_now",
    "refuse_without_consent",
    "refuse_without_consents",
    "stage",
    "submit",
]

MOST_SAMPLES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest(StageRequest):
    """One publication. ``lora`` is "" where an earlier stage of the job makes it; the hub completes the ``repo``."""

    stage: ClassVar[str] = "publish"

    lora: str = ""
    hub: str
    repo: str
    visibility: Visibility


_busy: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
"""One publication at a time in a repo, all by one worker: until its row is there nobody can tell whose the repo is."""


def make_request(
    workspace: Workspace, *, subject: str, lora: str = "", hub: str = "", repo: str = "", visibility: str = "private"
) -> PublishRequest:
    """The stage's request. Without a repo name one is made from the subject's slug; the hub completes it.

    Conflict: the repo is another user's, or it shall be public and of a person in it no consent is on record.
    """
    hub = hub or workspace.settings.hub
    repo = repo or repo_owners.usual_name(subject)
    keeper = workspace.back_ends.hub(hub)
    preflight.refuse_unready(keeper.describe())
    # The hub may be far away: it is asked for the whole name only where that can matter.
    full = keeper.full_name(repo) if repo_owners.is_known(workspace, hub, repo) else repo
    _refuse_repo(workspace, subject, hub, full, Visibility(visibility))
    return PublishRequest(lora=lora, hub=hub, repo=repo, visibility=Visibility(visibility))


def refuse_without_consent(workspace: Workspace, subject: str) -> None:
    """Conflict: the subject is a person, and no consent to a publication is on record."""
    with workspace.database.read() as session:
        record = subject_queries.to_subject(session, subject_queries.find_subject_row(session, subject))
    if record.kind is SubjectKind.PERSON and record.consent is None:
        raise Conflict(
            f"A lora of a person is biometric data, and no consent of '{subject}' to its publication is on record.",
            remedy=f"Record it: limner subjects consent {subject} --by NAME --statement TEXT; or publish privately.",
            thing=subject,
        )


def refuse_without_consents(workspace: Workspace, hub: str, repo: str) -> None:
    """Conflict: of a person whose lora a repo holds no consent is on record: a repo is opened whole."""
    for subject in sorted({one.subject for one in repo_owners.held(workspace, hub, repo)}):
        refuse_without_consent(workspace.everyone, subject)


def _refuse_repo(workspace: Workspace, subject: str, hub: str, repo: str, visibility: Visibility) -> None:
    """Conflict: a lora of the subject cannot be published there, or not so."""
    repo_owners.refuse_anothers(workspace, subject, hub, repo)
    if visibility is Visibility.PUBLIC:
        refuse_without_consent(workspace, subject)
        refuse_without_consents(workspace, hub, repo)


def publish_now(workspace: Workspace, lora: str, *, hub: str, visibility: Visibility) -> Mapping[str, str]:
    """Publish within another job's stage. A hub makes no second revision of the same content."""
    with workspace.database.read() as session:
        row = lora_queries.find_lora_row(session, lora)
        name, subject = f"{row.subject}@v{row.version}", row.subject
    return _publish(
        workspace, make_request(workspace, subject=subject, lora=name, hub=hub, visibility=visibility), name
    )


def submit(
    workspace: Workspace, lora: str, *, hub: str = "", repo: str = "", visibility: Visibility = Visibility.PRIVATE
) -> Job:
    """Enqueue the publication of a lora."""
    with workspace.database.read() as session:
        row = lora_queries.find_lora_row(session, lora)
        name, subject = f"{row.subject}@v{row.version}", row.subject
    request = make_request(workspace, subject=subject, lora=name, hub=hub, repo=repo, visibility=visibility)
    return lifecycle.enqueue(workspace, "publish", [request], subject=subject, target=name)


async def stage(context: StageContext, request: PublishRequest) -> Mapping[str, object]:
    """Publish. A hub makes no second revision of the same content, so a re-run changes nothing."""
    context.report(Progress("publish", message=f"Publishing to {request.hub}"))
    return await asyncio.to_thread(_publish, context.workspace, request, request.lora or context.earlier["lora"])


def _publish(workspace: Workspace, request: PublishRequest, name: str) -> Mapping[str, str]:
    hub = workspace.back_ends.hub(request.hub)
    request = replace(request, repo=hub.full_name(request.repo))
    card, samples = card_of(workspace, name, request.repo)
    with workspace.database.read() as session:
        lora = lora_queries.find_lora_row(session, name)
    with _busy[request.hub, request.repo]:
        # Once more: the request may have waited for days, while others published and consents were withdrawn.
        _refuse_repo(workspace, lora.subject, request.hub, request.repo, request.visibility)
        published = _first_free(
            hub,
            request,
            lora.version,
            lambda tag: LoraPackage(
                weights=workspace.blobs.path(lora.digest),
                weights_digest=lora.digest,
                card=model_card(replace(card, tag=tag)),
                samples={one.name: workspace.blobs.path(samples[one.name]) for one in card.shown},
            ),
            message=f"{card.title} v{lora.version}",
        )
        _keep(workspace, lora.id, request.hub, published)
    return {"repo": published.repo, "revision": published.revision, "url": published.url, "hub": request.hub}


def _keep(workspace: Workspace, lora: int, hub: str, published: Published) -> None:
    seen = {"visibility": published.visibility, "url": published.url}
    with workspace.database.write() as session:
        session.execute(
            insert(PublicationRow)
            .values(lora=lora, hub=hub, repo=published.repo, revision=published.revision, **seen)
            .on_conflict_do_update(index_elements=["lora", "hub", "repo", "revision"], set_=seen)
        )
        # the whole repo is open or closed, with all versions in it
        session.execute(
            update(PublicationRow)
            .where(PublicationRow.hub == hub, PublicationRow.repo == published.repo)
            .values(visibility=published.visibility)
        )


def card_of(workspace: Workspace, name: str, repo: str) -> tuple[CardFacts, dict[str, str]]:
    """What the card of a lora says in a repo, and the digests of the samples that it may show, by their names."""
    with workspace.database.read() as session:
        lora = lora_queries.find_lora_row(session, name)
        subject = session.get_one(SubjectRow, lora.subject)
        consent = session.scalars(
            select(ConsentRow).where(ConsentRow.subject == subject.slug, ConsentRow.withdrawn_at.is_(None))
        ).first()
        training = session.get(TrainingRow, lora.training or lora.picked_from or "")
        drawn = select(SampleRow).where(SampleRow.training == (training.id if training else ""))
        if lora.step is not None:
            drawn = drawn.where(SampleRow.step <= lora.step)
        samples = session.scalars(drawn.order_by(SampleRow.step.desc(), SampleRow.position).limit(MOST_SAMPLES)).all()
        photos = (
            session.scalar(select(DatasetRow.photos).where(DatasetRow.digest == training.dataset)) if training else 0
        )
        facts = subject_queries.subject_facts(subject)
    shown = {f"{sample.step:06d}-{sample.position}.png": sample for sample in samples}
    settings = dict(training.recipe) if training else {}
    if lora.step is not None:
        settings["steps"] = f"{lora.step} of {settings.get('steps', lora.step)}"
    card = CardFacts(
        repo=repo,
        title=facts.name,
        kind=facts.kind,
        trigger=facts.trigger,
        class_word=facts.class_word,
        base=find_base(lora.base),
        weights_name=WEIGHTS_NAME,
        weights_digest=lora.digest,
        tag="",
        rank=lora.rank,
        alpha=lora.alpha,
        modules=lora.modules,
        dataset_digest=training.dataset if training else "",
        photos=photos or 0,
        settings=settings,
        samples=tuple(CardSample(name, sample.prompt) for name, sample in shown.items()),
        consent=Consent(consent.statement, consent.given_by, consent.given_at) if consent else None,
        limner_version=__version__,
        words=lora.card,
    )
    return card, {name: sample.digest for name, sample in shown.items()}


def _first_free(
    hub: Hub, request: PublishRequest, version: int, package: Callable[[str], LoraPackage], message: str
) -> Published:
    """Publish as v2, or, where the card has changed since, as v2.2, v2.3 ...: tags never move."""
    number = 1
    while True:
        tag = f"v{version}" if number == 1 else f"v{version}.{number}"
        try:
            return hub.publish(request.repo, package(tag), visibility=request.visibility, tag=tag, message=message)
        except TagTaken:
            number += 1
