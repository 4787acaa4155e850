"""Reproducing: a picture drawn again from what it says of itself, and compared."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from limner import plugins
from limner.errors import Conflict, NotFound, NotReady
from limner.generation.metadata import provenance
from limner.operations.generations import queries as generation_queries
from limner.operations.generations import submission as generations
from limner.operations.generations.request import GenerateRequest
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.operations.payments import preflight
from limner.operations.trainings import actions as training_actions
from limner.records import Job, Reproduction, WhatIf
from limner.store.models import GenerationRow, ImageRow, LoraRow

__all__ = ["reproduced", "submit"]


def submit(workspace: Workspace, picture: Path, *, yes: bool = False, what_if: bool = False) -> Job | WhatIf:
    """Enqueue the drawing of a picture again, from what it says of itself; with ``what_if`` only say what that is."""
    record = provenance.read_record(picture)
    loras: list[tuple[str, float]] = []
    strange: list[str] = []
    with workspace.database.read() as session:
        for use in record.loras:
            row = session.scalars(select(LoraRow).where(LoraRow.digest == use.digest)).first()
            if row is not None:
                loras.append((f"{row.subject}@v{row.version}", use.scale))
            elif checkpoint := training_actions.checkpoint_of_digest(session, use.digest):
                loras.append((checkpoint, use.scale))
            elif "/" in use.name:
                strange.append(use.name)
                loras.append((use.name, use.scale))
            else:
                raise NotFound(
                    f"The lora {use.name} ({use.digest[:12]}…) that made {picture.name} is not here.",
                    remedy="Draw it again in the home folder where this lora is.",
                    thing=use.name,
                )
    if record.generator not in plugins.names("limner.generators"):
        raise NotReady(
            f"{picture.name} was drawn by the generator '{record.generator}', which is not installed here.",
            remedy="Install the package that brings it; `limner backends` lists what is there.",
            thing=record.generator,
        )
    about = workspace.back_ends.generator(record.generator).describe()
    model = record.versions.get("model", "")
    request = GenerateRequest(
        generation=lifecycle.new_id("generation"),
        prompt=record.prompt,
        loras=tuple(loras),
        base=record.base,
        generator=record.generator,
        width=record.width,
        height=record.height,
        steps=record.steps,
        guidance=record.guidance,
        seed=record.seed,
        model=model if model in about.models else "",
        remote={name: generations.describe(workspace, name) for name in strange},
        filled=True,
    )
    if what_if:
        return preflight.what_if(generations.plans(workspace, request))
    return generations.submit_request(workspace, request, yes=yes)


def reproduced(workspace: Workspace, picture: Path, job: Job) -> Reproduction:
    """Compare a picture with the one that its reproduction drew, pixel by pixel and version by version.

    Conflict: the job is none that drew one picture.
    """
    with workspace.database.read() as session:
        rows = session.scalars(select(ImageRow).where(ImageRow.generation == job.target)).all()
        if len(rows) != 1:
            raise Conflict(
                f"{job.id} drew {len(rows)} pictures, so it is no reproduction that has ended.",
                remedy="Name the job that drew the picture again, once it is done.",
                thing=job.id,
            )
        (row,) = rows
        prompt = session.get_one(GenerationRow, job.target).prompt
        image = generation_queries.to_image(workspace, row, prompt)
    given, drawn = provenance.pixel_digest(picture), provenance.pixel_digest(image.path)
    before, after = provenance.read_record(picture).versions, provenance.read_record(image.path).versions
    differences = [
        f"{name}: {before.get(name, 'unknown')} then, {after.get(name, 'unknown')} now"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    if provenance.read_provenance(picture).recorded_pixels != given:
        differences.append("the picture: its pixels were changed after it was drawn")
    return Reproduction(image, given == drawn, tuple(differences))
