"""Trainings: submitting one, driving its trainer to the end, and keeping what it made as a lora's next version."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from limner import plugins
from limner.catalog import base_location, find_base
from limner.datasets.render import write_rendered
from limner.errors import Cancelled, Conflict, NotFound, RecipeRefused, WorkFailed
from limner.loras.metadata import lora_metadata, seal
from limner.loras.validation import validate
from limner.pipeline import freezing, jobs, reading
from limner.pipeline.worker import StageContext
from limner.pipeline.workspace import Workspace
from limner.records import Job
from limner.store.models import BlobRow, CheckpointRow, DatasetRow, JobRow, LoraRow, SampleRow, TrainingRow, now
from limner.training import recipe as recipes
from limner.training.trainer import Collected, Trainer, TrainingOrder
from limner.types import Base, JobState, LoraFacts, Severity, SubjectKind

__all__ = ["request", "resume", "stage", "submit"]

POLL_SECONDS = 0.5
MOST_LOSSES = 2000
DEFAULT_PRESET = "balanced"


def request(
    workspace: Workspace,
    *,
    subject: str,
    kind: str,
    base: str = "",
    trainer: str = "",
    preset: str = "",
    settings: Mapping[str, Any] | None = None,
    sample_prompts: Sequence[str] = (),
    dataset: str = "",
) -> dict[str, Any]:
    """The stage's request, with the recipe checked before anything is queued."""
    row = find_base(base or workspace.settings.base)
    recipe = recipes.validate(
        recipes.preset(preset or DEFAULT_PRESET, row, SubjectKind(kind), **dict(settings or {})), row
    )
    trainer = trainer or workspace.settings.trainer
    about = plugins.back_end("limner.trainers", trainer, settings=workspace.settings).describe()
    if about.bases and row.id not in about.bases:
        raise RecipeRefused(
            f"The trainer '{trainer}' cannot train the base '{row.id}'.",
            remedy=f"It trains {', '.join(about.bases)}.",
            thing=trainer,
        )
    return {
        "stage": "train",
        "subject": subject,
        "training": jobs.new_id("training"),
        "base": row.id,
        "trainer": trainer,
        "recipe": asdict(recipe),
        "dataset": dataset,
        "sample_prompts": list(sample_prompts),
    }


def submit(workspace: Workspace, slug: str, *, dataset: str = "", **options: Any) -> Job:
    """Freeze the subject's photos unless a dataset is named, and enqueue a training on it."""
    freeze_options = {key: options.pop(key) for key in ("template", "captioner", "allow_few") if key in options}
    with workspace.database.read() as session:
        kind = reading.find_subject_row(session, slug).kind
        digest = freezing.find_dataset_row(session, dataset).digest if dataset else ""
    wanted = request(workspace, subject=slug, kind=kind, **options)
    if not digest:
        digest = freezing.freeze(
            workspace, slug, base=wanted["base"], resolution=wanted["recipe"]["resolution"], **freeze_options
        ).digest
    wanted["dataset"] = digest
    submitter = workspace.submitter
    with workspace.database.write() as session:
        if session.get_one(DatasetRow, digest).subject != slug:
            raise Conflict(f"The dataset {digest[:12]}… is not of '{slug}'.", remedy="Name one of its own.", thing=slug)
        _add_row(session, wanted, digest)
        row = jobs.add_job(session, kind="train", stages=[wanted], subject=slug, target=wanted["training"])
        submitter.submit(session, row.id, 1)
        return reading.to_job(row)


def resume(workspace: Workspace, training: str) -> Job:
    """Go on with a cancelled or failed training from its last checkpoint, as a new job."""
    submitter = workspace.submitter
    with workspace.database.write() as session:
        row = session.get(TrainingRow, training)
        if row is None:
            raise NotFound(f"There is no training '{training}'.", remedy="`limner trainings list`.", thing=training)
        if row.state == JobState.DONE:
            raise Conflict(f"{training} is done already.", remedy="Start another with `limner train`.", thing=training)
        last = session.scalars(
            select(JobRow).where(JobRow.target == training).order_by(JobRow.created_at.desc()).limit(1)
        ).first()
        if last is not None and not JobState(last.state).ended:
            raise Conflict(f"{training} is running already, as {last.id}.", remedy="Watch it.", thing=training)
        row.state, row.error = JobState.WAITING, None
        wanted = {
            "stage": "train",
            "subject": row.subject,
            "training": row.id,
            "base": row.base,
            "trainer": row.trainer,
            "recipe": row.recipe,
            "dataset": row.dataset,
            "sample_prompts": row.sample_prompts,
            "reopen": True,
        }
        job = jobs.add_job(session, kind="train", stages=[wanted], subject=row.subject, target=row.id)
        submitter.submit(session, job.id, 1)
        return reading.to_job(job)


def _add_row(session: Session, wanted: dict[str, Any], dataset: str) -> None:
    session.execute(
        insert(TrainingRow)
        .values(
            id=wanted["training"],
            subject=wanted["subject"],
            dataset=dataset,
            base=wanted["base"],
            trainer=wanted["trainer"],
            recipe=wanted["recipe"],
            sample_prompts=wanted["sample_prompts"],
            state=JobState.WAITING,
        )
        .on_conflict_do_nothing()
    )


async def stage(context: StageContext, wanted: dict[str, Any]) -> dict[str, Any]:
    """Drive the training to its end. Run again after a crash it finds the training that runs, or goes on from it."""
    workspace, training = context.workspace, wanted["training"]
    dataset = wanted["dataset"] or context.earlier["dataset"]
    made = await asyncio.to_thread(_begin, workspace, wanted, dataset)
    if made:
        return made
    order, base = await asyncio.to_thread(_order, workspace, wanted, dataset)
    trainer: Trainer = plugins.back_end("limner.trainers", wanted["trainer"], settings=workspace.settings)
    try:
        for finding in trainer.check(order):
            if finding.severity is Severity.REFUSAL:
                raise RecipeRefused(finding.message, remedy=finding.remedy, thing=training)
        reference = await (trainer.reopen(order) if wanted.get("reopen") else trainer.start(order))
        collected = await _follow(context, trainer, order, reference)
        return await asyncio.to_thread(_keep, workspace, wanted, order, base, collected)
    except BaseException as failure:
        state = JobState.CANCELLED if isinstance(failure, Cancelled) else JobState.FAILED
        if isinstance(failure, Exception):
            await asyncio.to_thread(_end, workspace, training, state, failure)
        raise


def _begin(workspace: Workspace, wanted: dict[str, Any], dataset: str) -> dict[str, Any] | None:
    """Mark the training as running; give its result if an earlier run of this stage had kept it already."""
    with workspace.database.write() as session:
        _add_row(session, wanted, dataset)
        row = session.get_one(TrainingRow, wanted["training"])
        lora = session.scalars(select(LoraRow).where(LoraRow.training == row.id)).first()
        if lora is not None:
            return _result(row, lora)
        row.state = JobState.RUNNING
        row.started_at = row.started_at or now()
    return None


def _order(workspace: Workspace, wanted: dict[str, Any], dataset: str) -> tuple[TrainingOrder, Base]:
    base = find_base(wanted["base"])
    with workspace.database.read() as session:
        manifest = reading.to_dataset(session.get_one(DatasetRow, dataset)).manifest
    directory = workspace.directory(wanted["training"])
    rendered = directory / "dataset"
    if not (rendered / "dataset.jsonl").is_file():
        write_rendered(manifest, workspace.blobs.path, rendered)
    prompts = wanted["sample_prompts"] or [f"a photo of {manifest.subject.trigger} {manifest.subject.class_word}"]
    order = TrainingOrder(
        id=wanted["training"],
        run_directory=directory,
        manifest=manifest,
        photo_path=workspace.blobs.path,
        recipe=recipes.from_mapping(wanted["recipe"]),
        base=base,
        base_path=base_location(base, workspace.settings.base_paths),
        sample_prompts=tuple(prompt.replace("{trigger}", manifest.subject.trigger) for prompt in prompts),
    )
    return order, base


async def _follow(context: StageContext, trainer: Trainer, order: TrainingOrder, reference: str) -> Collected:
    losses: list[tuple[int, float]] = []
    asked = False
    while True:
        report = await trainer.poll(order, reference)
        context.report(report.progress)
        if report.progress.loss is not None and (not losses or losses[-1][0] != report.progress.done):
            losses.append((report.progress.done, report.progress.loss))
        await asyncio.to_thread(_note_progress, context.workspace, order.id, asdict(report.progress), losses)
        if report.state is JobState.WAITING:
            # Whoever watched over the trainer is gone; what it had done is taken up from the last checkpoint.
            await trainer.start(order)
        if report.state is JobState.DONE:
            return await trainer.collect(order, reference)
        if report.state is JobState.FAILED:
            raise WorkFailed(report.error or "The training failed.", remedy=report.remedy, thing=order.id)
        if report.state is JobState.CANCELLED:
            raise Cancelled(
                "The training was stopped; its last checkpoint is kept.",
                remedy=f"Go on with: limner trainings resume {order.id}",
                thing=order.id,
            )
        if context.progress.cancelled and not asked:
            asked = True
            await trainer.cancel(order, reference)
        await asyncio.sleep(POLL_SECONDS)


def _note_progress(
    workspace: Workspace, training: str, progress: dict[str, Any], losses: list[tuple[int, float]]
) -> None:
    with workspace.database.write() as session:
        row = session.get_one(TrainingRow, training)
        row.progress = progress
        if losses:
            row.losses = _thin([*((s, v) for s, v in row.losses if s < losses[0][0]), *losses])


def _thin(losses: Sequence[tuple[int, float]]) -> list[list[float]]:
    every = max(1, -(-len(losses) // MOST_LOSSES))
    return [[step, loss] for step, loss in losses[::every]]


def _end(workspace: Workspace, training: str, state: JobState, failure: Exception | None = None) -> None:
    with workspace.database.write() as session:
        row = session.get(TrainingRow, training)
        if row is not None:
            row.state, row.ended_at = state, now()
            row.error = jobs.as_error(failure) if failure else None


def _keep(
    workspace: Workspace, wanted: dict[str, Any], order: TrainingOrder, base: Base, collected: Collected
) -> dict[str, Any]:
    """Check the weights, write our header, and store everything as the subject's next version, all rows at once."""
    sealed = order.run_directory / "lora.safetensors"
    metadata = lora_metadata(
        base,
        title=order.manifest.subject.name,
        trigger=order.manifest.subject.trigger,
        dataset_digest=order.manifest.digest,
        recipe=wanted["recipe"],
        resolution=order.recipe.resolution,
    )
    seal(collected.weights, metadata, sealed)
    facts = validate(sealed, base)
    workspace.blobs.put_file(sealed)
    stored: list[tuple[Path, str]] = [(sealed, "application/safetensors")]
    for _, path in collected.checkpoints:
        stored.append((path, "application/safetensors"))
    stored += [(sample.path, "image/png") for sample in collected.samples]
    digests = {path: workspace.blobs.put_file(path) for path, _ in stored}
    with workspace.database.write() as session:
        for path, media_type in stored:
            session.execute(
                insert(BlobRow)
                .values(digest=digests[path], media_type=media_type, byte_size=path.stat().st_size)
                .on_conflict_do_nothing()
            )
        for step, path in collected.checkpoints:
            session.execute(
                insert(CheckpointRow)
                .values(training=order.id, step=step, digest=digests[path])
                .on_conflict_do_nothing()
            )
        positions: dict[int, int] = {}
        for sample in collected.samples:
            position = positions[sample.step] = positions.get(sample.step, -1) + 1
            session.execute(
                insert(SampleRow)
                .values(
                    training=order.id,
                    step=sample.step,
                    position=position,
                    prompt=sample.prompt,
                    digest=digests[sample.path],
                )
                .on_conflict_do_nothing()
            )
        lora = _add_lora(session, wanted["subject"], order.id, facts)
        row = session.get_one(TrainingRow, order.id)
        row.state, row.ended_at, row.error = JobState.DONE, now(), None
        if collected.losses:
            row.losses = _thin(collected.losses)
        return _result(row, lora)


def _add_lora(session: Session, subject: str, training: str, facts: LoraFacts) -> LoraRow:
    newest = session.scalar(select(func.max(LoraRow.version)).where(LoraRow.subject == subject)) or 0
    lora = LoraRow(
        subject=subject,
        version=newest + 1,
        digest=facts.digest,
        tensor_digest=facts.tensor_digest,
        training=training,
        base=facts.base,
        naming=facts.naming,
        rank=facts.rank,
        alpha=facts.alpha,
        modules=facts.modules,
        byte_size=facts.byte_size,
        trigger=facts.trigger,
        header=dict(facts.metadata),
    )
    session.add(lora)
    session.flush()
    return lora


def _result(row: TrainingRow, lora: LoraRow) -> dict[str, Any]:
    return {"training": row.id, "lora": f"{lora.subject}@v{lora.version}", "lora_digest": lora.digest}
