"""The whole pipeline as one job: photos in, pictures out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from limner.errors import InputRefused
from limner.money.sums import total
from limner.operations.datasets.job import FreezeOptions, FreezeRequest
from limner.operations.generations import orders, reach
from limner.operations.generations import submission as generations
from limner.operations.generations.request import GenerateRequest
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.operations.payments import ledger, preflight
from limner.operations.photos import job as intake
from limner.operations.publications import job as publication_job
from limner.operations.publications.job import PublishRequest
from limner.operations.subjects import queries as subject_queries
from limner.operations.trainings import submission as trainings
from limner.operations.trainings.request import TrainRequest
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
        kind = subject_queries.find_subject_row(session, slug).kind
    training = trainings.make_request(workspace, subject=slug, kind=kind, **dict(train or {}))
    publication = publication_job.make_request(workspace, subject=slug, **dict(publish or {}))
    drawing = {"base": training.base, **dict(generate or {})}
    scale = float(drawing.pop("scale", 1.0))
    loras = [("", scale), *(generations.parse_lora(words) for words in drawing.pop("loras", ()))]
    pictures: list[GenerateRequest] = []
    for prompt in prompts:
        for some in ([], loras) if with_base else (loras,):
            request = generations.make_request(workspace, prompt=prompt, loras=some, **drawing)
            pictures.append(replace(request, subject=slug))
    for request in pictures:
        _refuse_unreachable(workspace, training, publication, request)
    if what_if:
        return preflight.what_if(*plans(workspace, [training, *pictures]))
    cost = total([trainings.estimate(workspace, training), *(generations.estimate(workspace, one) for one in pictures)])
    ledger.allow(workspace, cost, subject=slug, yes=yes, what="whole run")
    options = {"base": training.base, "resolution": training.recipe.resolution, **dict(freeze or {})}
    stages = [
        intake.make_request(slug, paths, captions),
        FreezeRequest(subject=slug, options=FreezeOptions(**options)),
        training,
        publication,
        *pictures,
    ]
    waits = trainings.waits(workspace, training)
    return lifecycle.enqueue(workspace, "run", stages, subject=slug, target=training.training, waits=waits)


def _refuse_unreachable(
    workspace: Workspace, training: TrainRequest, publication: PublishRequest, request: GenerateRequest
) -> None:
    """Say before anything is paid that a generator could not get at what the hub keeps."""
    if not any(name == "" for name, _ in request.loras):
        return
    hub = workspace.back_ends.hub(publication.hub)
    trainer = workspace.back_ends.trainer(training.trainer).describe()
    public = publication.visibility is Visibility.PUBLIC
    out_of_reach: list[BackEnd] = []
    for name in generations.generators_of(request.generator):
        about = workspace.back_ends.generator(name).describe()
        at_home = Reach.HOSTED in about.reach and bool(about.vendor) and about.vendor == trainer.vendor
        opened = reach.grants(hub) and Reach.URL in about.reach
        if Reach.FILE in about.reach or at_home or opened or (public and reach.can_read(about, hub.describe())):
            return
        out_of_reach.append(about)
    if request.publish_if_needed:
        publication_job.refuse_without_consent(workspace, request.subject)
        return
    raise InputRefused(
        f"{out_of_reach[0].title} fetches loras from an address that anyone can read; on the hub "
        f"'{publication.hub}' this one would be {publication.visibility}.",
        remedy="Publish with --hub huggingface --public, or --hub s3 to keep it private; or --generator local.",
        thing=out_of_reach[0].name,
    )


async def _training_plan(workspace: Workspace, request: TrainRequest) -> Plan:
    trainer, order = trainings.order_without_photos(workspace, request)
    plan: Plan = await trainer.plan(order)
    # The photos come later: that there are none yet is no reason.
    return replace(plan, findings=tuple(finding for finding in plan.findings if finding.code != "dataset"))


def plans(
    workspace: Workspace, stages: Sequence[TrainRequest | GenerateRequest]
) -> list[list[Coroutine[Any, Any, Plan]]]:
    """What the stages that may cost would do, where the dataset and the lora are yet to be made."""
    return [
        [_training_plan(workspace, one)]
        if isinstance(one, TrainRequest)
        else [_picture_plan(workspace, one, name) for name in generations.generators_of(one.generator)]
        for one in stages
    ]


async def _picture_plan(workspace: Workspace, request: GenerateRequest, name: str) -> Plan:
    """The plan of pictures with a lora that is yet to be made: it has no file, address or digest so far."""
    generator = workspace.back_ends.generator(name)
    about = generator.describe()
    drawing = await asyncio.to_thread(orders.find_drawing, workspace, request, [about])
    plan = await generator.plan(drawing.order(about, among="," in request.generator))
    return replace(plan, findings=tuple(one for one in plan.findings if one.code not in reach.ADDRESS_CODES))
