"""Generating: what pictures of a prompt and loras will cost, and submitting them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from limner import plugins
from limner.catalog import find_base
from limner.errors import BaseUnclear, InputRefused, LimnerError
from limner.findings import refuse
from limner.generation.generator import GenerationOrder, Generator
from limner.generation.prompts import lora_tags, without_tags
from limner.money.sums import dearest
from limner.operations.generations import orders as ordering
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle as jobs
from limner.operations.jobs import queries as job_queries
from limner.operations.loras import queries as lora_queries
from limner.operations.loras import remote
from limner.operations.payments import ledger as costs
from limner.operations.payments import preflight as asking
from limner.operations.trainings import actions as picking
from limner.records import Job, WhatIf
from limner.store.models import JobRow
from limner.types import Estimate, Plan

if TYPE_CHECKING:
    from limner.operations.home.dbos_engine import Submitter

__all__ = [
    "Prepared",
    "describe",
    "enqueue",
    "estimate",
    "generators_of",
    "parse_lora",
    "plans",
    "prepare",
    "request",
    "submit",
    "submit_wanted",
]

SEEDS = 2**31
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


def request(
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
) -> dict[str, Any]:
    """The stage's request, with the base's own values where none are given. A lora named ``""`` is the job's own.

    A tag in the prompt, ``<lora:NAME:0.8>``, that names a lora of this home is taken out and adds that lora.
    """
    if not 1 <= count <= 1000:
        raise InputRefused(f"{count} pictures cannot be asked for at once.", remedy="Ask for 1 to 1000.", thing="count")
    words = generator or workspace.settings.generator
    generators_of(words)
    remote = {name: describe(workspace, name) for name, _ in loras if "/" in name}
    pinned: list[list[Any]] = []
    bases = {facts["base"] for facts in remote.values() if facts["base"]}
    unclear = {name: facts for name, facts in remote.items() if not facts["base"] and facts["candidates"]}
    with workspace.database.read() as session:
        prompt, tagged = _tagged(session, prompt, [name for name, _ in loras])
        for name, scale in (*loras, *tagged):
            if not name or name in remote:
                pinned.append([name, scale])
                continue
            if picking.is_checkpoint(name):
                training, checkpoint = picking.find_checkpoint(session, name)
                bases.add(training.base)
                pinned.append([picking.name_of(training.id, checkpoint.step), scale])
                continue
            row = lora_queries.find_lora_row(session, name)
            bases.add(row.base)
            pinned.append([f"{row.subject}@v{row.version}", scale])
    if len(bases) > 1 and not base:
        raise InputRefused(
            f"These loras belong to different bases: {', '.join(sorted(bases))}.",
            remedy="Use loras of one base in a picture, or name the base if they fit it.",
            thing="loras",
        )
    chosen_base = find_base(base or next(iter(bases), "") or workspace.settings.base)
    for name, facts in unclear.items():
        if chosen_base.id not in facts["candidates"]:
            named = f", not {chosen_base.id}" if base else ", and nothing in it says which it was made for"
            raise BaseUnclear(
                f"{name} fits {' or '.join(facts['candidates'])}{named}.",
                remedy=f"Say which base: {' or '.join(facts['candidates'])} (--base).",
                thing="base",
                candidates=facts["candidates"],
            )
        remote[name] = facts | {"base": chosen_base.id}
    wanted = {
        "stage": "generate",
        "generation": jobs.new_id("generation"),
        "prompt": prompt,
        "loras": pinned,
        "base": chosen_base.id,
        "generator": words,
        "width": chosen_base.size if width is None else width,
        "height": chosen_base.size if height is None else height,
        "steps": chosen_base.steps if steps is None else steps,
        "guidance": chosen_base.guidance if guidance is None else guidance,
        "seed": secrets.randbelow(SEEDS) if seed is None else seed,
        "count": count,
    }
    chosen = {"model": model, "extra": dict(extra or {}), "publish_if_needed": publish_if_needed, "remote": remote}
    return wanted | {name: value for name, value in chosen.items() if value}


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


def describe(workspace: Workspace, name: str) -> dict[str, Any]:
    """What is known of a lora that is not ours, from the start of its file."""
    from limner.operations.members import actions as members

    anonymous = not members.manages(workspace)
    described = remote.describe_remote(name, workspace.settings, from_here=workspace.from_here, anonymous=anonymous)
    return asdict(described)


def submit(workspace: Workspace, *, yes: bool = False, what_if: bool = False, **options: Any) -> Job | WhatIf:
    """Enqueue a generation, after its order has been checked.

    ConsentNeeded: it costs more than goes without asking, and ``yes`` was not said. With ``what_if`` nothing is
    enqueued and nothing sent that costs: it gives what would be.
    """
    wanted = request(workspace, **options)
    if what_if:
        return asking.what_if(plans(workspace, wanted))
    return submit_wanted(workspace, wanted, yes=yes)


def plans(
    workspace: Workspace, wanted: dict[str, Any], *, done: frozenset[int] = frozenset()
) -> list[Coroutine[Any, Any, Plan]]:
    """What each generator of a request would do, to be asked for by ``asking.what_if``; ``done`` are drawn already."""
    orders = [
        (generator, replace(ordering.order_of(workspace, wanted, {}, name)[0], done=done))
        for name, generator in _named(workspace, wanted)
    ]
    return [_plan(workspace, wanted, generator, order) for generator, order in orders]


async def _plan(workspace: Workspace, wanted: dict[str, Any], generator: Generator, order: GenerationOrder) -> Plan:
    plan = await generator.plan(order)
    about = generator.describe()
    return replace(plan, findings=tuple(ordering.reach_findings(workspace, wanted, order, about, plan.findings)))


def _named(workspace: Workspace, wanted: dict[str, Any]) -> list[tuple[str, Generator]]:
    return [
        (name, plugins.back_end("limner.generators", name, settings=workspace.settings))
        for name in generators_of(wanted["generator"])
    ]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that was checked: its order, the subjects that its pictures show, and the dearest that it may cost.

    ``waits``: it will mostly wait for a vendor.
    """

    wanted: dict[str, Any]
    order: GenerationOrder
    subjects: tuple[str, ...]
    estimate: Estimate
    waits: bool


def prepare(workspace: Workspace, wanted: dict[str, Any]) -> Prepared:
    """Check a request that is complete. The first generator's refusal is raised where none of them can draw it."""
    usable: list[tuple[Generator, GenerationOrder]] = []
    refusals: list[LimnerError] = []
    subjects: list[str] = []
    for name, generator in _named(workspace, wanted):
        order, subjects = ordering.order_of(workspace, wanted, {}, name)
        try:
            asking.refuse_unready(generator.describe())
            about, found = generator.describe(), generator.check(order)
            refuse(ordering.reach_findings(workspace, wanted, order, about, found), InputRefused)
            usable.append((generator, order))
        except LimnerError as refusal:
            refusals.append(refusal)
    if not usable:
        raise refusals[0]
    return Prepared(
        wanted,
        usable[0][1],
        tuple(subjects),
        dearest(generator.estimate(order) for generator, order in usable),
        waits=all(generator.describe().vendor for generator, _ in usable),
    )


def enqueue(workspace: Workspace, session: Session, submitter: Submitter, ready: Prepared) -> JobRow:
    """Add a checked request's generation and job to the caller's transaction."""
    subject = ready.subjects[0] if ready.subjects else None
    ordering.add_row(session, ready.wanted, ready.order, ready.subjects)
    job = jobs.add_job(
        session,
        kind="generate",
        stages=[ready.wanted],
        subject=subject,
        target=ready.wanted["generation"],
        owner=workspace.owner,
    )
    submitter.submit(session, job.id, 1, waits=ready.waits)
    return job


def submit_wanted(workspace: Workspace, wanted: dict[str, Any], *, yes: bool = False) -> Job:
    """Enqueue a request that is complete."""
    ready = prepare(workspace, wanted)
    costs.allow(workspace, ready.estimate, subject=next(iter(ready.subjects), ""), yes=yes, what="generation")
    submitter = workspace.submitter
    with workspace.database.write() as session:
        return job_queries.to_job(enqueue(workspace, session, submitter, ready))


def estimate(workspace: Workspace, wanted: dict[str, Any]) -> Estimate:
    """What pictures will cost with a lora that is not there yet: the dearest generator that could be asked."""
    asked: list[Estimate] = []
    refusals: list[LimnerError] = []
    for name, generator in _named(workspace, wanted):
        about = generator.describe()
        try:
            asking.refuse_unready(about)
            if about.bases and wanted["base"] not in about.bases:
                raise InputRefused(
                    f"The generator '{name}' draws nothing of the base '{wanted['base']}'.",
                    remedy=f"It draws {', '.join(about.bases)}; see: limner routes --base {wanted['base']}",
                    thing=name,
                )
            asked.append(generator.estimate(ordering.bare_order(workspace, wanted, name)))
        except LimnerError as refusal:
            refusals.append(refusal)
    if not asked:
        raise refusals[0]
    return dearest(asked)
