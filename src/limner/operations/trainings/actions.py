"""Trainings: started, looked at, gone on with, picked from."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import Literal, Unpack, overload

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.catalog import find_base
from limner.errors import NotFound
from limner.operations import ids
from limner.operations.datasets import queries as dataset_queries
from limner.operations.home import blob_erasure
from limner.operations.home.facet import Facet
from limner.operations.home.scratch import scratch
from limner.operations.home.workspace import Workspace
from limner.operations.jobs.actions import Jobs
from limner.operations.loras import queries as lora_queries
from limner.operations.loras.versions import add_lora
from limner.operations.payments import ledger
from limner.operations.trainings.artifacts import log_file
from limner.operations.trainings.queries import to_training
from limner.options import TrainOptions
from limner.records import (
    Checkpoint,
    Cost,
    Job,
    Lora,
    RecipeField,
    Training,
    TrainingChoices,
    TrainingRun,
    TrainingSampleEntry,
    WhatIf,
)
from limner.store.models import BlobRow, CheckpointRow, DatasetRow, JobRow, LoraRow, SampleRow, SubjectRow, TrainingRow
from limner.training.divergence import divergence_in_log
from limner.types import LoraUse
from limner.vendors.secrets.redaction import redact

__all__ = ["Trainings"]


NAME = re.compile(r"(?P<training>training_[0-9a-f]{4,16}|[0-9a-f]{4,16})#(?P<step>[0-9]{1,9})")


class Trainings(Facet):
    """``studio.trainings``: started, looked at, gone on with, picked from."""

    @overload
    def start(
        self, slug: str, *, yes: bool = False, what_if: Literal[True], **options: Unpack[TrainOptions]
    ) -> WhatIf: ...
    @overload
    def start(
        self, slug: str, *, yes: bool = False, what_if: Literal[False] = False, **options: Unpack[TrainOptions]
    ) -> Job: ...
    def start(
        self, slug: str, *, yes: bool = False, what_if: bool = False, **options: Unpack[TrainOptions]
    ) -> Job | WhatIf:
        """Train a lora. RecipeRefused lists all settings that cannot be used; the job's ``target`` is the training.

        ConsentNeeded: it costs more than goes without asking, and no ``yes`` was said. ``what_if``: give the plan
        with the exact requests and the price instead; nothing is sent that costs.
        """
        from limner.operations.trainings import submission as trainings

        return self._started(trainings.submit(self._workspace, slug, yes=yes, what_if=what_if, **options))

    def all(self, slug: str = "") -> list[Training]:
        """The trainings, newest first."""
        query = select(TrainingRow).order_by(TrainingRow.created_at.desc())
        with self._workspace.database.read() as session:
            rows = session.scalars(query.where(TrainingRow.subject == slug) if slug else query)
            return [to_training(self._workspace, session, row) for row in rows]

    def get(self, training: str) -> Training:
        """One training."""
        with self._workspace.database.read() as session:
            row = ids.by_id(session, "training", TrainingRow, training)
            if row is None:
                raise NotFound(
                    f"There is no training '{training}'.", remedy="List them: limner trainings list", thing=training
                )
            return to_training(self._workspace, session, row)

    def offers(self, slug: str, **options: Unpack[TrainOptions]) -> TrainingChoices:
        """Every trainer for a training: what it would cost and take, who sees the photos, or why it cannot.

        Nothing is sent and nothing frozen. The options are those of ``start``; a setting that cannot be used is named.
        """
        from limner.operations.trainings import offers as training_offers

        return training_offers.choices(self._workspace, slug, **options)

    def recipe_fields(self, *, base: str = "", preset: str = "") -> tuple[RecipeField, ...]:
        """Every field of a recipe in words, with what is allowed and its value in the preset."""
        from limner.operations.trainings import offers as training_offers

        return training_offers.fields(self._workspace, base=base, preset=preset)

    def view(self, training: str) -> TrainingRun:
        """One training with its samples, checkpoints, cost and log."""
        found = self.get(training)
        said = self.log(found.id)
        if not found.findings:
            found = replace(found, findings=divergence_in_log(said, found.recipe))
        with self._workspace.database.read() as session:
            dataset = session.get(DatasetRow, found.dataset)
            jobs = list(session.scalars(select(JobRow.id).where(JobRow.target == found.id)))
        lines = [line for job in jobs for line in ledger.entries(self._workspace, subject=found.subject, job=job)]
        mine = [line for line in lines if line.what == "training"]
        return TrainingRun(
            training=found,
            job=_job(self._workspace, found.id),
            samples=tuple(self.samples(found.id)),
            checkpoints=tuple(self.checkpoints(found.id)),
            photos=dataset.photos if dataset is not None else 0,
            cost=sum((line.amount for line in mine), Decimal(0)),
            paid=_paid(mine),
            log=said,
        )

    def samples(self, training: str) -> list[TrainingSampleEntry]:
        """The pictures drawn while training, by step and prompt; they come while it runs."""
        training = self.get(training).id
        query = select(SampleRow).where(SampleRow.training == training).order_by(SampleRow.step, SampleRow.position)
        with self._workspace.database.read() as session:
            return [
                TrainingSampleEntry(training, row.step, row.position, row.prompt, row.digest)
                for row in session.scalars(query)
            ]

    def log(self, training: str) -> str:
        """The end of the trainer's log, without secrets; "" where there is none."""
        try:
            words = log_file(self._workspace, self.get(training).id).read_text("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return redact(words)

    @overload
    def resume(self, training: str, *, yes: bool = False, what_if: Literal[True]) -> WhatIf: ...
    @overload
    def resume(self, training: str, *, yes: bool = False, what_if: Literal[False] = False) -> Job: ...
    def resume(self, training: str, *, yes: bool = False, what_if: bool = False) -> Job | WhatIf:
        """Go on with a stopped training from its last checkpoint, or anew, at its price, where a vendor keeps none."""
        from limner.operations.trainings import submission as trainings

        found = self.get(training).id
        return self._started(trainings.resume(self._workspace, found, yes=yes, what_if=what_if))

    def checkpoints(self, training: str) -> list[Checkpoint]:
        """The checkpoints that a training kept, by step. A generation names one as a lora: ``training_1f0c…#100``."""
        training = self.get(training).id
        with self._workspace.database.read() as session:
            picked = {
                row.step: f"{row.subject}@v{row.version}"
                for row in session.scalars(select(LoraRow).where(LoraRow.picked_from == training))
            }
            found = session.execute(
                select(CheckpointRow, BlobRow.byte_size)
                .join(BlobRow, BlobRow.digest == CheckpointRow.digest)
                .where(CheckpointRow.training == training)
                .order_by(CheckpointRow.step)
            )
            return [
                Checkpoint(
                    name=name_of(training, row.step),
                    training=training,
                    step=row.step,
                    digest=row.digest,
                    byte_size=size,
                    lora=picked.get(row.step, ""),
                )
                for row, size in found
            ]

    def pick(self, training: str, step: int) -> Lora:
        """Make a checkpoint the subject's next version. The same weights again give the lora that is there."""
        with self._workspace.database.read() as session:
            of, checkpoint = find_checkpoint(session, name_of(training, step))
            known = _picked(session, of, step)
            if known is not None:
                return lora_queries.lora_record(self._workspace, known)
            manifest = dataset_queries.to_dataset(session.get_one(DatasetRow, of.dataset)).manifest
        # Reading and writing weights needs numpy, which nothing else here does.
        from limner.loras.checks.validation import validate
        from limner.loras.file.metadata import lora_metadata, seal
        from limner.operations.loras.normalise import in_our_naming

        with scratch(self._workspace.home, "pick-") as folder:
            base = find_base(of.base)
            metadata = lora_metadata(
                base,
                title=manifest.subject.name,
                trigger=manifest.subject.trigger,
                dataset_digest=manifest.digest,
                recipe=of.recipe,
                resolution=int(of.recipe.get("resolution", 0)),
            )
            weights = in_our_naming(
                self._workspace.blobs.path(checkpoint.digest), folder / "converted.safetensors", base
            )
            sealed = folder / "lora.safetensors"
            seal(weights, metadata, sealed)
            facts = validate(sealed, base)
            digest = self._workspace.blobs.link(sealed)
            with self._workspace.database.write() as session:
                same = select(LoraRow).where(
                    LoraRow.subject == of.subject, LoraRow.tensor_digest == facts.tensor_digest
                )
                row = _picked(session, of, step) or session.scalars(same.order_by(LoraRow.version)).first()
                if row is None:
                    blob_erasure.add_blob(session, self._workspace, digest, "application/safetensors", sealed)
                    row = add_lora(session, of.subject, facts, picked_from=of.id, step=step)
                elif row.digest != digest and session.get(BlobRow, digest) is None:
                    self._workspace.blobs.remove(digest)  # the same weights under another header: not needed
                return lora_queries.lora_record(self._workspace, row)


def _paid(lines: list[Cost]) -> bool:
    return bool(lines) and all(line.actual is not None for line in lines)


def _job(workspace: Workspace, training: str) -> Job | None:
    try:
        return Jobs(workspace).get(training)
    except NotFound:
        return None


def is_checkpoint(name: str) -> bool:
    """Whether a lora's name is that of a checkpoint: ``training_1f0c…#100``, the id cut to four digits at least."""
    return NAME.fullmatch(name.strip()) is not None


def name_of(training: str, step: int) -> str:
    """How a generation names a checkpoint."""
    return f"{training}#{step}"


def find_checkpoint(session: Session, name: str) -> tuple[TrainingRow, CheckpointRow]:
    """The training and the checkpoint of a name. NotFound says which steps there are."""
    match = NAME.fullmatch(name.strip())
    training: TrainingRow | None = None
    if match:
        training = ids.by_id(session, "training", TrainingRow, match["training"])
    if match is None or training is None:
        raise NotFound(f"There is no training of the name '{name}'.", remedy="`limner trainings list`.", thing=name)
    query = select(CheckpointRow).where(CheckpointRow.training == training.id)
    row = session.scalars(query.where(CheckpointRow.step == int(match["step"]))).first()
    if row is None:
        steps = [str(found.step) for found in session.scalars(query.order_by(CheckpointRow.step))]
        raise NotFound(
            f"{training.id} has no checkpoint of step {match['step']}.",
            remedy=f"It has those of the steps {', '.join(steps)}." if steps else "It keeps none.",
            thing=name,
        )
    return training, row


def checkpoint_of_digest(session: Session, digest: str) -> str:
    """The name of a checkpoint with these bytes, "" if none has them."""
    row = session.scalars(select(CheckpointRow).where(CheckpointRow.digest == digest).limit(1)).first()
    return name_of(row.training, row.step) if row else ""


def use_of(
    workspace: Workspace, training: TrainingRow, row: CheckpointRow, subject: SubjectRow, scale: float
) -> LoraUse:
    """A checkpoint as a generator is given it: a file of this machine."""
    path = workspace.blobs.path(row.digest)
    return LoraUse(
        digest=row.digest,
        scale=scale,
        name=name_of(training.id, row.step),
        trigger=subject.trigger,
        path=path,
        base=training.base,
        byte_size=path.stat().st_size,
    )


def _picked(session: Session, training: TrainingRow, step: int) -> LoraRow | None:
    query = select(LoraRow).where(LoraRow.picked_from == training.id, LoraRow.step == step)
    return session.scalars(query).first()
