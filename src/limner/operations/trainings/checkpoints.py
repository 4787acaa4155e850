"""Checkpoints as loras: drawn with while they are compared, and one of them picked as the subject's next version."""

from __future__ import annotations

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.catalog import find_base
from limner.errors import NotFound
from limner.operations import ids as lookups
from limner.operations.datasets import queries as dataset_queries
from limner.operations.home import blob_erasure as erasing
from limner.operations.home.scratch import scratch
from limner.operations.home.workspace import Workspace
from limner.operations.loras import queries as lora_queries
from limner.operations.loras.versions import add_lora
from limner.operations.trainings import queries as training_queries
from limner.records import Checkpoint, Lora
from limner.store.models import BlobRow, CheckpointRow, DatasetRow, LoraRow, SubjectRow, TrainingRow
from limner.types import LoraUse

__all__ = ["checkpoint_of_digest", "checkpoints", "find_checkpoint", "is_checkpoint", "name_of", "pick", "use_of"]

NAME = re.compile(r"(?P<training>training_[0-9a-f]{4,16}|[0-9a-f]{4,16})#(?P<step>[0-9]{1,9})")


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
        training = lookups.by_id(session, "training", TrainingRow, match["training"])
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


def checkpoints(workspace: Workspace, training: str) -> list[Checkpoint]:
    """The checkpoints of a training by step, with the versions that were picked from them."""
    training = training_queries.training(workspace, training).id
    with workspace.database.read() as session:
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


def pick(workspace: Workspace, training: str, step: int) -> Lora:
    """Make a checkpoint the subject's next version. The same weights again give the lora that is there.

    NotFound: there is no such checkpoint. LoraRefused: its weights are not sound.
    """
    with workspace.database.read() as session:
        of, checkpoint = find_checkpoint(session, name_of(training, step))
        known = _picked(session, of, step)
        if known is not None:
            return lora_queries.lora_record(workspace, known)
        manifest = dataset_queries.to_dataset(session.get_one(DatasetRow, of.dataset)).manifest
    # Reading and writing weights needs numpy, which nothing else here does.
    from limner.loras.checks.validation import validate
    from limner.loras.file.metadata import lora_metadata, seal
    from limner.operations.loras.normalise import in_our_naming

    with scratch(workspace.home, "pick-") as folder:
        base = find_base(of.base)
        metadata = lora_metadata(
            base,
            title=manifest.subject.name,
            trigger=manifest.subject.trigger,
            dataset_digest=manifest.digest,
            recipe=of.recipe,
            resolution=int(of.recipe.get("resolution", 0)),
        )
        weights = in_our_naming(workspace.blobs.path(checkpoint.digest), folder / "converted.safetensors", base)
        sealed = folder / "lora.safetensors"
        seal(weights, metadata, sealed)
        facts = validate(sealed, base)
        digest = workspace.blobs.put_file(sealed)
        with workspace.database.write() as session:
            same = select(LoraRow).where(LoraRow.subject == of.subject, LoraRow.tensor_digest == facts.tensor_digest)
            row = _picked(session, of, step) or session.scalars(same.order_by(LoraRow.version)).first()
            if row is None:
                erasing.add_blob(session, workspace, digest, "application/safetensors", sealed)
                row = add_lora(session, of.subject, facts, picked_from=of.id, step=step)
            elif row.digest != digest and session.get(BlobRow, digest) is None:
                workspace.blobs.remove(digest)  # the same weights under another header: not needed
            return lora_queries.lora_record(workspace, row)


def _picked(session: Session, training: TrainingRow, step: int) -> LoraRow | None:
    query = select(LoraRow).where(LoraRow.picked_from == training.id, LoraRow.step == step)
    return session.scalars(query).first()
