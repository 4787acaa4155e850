"""Reach: where generators can fetch the loras of a request, what is done about one that they cannot, and for how long.

Hubs are asked once a request and while no database session is open, for a few seconds at most where somebody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from limner.errors import Conflict, InputRefused, LimnerError, VendorFailed
from limner.hubs.granting import Granting
from limner.hubs.hub import Hub
from limner.operations.home.workspace import Workspace
from limner.operations.publications import job as publication_job
from limner.operations.trainings import actions as training_actions
from limner.types import BackEnd, Finding, LoraUse, Reach, Severity, Visibility

__all__ = [
    "ADDRESS_CODES",
    "Located",
    "Place",
    "can_read",
    "grants",
    "locate",
    "reach_findings",
    "reaches",
    "refuse_unknown",
    "within_reach",
]

ADDRESS_CODES = ("lora-out-of-reach", "lora-unreachable")
"""What generators call a lora that has no address they can use."""
PATIENCE = 4.0
"""Seconds that hubs have to answer somebody who waits for a page."""


@dataclass(frozen=True, slots=True)
class Place:
    """A publication of a lora; of a public one its address, or why that is not known."""

    hub: str
    repo: str
    revision: str
    public: bool
    about: BackEnd = field(default_factory=lambda: BackEnd("", "", ""))
    grants: bool = False
    url: str = ""
    failure: LimnerError | None = None

    @property
    def key(self) -> Hashable:
        return "address", self.hub, self.repo, self.revision


@dataclass(frozen=True, slots=True)
class Located:
    """A lora of a request, and where it is published, newest first."""

    use: LoraUse
    places: tuple[Place, ...] = ()

    def use_for(self, about: BackEnd) -> LoraUse:
        """The lora with the address at which a generator can fetch it; "" where it has none."""
        url = next((place.url for place in self._readable(about) if place.url), self.use.url)
        return replace(self.use, url=url)

    def failure_for(self, about: BackEnd) -> LimnerError | None:
        """Why it is not known where a generator could fetch a lora that it cannot get at otherwise."""
        if reaches(about, self.use_for(about)):
            return None
        return next((place.failure for place in self._readable(about) if place.failure), None)

    def granting_for(self, about: BackEnd) -> Place | None:
        """A publication on a hub that can open the lora to a generator for the time of one generation."""
        able = self.use.path is not None and Reach.URL in about.reach
        return next((place for place in self.places if place.grants and able), None)

    def _readable(self, about: BackEnd) -> Iterator[Place]:
        return (place for place in self.places if place.public and can_read(about, place.about))


def can_read(about: BackEnd, hub: BackEnd) -> bool:
    """Whether a generator can fetch what is public on a hub."""
    if Reach.URL in about.reach:
        return Reach.URL in hub.reach
    return Reach.HUGGING_FACE in about.reach and Reach.HUGGING_FACE in hub.reach


def grants(hub: Hub) -> bool:
    """Whether the hub can open a private lora for the time of one generation."""
    return isinstance(hub, Granting)


def reaches(about: BackEnd, use: LoraUse) -> bool:
    """Whether the generator can get at the lora as it is known now."""
    if Reach.FILE in about.reach and use.path is not None:
        return True
    return bool(use.url) or (Reach.HOSTED in about.reach and about.vendor in use.hosted)


def locate(
    workspace: Workspace,
    loras: Sequence[Located],
    generators: Iterable[BackEnd],
    *,
    seconds: float | None = None,
    again: bool = True,
) -> tuple[Located, ...]:
    """The loras with what their hubs say of every publication that one of the generators could fetch."""
    readers = [about for about in generators if about.vendor or Reach.FILE not in about.reach]
    known = [replace(one, places=tuple(_known(workspace, one.places))) for one in loras]
    hubs, limit = workspace.back_ends, PATIENCE if seconds is None else seconds
    questions = {
        place.key: partial(hubs.hub(place.hub).address, place.repo, revision=place.revision)
        for one in known
        for place in one.places
        if place.public and any(can_read(about, place.about) for about in readers)
    }
    answers = hubs.remembered.ask(questions, seconds=limit, **({"bad": 0.0} if again else {}))

    def told(place: Place) -> Place:
        if place.key not in questions:
            return place
        answer = answers.get(place.key)
        if answer is None:
            answer = VendorFailed(
                f"{place.about.title} has not said within {limit:g} seconds where {place.repo} can be fetched.",
                remedy="Try again.",
                thing=place.hub,
            )
        return replace(place, failure=answer) if isinstance(answer, LimnerError) else replace(place, url=answer)

    return tuple(replace(one, places=tuple(map(told, one.places))) for one in known)


def _known(workspace: Workspace, places: Sequence[Place]) -> Iterator[Place]:
    """The publications on hubs that are installed here."""
    for place in places:
        try:
            hub = workspace.back_ends.hub(place.hub)
        except LimnerError:
            continue
        yield replace(place, about=hub.describe(), grants=grants(hub))


# --- what is said of it ---------------------------------------------------------------------------------------------


def reach_findings(
    workspace: Workspace,
    loras: Sequence[Located],
    about: BackEnd,
    findings: Sequence[Finding],
    *,
    publish_if_needed: bool = False,
) -> list[Finding]:
    """A generator's findings on an order, where some loras get an address only when they are drawn.

    What it says of their addresses gives way to what will be done about them, or to the command that mends it.
    """
    far = [one for one in loras if not reaches(about, one.use_for(about))]
    if not far:
        return list(findings)
    own = [found for one in far for found in _reach(workspace, one, about, publish_if_needed)]
    return [*own, *(found for found in findings if found.code not in ADDRESS_CODES)]


def refuse_unknown(loras: Sequence[Located], about: BackEnd) -> None:
    """Raise why it is not known where a generator could fetch one of the loras."""
    for one in loras:
        if failure := one.failure_for(about):
            raise failure


def _reach(workspace: Workspace, one: Located, about: BackEnd, publish_if_needed: bool) -> Iterator[Finding]:
    """What will be done about a lora that the generator cannot get at, or a refusal with the command that mends it."""
    code, use = "lora-out-of-reach", one.use
    if use.path is None:
        message = f"{about.title} fetches loras from an address that anyone can read, and {use.name} has none."
        mend = f"limner loras import {use.name} --subject SLUG, and publish that; or --generator local."
        yield Finding(code, Severity.REFUSAL, message, mend)
        return
    if training_actions.is_checkpoint(use.name):
        message = f"{about.title} fetches loras from an address that anyone can read; {use.name} is a checkpoint here."
        mend = f"limner loras pick {use.name.replace('#', ' ')}, and publish that; or --generator local."
        yield Finding(code, Severity.REFUSAL, message, mend)
        return
    if failure := one.failure_for(about):
        message = f"Where {about.title} could fetch {use.name} is not known now: {failure.message}"
        yield Finding("lora-reach-unknown", Severity.REFUSAL, message, "Try again, or --generator local.")
        return
    if place := one.granting_for(about):
        message = f"{use.name} is private: it is opened on the hub '{place.hub}' for as long as this takes."
        yield Finding("lora-opened", Severity.WARNING, message, "Its address is known when it is drawn.")
        return
    if publish_if_needed:
        hub = _hub_for(workspace, about)
        try:
            publication_job.refuse_without_consent(workspace, use.name.partition("@")[0])
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


# --- what is done about it ------------------------------------------------------------------------------------------


@asynccontextmanager
async def within_reach(
    workspace: Workspace, loras: Sequence[Located], about: BackEnd, order: str, *, publish_if_needed: bool
) -> AsyncIterator[tuple[tuple[LoraUse, ...], tuple[LoraUse, ...]]]:
    """Every lora where the generator can get it, and the loras as pictures may tell of them.

    A lora that is nowhere public is opened on a hub that can do so for a while, or published where the user said so.
    What was opened for the ``order`` is closed again, and its address, which nobody else shall know, stays out of the
    pictures.
    """
    granted: list[tuple[Granting, str]] = []
    uses: list[LoraUse] = []
    told: list[LoraUse] = []
    try:
        for one in loras:
            use = one.use_for(about)
            url = shown = use.url
            if not reaches(about, use):
                place = one.granting_for(about)
                hub = workspace.back_ends.hub(place.hub) if place else None
                if place is not None and isinstance(hub, Granting):
                    key = f"{order} {use.digest}"
                    granted.append((hub, key))
                    url = await asyncio.to_thread(hub.grant, place.repo, place.revision, key)
                elif publish_if_needed and use.path is not None:
                    url = shown = await asyncio.to_thread(_publish, workspace, use, about)
            uses.append(replace(use, url=url))
            told.append(replace(use, url=shown))
        yield tuple(uses), tuple(told)
    finally:
        for opener, key in granted:
            await asyncio.to_thread(opener.revoke, key)


def _hub_for(workspace: Workspace, about: BackEnd) -> str:
    """The hub to publish on so that the generator can fetch it: the user's own if that will do."""
    hub = workspace.settings.hub
    return hub if can_read(about, workspace.back_ends.hub(hub).describe()) else "huggingface"


def _publish(workspace: Workspace, use: LoraUse, about: BackEnd) -> str:
    """Publish a lora for everyone, because the user said so; its address."""
    hub = _hub_for(workspace, about)
    made = publication_job.publish_now(workspace, use.name, hub=hub, visibility=Visibility.PUBLIC)
    url = workspace.back_ends.hub(hub).address(made["repo"], revision=made["revision"])
    if not url:
        raise InputRefused(
            f"{use.name} was published on '{hub}' and still has no address that anyone can read.",
            remedy="Publish it on another hub.",
            thing=use.name,
        )
    return url
