"""Generating: what pictures of a prompt and loras will cost, and submitting them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from limner import plugins
from limner.catalog import find_base
from limner.errors import BaseUnclear, InputRefused, LimnerError, VendorFailed
from limner.findings import refuse
from limner.generation.generator import GenerationOrder, Generator
from limner.generation.prompts import lora_tags, without_tags
from limner.money.sums import dearest
from limner.operations.generations import orders, reach
from limner.operations.generations.orders import Drawing
from limner.operations.generations.request import GenerateRequest
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.operations.jobs import queries as job_queries
from limner.operations.loras import queries as lora_queries
from limner.operations.loras import remote
from limner.operations.payments import ledger, preflight
from limner.operations.trainings import actions as training_actions
from limner.records import Job, WhatIf
from limner.store.models import JobRow
from limner.types import BackEnd, Estimate, LoraUse, Plan

if TYPE_CHECKING:
    from limner.operations.home.dbos_engine import Submitter

__all__ = [
    "Prepared",
    "describe",
    "enqueue",
    "estimate",
    "generators_of",
    "make_request",
    "parse_lora",
    "plans",
    "prepare",
    "submit",
    "submit_request",
]

SEEDS = 2**31
DESCRIBE_SECONDS = 25.0
"""How long the start of a lora's file that is not here may take, with the hub's word of it."""
LONGEST_LORA = 2_000
"""Characters that name a lora: the longest address that the web takes everywhere."""
_LORA = re.compile(r"(?P<name>[a-z]{1,20}://.+?|[^:]+?)(?::(?P<scale>[-+]?(?:\d{1,9}(?:\.\d{1,30})?|\.\d{1,30})))?")


def parse_lora(words: str) -> tuple[str, float]:
    """``zibbo@v2:0.8`` into its name and scale; the scale is 1 where none is given. A name may be a Hub repo or URL."""
    match = _LORA.fullmatch(words.strip()) if len(words) <= LONGEST_LORA else None
    if match is None:
        raise InputRefused(
            f"'{words[:100]}' does not name a lora.",
            remedy="Write slug, slug@v2, slug@v2:0.8, owner/repo of the Hugging Face Hub, or an https address.",
            thing=words[:100],
        )
    return match["name"], float(match["scale"] or 1.0)


def generators_of(words: str) -> list[str]:
    """``together,fal,local`` as names, in the order in which they are tried. InputRefused: one is not installed."""
    names = [name.strip() for name in words.split(",") if name.strip()]
    known = plugins.names("limner.generators")
    for name in names:
        if name not in known:
            raise InputRefused(f"There is no generator '{name}'.", remedy=f"Installed: {', '.join(known)}.", thing=name)
    if not names or len(set(names)) < len(names):
        raise InputRefused(f"'{words}' is no order of generators.", remedy="Write names once each, with commas.")
    return names


def make_request(
    workspace: Workspace,
    *,
    prompt: str,
    loras: Sequence[tuple[str, float]] = (),
    base: str = "",
    generator: str = "",
    model: str = "",
    width: int | None = None,
    height: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int | None = None,
    count: int = 1,
    extra: Mapping[str, Any] | None = None,
    publish_if_needed: bool = False,
    again: bool = True,
) -> GenerateRequest:
    """The stage's request, with the base's own values where none are given. A lora named ``""`` is the job's own.

    A tag in the prompt, ``<lora:NAME:0.8>``, that names a lora of this home is taken out and adds that lora.
    """
    if not 1 <= count <= 1000:
        raise InputRefused(f"{count} pictures cannot be asked for at once.", remedy="Ask for 1 to 1000.", thing="count")
    words = generator or workspace.settings.generator
    generators_of(words)
    remote = {name: describe(workspace, name, again=again) for name, _ in loras if "/" in name}
    pinned: list[tuple[str, float]] = []
    bases = {use.base for use in remote.values() if use.base}
    unclear = {name: use.candidates for name, use in remote.items() if not use.base and use.candidates}
    with workspace.database.read() as session:
        prompt, tagged = _tagged(session, prompt, [name for name, _ in loras])
        for name, scale in (*loras, *tagged):
            if not name or name in remote:
                pinned.append((name, scale))
                continue
            if training_actions.is_checkpoint(name):
                training, checkpoint = training_actions.find_checkpoint(session, name)
                bases.add(training.base)
                pinned.append((training_actions.name_of(training.id, checkpoint.step), scale))
                continue
            row = lora_queries.find_lora_row(session, name)
            bases.add(row.base)
            pinned.append((f"{row.subject}@v{row.version}", scale))
    if len(bases) > 1 and not base:
        raise InputRefused(
            f"These loras belong to different bases: {', '.join(sorted(bases))}.",
            remedy="Use loras of one base in a picture, or name the base if they fit it.",
            thing="loras",
        )
    chosen_base = find_base(base or next(iter(bases), "") or workspace.settings.base)
    for name, candidates in unclear.items():
        if chosen_base.id not in candidates:
            named = f", not {chosen_base.id}" if base else ", and nothing in it says which it was made for"
            raise BaseUnclear(
                f"{name} fits {' or '.join(candidates)}{named}.",
                remedy=f"Say which base: {' or '.join(candidates)} (--base).",
                thing="base",
                candidates=candidates,
            )
        remote[name] = replace(remote[name], base=chosen_base.id)
    return GenerateRequest(
        generation=lifecycle.new_id("generation"),
        prompt=prompt,
        loras=tuple(pinned),
        base=chosen_base.id,
        generator=words,
        width=chosen_base.size if width is None else width,
        height=chosen_base.size if height is None else height,
        steps=chosen_base.steps if steps is None else steps,
        guidance=chosen_base.guidance if guidance is None else guidance,
        seed=secrets.randbelow(SEEDS) if seed is None else seed,
        count=count,
        model=model,
        extra=dict(extra or {}),
        publish_if_needed=publish_if_needed,
        remote=remote,
    )


def _tagged(session: Session, prompt: str, named: Sequence[str]) -> tuple[str, list[tuple[str, float]]]:
    """The prompt without the tags of loras that are here, and those loras, but for what is named already."""
    if "<" not in prompt:
        return prompt, []
    given = {lora_queries.known_lora(session, name) for name in named if "/" not in name}
    found: dict[str, float] = {}
    gone = []
    for tag in lora_tags(prompt):
        plain = tag.name.lower().replace("_", "-").replace(" ", "-")
        if name := next(filter(None, (lora_queries.known_lora(session, each) for each in (tag.name, plain))), ""):
            gone.append(tag.text)
            if name not in given:
                found[name] = found.get(name, 0.0) + tag.scale
    return without_tags(prompt, gone), list(found.items())


def describe(workspace: Workspace, name: str, *, again: bool = True) -> LoraUse:
    """What is known of a lora that is not ours, from the start of its file; ``again``: and not from a moment ago."""
    from limner.operations.members import actions as members

    anonymous = not members.manages(workspace)
    believed = {"good": 0.0, "bad": 0.0} if again else {}
    key = ("remote", name, anonymous, workspace.from_here)
    question = partial(
        remote.describe_remote, name, workspace.settings, from_here=workspace.from_here, anonymous=anonymous
    )
    answers = workspace.back_ends.remembered.ask({key: question}, seconds=DESCRIBE_SECONDS, **believed)
    late = VendorFailed(f"{name} could not be read in {DESCRIBE_SECONDS:g} seconds.", remedy="Try again.", thing=name)
    described: LoraUse | LimnerError = answers.get(key, late)
    if isinstance(described, LimnerError):
        raise described
    return described


def submit(workspace: Workspace, *, yes: bool = False, what_if: bool = False, **options: Any) -> Job | WhatIf:
    """Enqueue a generation, after its order has been checked.

    ConsentNeeded: it costs more than goes without asking, and ``yes`` was not said. With ``what_if`` nothing is
    enqueued and nothing sent that costs: it gives what would be.
    """
    request = make_request(workspace, **options)
    if what_if:
        return preflight.what_if(plans(workspace, request))
    return submit_request(workspace, request, yes=yes)


def plans(
    workspace: Workspace, request: GenerateRequest, *, done: frozenset[int] = frozenset()
) -> list[Coroutine[Any, Any, Plan]]:
    """What each generator of a request would do, to be asked for by ``asking.what_if``; ``done`` are drawn already."""
    named = _named(workspace, request)
    drawing = orders.find_drawing(workspace, request, [about for _, about in named])
    among = len(named) > 1
    return [_plan(workspace, request, drawing, generator, about, among=among, done=done) for generator, about in named]


async def _plan(
    workspace: Workspace,
    request: GenerateRequest,
    drawing: Drawing,
    generator: Generator,
    about: BackEnd,
    *,
    among: bool,
    done: frozenset[int],
) -> Plan:
    plan = await generator.plan(replace(drawing.order(about, among=among), done=done))
    publish = request.publish_if_needed
    findings = reach.reach_findings(workspace, drawing.loras, about, plan.findings, publish_if_needed=publish)
    return replace(plan, findings=tuple(findings))


def _named(workspace: Workspace, request: GenerateRequest) -> list[tuple[Generator, BackEnd]]:
    """The generators of a request, and what they say of themselves."""
    found = [workspace.back_ends.generator(name) for name in generators_of(request.generator)]
    return [(generator, generator.describe()) for generator in found]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that was checked: its order, the subjects that its pictures show, and the dearest that it may cost.

    ``waits``: it will mostly wait for a vendor.
    """

    request: GenerateRequest
    order: GenerationOrder
    subjects: tuple[str, ...]
    estimate: Estimate
    waits: bool


def prepare(workspace: Workspace, request: GenerateRequest, *, again: bool = True) -> Prepared:
    """Check a request that is complete. The first generator's refusal is raised where none of them can draw it.

    ``again``: a hub that did not answer a moment ago is asked again.
    """
    named = _named(workspace, request)
    drawing = orders.find_drawing(workspace, request, [about for _, about in named], again=again)
    publish = request.publish_if_needed
    usable: list[GenerationOrder] = []
    estimates: list[Estimate] = []
    refusals: list[LimnerError] = []
    waits = True
    for generator, about in named:
        order = drawing.order(about, among=len(named) > 1)
        try:
            preflight.refuse_unready(about)
            found = generator.check(order)
            reach.refuse_unknown(drawing.loras, about)
            refuse(
                reach.reach_findings(workspace, drawing.loras, about, found, publish_if_needed=publish), InputRefused
            )
        except LimnerError as refusal:
            refusals.append(refusal)
            continue
        usable.append(order)
        estimates.append(generator.estimate(order))
        waits = waits and bool(about.vendor)
    if not usable:
        raise refusals[0]
    return Prepared(request, usable[0], drawing.subjects, dearest(estimates), waits)


def enqueue(workspace: Workspace, session: Session, submitter: Submitter, ready: Prepared) -> JobRow:
    """Add a checked request's generation and job to the caller's transaction."""
    subject = ready.subjects[0] if ready.subjects else None
    orders.add_row(session, ready.request, ready.order, ready.subjects)
    job = lifecycle.add_job(
        session,
        kind="generate",
        stages=[ready.request],
        subject=subject,
        target=ready.request.generation,
        owner=workspace.owner,
    )
    submitter.submit(session, job.id, 1, waits=ready.waits)
    return job


def submit_request(workspace: Workspace, request: GenerateRequest, *, yes: bool = False) -> Job:
    """Enqueue a request that is complete."""
    ready = prepare(workspace, request)
    ledger.allow(workspace, ready.estimate, subject=next(iter(ready.subjects), ""), yes=yes, what="generation")
    submitter = workspace.submitter
    with workspace.database.write() as session:
        return job_queries.to_job(enqueue(workspace, session, submitter, ready))


def estimate(workspace: Workspace, request: GenerateRequest) -> Estimate:
    """What pictures will cost with a lora that is not there yet: the dearest generator that could be asked."""
    asked: list[Estimate] = []
    refusals: list[LimnerError] = []
    bare = orders.bare_order(workspace, request)
    named = _named(workspace, request)
    for generator, about in named:
        order = replace(bare, model=orders.model_for(bare.model, about, among=len(named) > 1))
        try:
            preflight.refuse_unready(about)
            if about.bases and request.base not in about.bases:
                raise InputRefused(
                    f"The generator '{about.name}' draws nothing of the base '{request.base}'.",
                    remedy=f"It draws {', '.join(about.bases)}; see: limner routes --base {request.base}",
                    thing=about.name,
                )
            asked.append(generator.estimate(order))
        except LimnerError as refusal:
            refusals.append(refusal)
    if not asked:
        raise refusals[0]
    return dearest(asked)
