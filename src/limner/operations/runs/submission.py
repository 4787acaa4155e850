"""The whole pipeline as one job: photos in, pictures out."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from limner import plugins
from limner.errors import InputRefused
from limner.money.sums import total
from limner.operations.generations import orders as ordering
from limner.operations.generations import submission as generating
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle as jobs
from limner.operations.jobs import queries as job_queries
from limner.operations.payments import ledger as costs
from limner.operations.payments import preflight as asking
from limner.operations.photos import job as intake
from limner.operations.publications import job as publishing
from limner.operations.subjects import queries as reading
from limner.operations.trainings import submission as trainings
from limner.records import Job, WhatIf
from limner.types import BackEnd, Plan, Reach, Visibility

__all__ = ["plans", "submit"]


def submit(
    workspace: Workspace,
    slug: str,
    paths: Sequence[str | Path],
    prompts: Sequence[str],
    *,
    captions: Sequence[str | Path] = (),
    train: Mapping[str, Any] | None = None,
    freeze: Mapping[str, Any] | None = None,
    publish: Mapping[str, Any] | None = None,
    generate: Mapping[str, Any] | None = None,
    with_base: bool = False,
    yes: bool = False,
    what_if: bool = False,
) -> Job | WhatIf:
    """Enqueue intake, freezing, training, publishing and one generation a prompt, for a subject that exists.

    ``with_base`` also draws every prompt without the lora, for comparison. Options are checked before anything runs:
    that the base can be trained, that the lora can get to the generator, and what all of it costs.
    """
    with workspace.database.read() as session:
        kind = reading.find_subject_row(session, slug).kind
    training = trainings.request(workspace, subject=slug, kind=kind, **dict(train or {}))
    publication = publishing.request(workspace, subject=slug, **dict(publish or {}))
    drawing = {"base": training["base"], **dict(generate or {})}
    scale = float(drawing.pop("scale", 1.0))
    loras = [("", scale), *(generating.parse_lora(words) for words in drawing.pop("loras", ()))]
    pictures: list[dict[str, Any]] = []
    for prompt in prompts:
        if with_base:
            pictures.append(generating.request(workspace, prompt=prompt, **drawing) | {"subject": slug})
        pictures.append(generating.request(workspace, prompt=prompt, loras=loras, **drawing) | {"subject": slug})
    for wanted in pictures:
        _refuse_unreachable(workspace, slug, training, publication, wanted)
    if what_if:
        return asking.what_if(*plans(workspace, [training, *pictures]))
    cost = total([trainings.estimate(workspace, training), *(generating.estimate(workspace, one) for one in pictures)])
    costs.allow(workspace, cost, subject=slug, yes=yes, what="whole run")
    options = {"base": training["base"], "resolution": training["recipe"]["resolution"], **dict(freeze or {})}
    stages = [
        intake.request(slug, paths, captions),
        {"stage": "freeze", "subject": slug, "options": options},
        training,
        publication,
        *pictures,
    ]
    submitter = workspace.submitter
    with workspace.database.write() as session:
        row = jobs.add_job(
            session, kind="run", stages=stages, subject=slug, target=training["training"], owner=workspace.owner
        )
        submitter.submit(session, row.id, len(stages), waits=trainings.waits(workspace, training))
        return job_queries.to_job(row)


def _refuse_unreachable(
    workspace: Workspace, slug: str, training: dict[str, Any], publication: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """Say before anything is paid that a generator could not get at what the hub keeps."""
    if not any(name == "" for name, _ in wanted["loras"]):
        return
    hub = plugins.back_end("limner.hubs", publication["hub"], settings=workspace.settings)
    trainer = plugins.back_end("limner.trainers", training["trainer"], settings=workspace.settings).describe()
    public = publication["visibility"] == Visibility.PUBLIC
    out_of_reach: list[BackEnd] = []
    for name in generating.generators_of(wanted["generator"]):
        about = plugins.back_end("limner.generators", name, settings=workspace.settings).describe()
        at_home = Reach.HOSTED in about.reach and bool(about.vendor) and about.vendor == trainer.vendor
        opened = ordering.grants(hub) and Reach.URL in about.reach
        if Reach.FILE in about.reach or at_home or opened or (public and ordering.can_read(about, hub.describe())):
            return
        out_of_reach.append(about)
    if wanted.get("publish_if_needed"):
        publishing.refuse_without_consent(workspace, slug)
        return
    raise InputRefused(
        f"{out_of_reach[0].title} fetches loras from an address that anyone can read; on the hub "
        f"'{publication['hub']}' this one would be {publication['visibility']}.",
        remedy="Publish with --hub huggingface --public, or --hub s3 to keep it private; or --generator local.",
        thing=out_of_reach[0].name,
    )


async def _training_plan(workspace: Workspace, wanted: dict[str, Any]) -> Plan:
    trainer, order = trainings.order_without_photos(workspace, wanted)
    plan: Plan = await trainer.plan(order)
    # The photos come later: that there are none yet is no reason.
    return replace(plan, findings=tuple(finding for finding in plan.findings if finding.code != "dataset"))


def plans(workspace: Workspace, stages: Sequence[dict[str, Any]]) -> list[list[Coroutine[Any, Any, Plan]]]:
    """What the stages that may cost would do, where the dataset and the lora are yet to be made."""
    found = []
    for wanted in stages:
        if wanted["stage"] == "train":
            found.append([_training_plan(workspace, wanted)])
        elif wanted["stage"] == "generate":
            names = generating.generators_of(wanted["generator"])
            found.append([_picture_plan(workspace, wanted, name) for name in names])
    return found


async def _picture_plan(workspace: Workspace, wanted: dict[str, Any], name: str) -> Plan:
    """The plan of pictures with a lora that is yet to be made: it has no file, address or digest so far."""
    order, _ = ordering.order_of(workspace, wanted, {}, name)
    generator = plugins.back_end("limner.generators", name, settings=workspace.settings)
    plan: Plan = await generator.plan(order)
    return replace(plan, findings=tuple(one for one in plan.findings if one.code not in ordering.ADDRESS_CODES))
