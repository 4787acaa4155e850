"""The stage that trains: drives a trainer to the end and keeps what it made as the subject's next version."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from limner.catalog import base_location, find_base
from limner.datasets.packages import package
from limner.datasets.render import write_rendered
from limner.errors import Cancelled, RecipeRefused, WorkFailed
from limner.findings import refuse
from limner.loras.checks.validation import validate
from limner.loras.file.metadata import lora_metadata, seal
from limner.operations.datasets import queries as dataset_queries
from limner.operations.home import blob_erasure
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle, wakeups
from limner.operations.jobs.context import StageContext
from limner.operations.loras.normalise import in_our_naming
from limner.operations.loras.versions import add_lora
from limner.operations.payments.purchases import StoredPayments
from limner.operations.trainings.artifacts import Arrivals, Curves, add_rows, positions
from limner.operations.trainings.request import TrainRequest
from limner.store.models import DatasetRow, JobRow, LoraRow, TrainingRow, now
from limner.training import recipe as recipes
from limner.training.trainer import Collected, Trainer, TrainingOrder, TrainingReport
from limner.types import DatasetManifest, JobState

__all__ = ["add_row", "order_of", "stage"]

GLANCE_SECONDS = 0.5  # between two looks at whether the user wants to stop
STARTS_AT_ONCE = 24
"""Trainings that are being prepared and started at once; hundreds together would take a GB, and no less time."""
ENDS_AT_ONCE = 4
POLLS_A_SECOND = 10.0
"""How often all trainings of a process together ask one vendor, so that hundreds leave room for starting others."""


def order_of(workspace: Workspace, request: TrainRequest, manifest: DatasetManifest) -> TrainingOrder:
    """The order of a request, on a dataset."""
    base = find_base(request.base)
    trigger, class_word = manifest.subject.trigger, manifest.subject.class_word
    prompts = request.sample_prompts or [f"a photo of {trigger} {class_word}"]
    directory = workspace.home / "runs" / request.training
    about = workspace.back_ends.trainer(request.trainer).describe()

    def packed() -> Path:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return package(about.package, manifest, workspace.blobs.path, directory / "photos.zip").path

    public = workspace.settings.public_url.rstrip("/")
    return TrainingOrder(
        id=request.training,
        run_directory=directory,
        manifest=manifest,
        photo_path=workspace.blobs.path,
        recipe=request.recipe,
        base=base,
        base_path=base_location(base, workspace.settings.base_paths),
        sample_prompts=tuple(
            prompt.replace("{trigger}", trigger).replace("{class_word}", class_word) for prompt in prompts
        ),
        package=packed if about.package else None,
        webhook_url=f"{public}/webhooks/{about.vendor}/{request.training}" if public and about.vendor else "",
    )


def add_row(session: Session, request: TrainRequest, dataset: str) -> None:
    """The training's row, unless it is there."""
    session.execute(
        insert(TrainingRow)
        .values(
            id=request.training,
            subject=request.subject,
            dataset=dataset,
            base=request.base,
            trainer=request.trainer,
            recipe=recipes.plain(request.recipe),
            sample_prompts=list(request.sample_prompts),
            state=JobState.WAITING,
        )
        .on_conflict_do_nothing()
    )


async def stage(context: StageContext, request: TrainRequest) -> Mapping[str, object]:
    """Drive the training to its end. Run again after a crash it finds the training that runs, or goes on from it."""
    workspace, training = context.workspace, request.training
    dataset = request.dataset or context.earlier["dataset"]
    made, known = await asyncio.to_thread(_begin, workspace, request, dataset)
    if made:
        return made
    trainer = workspace.back_ends.trainer(request.trainer)
    try:
        async with _gate("start", STARTS_AT_ONCE):
            await asyncio.to_thread(context.progress.check_cancelled)
            order = await asyncio.to_thread(_prepared, context, trainer, request, dataset)
            if not known:
                # Once it is started a model that went, or a list that cannot be read, must not keep us from collecting.
                refuse((await trainer.plan(order)).findings, RecipeRefused)
            reference = await (trainer.reopen(order) if request.reopen else trainer.start(order))
            await asyncio.to_thread(_note_reference, workspace, training, reference)
        with _following(trainer.describe().vendor):
            curves = await _follow(context, trainer, order, reference)
        async with _gate("end", ENDS_AT_ONCE):
            collected = await trainer.collect(order, reference)
            made = await asyncio.to_thread(_keep, context, request, order, collected, curves)
    except BaseException as failure:
        state = JobState.CANCELLED if isinstance(failure, Cancelled) else JobState.FAILED
        if isinstance(failure, Exception):
            await asyncio.to_thread(_fail, context, training, state, failure)
        raise
    if trainer.describe().vendor:
        shutil.rmtree(order.run_directory, ignore_errors=True)  # the blobs have it all, and the package holds photos
    return {**made, **({"left_behind": list(collected.left_behind)} if collected.left_behind else {})}


_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()


def _gate(name: str, most: int) -> asyncio.Semaphore:
    """Lets so many trainings of this process through at once."""
    return _gates.setdefault(asyncio.get_running_loop(), {}).setdefault(name, asyncio.Semaphore(most))


def _begin(workspace: Workspace, request: TrainRequest, dataset: str) -> tuple[Mapping[str, object] | None, str]:
    """Mark the training as running; give its result if an earlier run of this stage had kept it, and its reference."""
    with workspace.database.write() as session:
        add_row(session, request, dataset)
        row = session.get_one(TrainingRow, request.training)
        lora = session.scalars(select(LoraRow).where(LoraRow.training == row.id)).first()
        if lora is not None:
            return _result(row, lora), row.reference
        row.state = JobState.RUNNING
        row.started_at = row.started_at or now()
        return None, row.reference


def _prepared(context: StageContext, trainer: Trainer, request: TrainRequest, dataset: str) -> TrainingOrder:
    """The order with its folder, the dataset rendered into it where the trainer wants it so, and the payments."""
    workspace = context.workspace
    with workspace.database.read() as session:
        manifest = dataset_queries.to_dataset(session.get_one(DatasetRow, dataset)).manifest
    directory = workspace.directory(request.training)
    if not trainer.describe().package and not (directory / "dataset" / "dataset.jsonl").is_file():
        write_rendered(manifest, workspace.blobs.path, directory / "dataset")
    order = order_of(workspace, request, manifest)
    return replace(order, payments=StoredPayments(workspace, context.job, request.subject))


async def _follow(context: StageContext, trainer: Trainer, order: TrainingOrder, reference: str) -> Curves:
    """Watch until the training is done; give its curves. WorkFailed: it failed; Cancelled: it was stopped."""
    curves = await asyncio.to_thread(_curves, context.workspace, order.id)
    asked = False
    noted: object = None
    arrivals = Arrivals(context.workspace, order.id)
    while True:
        report = await trainer.poll(order, reference)
        if report.progress != noted and await asyncio.to_thread(_note, context, curves, report):
            noted = report.progress
        await asyncio.to_thread(arrivals.keep, report)
        if report.state is JobState.WAITING and not trainer.describe().vendor:
            # Whoever watched over the trainer is gone; what it had done is taken up from the last checkpoint.
            await trainer.start(order)
        if report.state is JobState.DONE:
            return curves
        if report.state is JobState.FAILED:
            raise WorkFailed(report.error or "The training failed.", remedy=report.remedy, thing=order.id)
        if report.state is JobState.CANCELLED:
            raise Cancelled(
                report.error or "The training was stopped; its last checkpoint is kept.",
                remedy=report.remedy or f"Go on with: limner trainings resume {order.id}",
                thing=order.id,
            )
        if not asked:
            asked = await _wished_to_stop(context, order.id, max(report.poll_after, _fair_pause(trainer)))
            if asked:
                await trainer.cancel(order, reference)
        else:
            await wakeups.sleep(order.id, min(report.poll_after, 2.0))


_followed: Counter[str] = Counter()


@contextmanager
def _following(vendor: str) -> Iterator[None]:
    """Count a training among those that ask a vendor."""
    _followed[vendor] += 1
    try:
        yield
    finally:
        _followed[vendor] -= 1


def _fair_pause(trainer: Trainer) -> float:
    """Seconds between two looks such that all trainings at this vendor together keep to POLLS_A_SECOND."""
    vendor = trainer.describe().vendor
    return _followed[vendor] / POLLS_A_SECOND if vendor else 0.0


async def _wished_to_stop(context: StageContext, training: str, seconds: float) -> bool:
    """Sleep until it is time to look again, or a webhook says so; True as soon as the user wants to stop."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (left := until - loop.time()) > 0:
        if await asyncio.to_thread(lambda: context.progress.cancelled):
            return True
        if await wakeups.sleep(training, min(left, max(GLANCE_SECONDS, seconds / 8))):
            return False
    return await asyncio.to_thread(lambda: context.progress.cancelled)


def _curves(workspace: Workspace, training: str) -> Curves:
    with workspace.database.read() as session:
        return Curves(session, training)


def _note(context: StageContext, curves: Curves, report: TrainingReport) -> bool:
    """Write how far it is into the job, and what is new in the curves; whether it is time for that."""
    progress = report.progress
    losses = report.losses or (((progress.done, progress.loss),) if progress.loss is not None else ())

    def points(session: Session) -> None:
        curves.keep(session, "loss", losses, progress.total)
        curves.keep(session, "rate", report.rates, progress.total)

    return context.progress.report(progress, points)


def _note_reference(workspace: Workspace, training: str, reference: str) -> None:
    with workspace.database.write() as session:
        session.get_one(TrainingRow, training).reference = reference


def _fail(context: StageContext, training: str, state: JobState, failure: Exception) -> None:
    with context.workspace.database.write() as session:
        row = session.get(TrainingRow, training)
        if row is not None:
            _end(session, row, context.job, state)
            row.error = lifecycle.as_error(failure)


def _end(session: Session, row: TrainingRow, job: str, state: JobState) -> None:
    """Of a training that has ended its row says how far it came: its job may go on with something else."""
    row.state, row.ended_at, row.error = state, now(), None
    said = session.scalar(select(JobRow.progress).where(JobRow.id == job)) or {}
    if said.get("stage") == "training":
        row.progress = said


def _keep(
    context: StageContext, request: TrainRequest, order: TrainingOrder, collected: Collected, curves: Curves
) -> Mapping[str, object]:
    """Check the weights, write our header, and store everything as the subject's next version, all rows at once."""
    workspace = context.workspace
    sealed = order.run_directory / "lora.safetensors"
    metadata = lora_metadata(
        order.base,
        title=order.manifest.subject.name,
        trigger=order.manifest.subject.trigger,
        dataset_digest=order.manifest.digest,
        recipe=recipes.plain(request.recipe),
        resolution=order.recipe.resolution,
    )
    weights = in_our_naming(collected.weights, order.run_directory / "converted.safetensors", order.base)
    seal(weights, metadata, sealed)
    facts = validate(sealed, order.base)
    sealed_digest = workspace.blobs.link(sealed)
    samples = list(positions(collected.samples))
    paths = [path for _, path in collected.checkpoints] + [sample.path for _, sample in samples]
    digests = {path: workspace.blobs.put(path) for path in paths}
    with workspace.database.write() as session:
        blob_erasure.add_blob(session, workspace, sealed_digest, "application/safetensors", sealed)
        add_rows(session, workspace, order.id, digests, collected.checkpoints, samples)
        lora = add_lora(session, request.subject, facts, training=order.id, hosted=dict(collected.hosted))
        row = session.get_one(TrainingRow, order.id)
        _end(session, row, context.job, JobState.DONE)
        curves.keep(session, "loss", collected.losses, order.recipe.steps)
        curves.keep(session, "rate", collected.rates, order.recipe.steps)
        return _result(row, lora)


def _result(row: TrainingRow, lora: LoraRow) -> Mapping[str, object]:
    return {"training": row.id, "lora": f"{lora.subject}@v{lora.version}", "lora_digest": lora.digest}
