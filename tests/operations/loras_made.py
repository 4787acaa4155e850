"""Trainings with checkpoints, and pictures of generations, put straight into a home: small true weights, no engine."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import update

from limner import Studio
from limner.datasets.manifest import to_plain
from limner.records import Grid
from limner.store.models import (
    BlobRow,
    CheckpointRow,
    DatasetRow,
    GenerationRow,
    ImageRow,
    JobRow,
    SampleRow,
    TrainingRow,
)
from limner.types import DatasetManifest, JobState, SubjectFacts, SubjectKind
from tests.servers.quick_engine import quick_lora
from tests.web.pictures_made import png

BASE = "limner-tiny"
TRAINING = "training_0123456789abcdef"


def keep(studio: Studio, data: bytes, media_type: str) -> str:
    """A blob with its row; its digest."""
    digest = studio._workspace.blobs.put(data)
    with studio._workspace.database.write() as session:
        session.merge(BlobRow(digest=digest, media_type=media_type, byte_size=len(data)))
    return digest


def add_training(
    studio: Studio, slug: str = "zib", *, steps: Sequence[int] = (10, 20, 30), name: str = TRAINING, rank: int = 2
) -> str:
    """A training that is done, with a checkpoint and a sample of each step; its id."""
    subject = studio.subjects.get(slug)
    facts = SubjectFacts(slug, subject.name, SubjectKind(subject.kind), subject.class_word, subject.trigger)
    manifest = DatasetManifest("d" * 64, facts, 64, ())
    weights = {step: keep(studio, quick_lora(BASE, rank, bytes([step])), "application/safetensors") for step in steps}
    samples = {step: keep(studio, png(step), "image/png") for step in steps}
    with studio._workspace.database.write() as session:
        plain = {key: value for key, value in to_plain(manifest).items() if key != "digest"}
        session.merge(DatasetRow(digest=manifest.digest, subject=slug, resolution=64, photos=5, manifest=plain))
        session.flush()
        session.add(
            TrainingRow(
                id=name,
                subject=slug,
                dataset=manifest.digest,
                base=BASE,
                trainer="local",
                recipe={
                    "base": BASE,
                    "rank": rank,
                    "steps": max(steps, default=30),
                    "resolution": 64,
                    "learning_rate": 0.001,
                    "schedule": "constant",
                },
                sample_prompts=["a drawing of {trigger}"],
                state=JobState.DONE,
            )
        )
        session.flush()
        for step in steps:
            session.add(CheckpointRow(training=name, step=step, digest=weights[step]))
            session.add(
                SampleRow(training=name, step=step, position=0, prompt="a drawing of zibbo", digest=samples[step])
            )
    return name


def draw(studio: Studio, grid: Grid, *, only: Sequence[str] = ()) -> Grid:
    """Put the pictures into a grid's generations as a worker would, and end their jobs; ``only`` these of them."""
    for made in grid.generations:
        if only and made.id not in only:
            continue
        for position in range(made.count):
            digest = keep(studio, png(hash((made.id, position)) % 9973), "image/png")
            with studio._workspace.database.write() as session:
                session.add(
                    ImageRow(
                        generation=made.id,
                        position=position,
                        digest=digest,
                        media_type="image/png",
                        width=64,
                        height=48,
                        seed=made.seed + position,
                        seconds=0.1,
                        generator="local",
                    )
                )
        with studio._workspace.database.write() as session:
            session.execute(update(GenerationRow).where(GenerationRow.id == made.id).values(state=JobState.DONE))
            session.execute(update(JobRow).where(JobRow.target == made.id).values(state=JobState.DONE))
    return studio.grids.grid(grid.id)
