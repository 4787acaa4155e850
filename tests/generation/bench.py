"""A home folder with two loras in it, in which a test runs the stage of a generation itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from limner.generation.metadata.pixels import pixel_digest
from limner.loras.checks.inspection import inspect
from limner.operations.generations import job as drawing_stage
from limner.operations.generations import submission as generations
from limner.operations.generations.request import GenerateRequest
from limner.operations.home.workspace import Workspace
from limner.operations.jobs.context import StageContext
from limner.records import Job
from limner.store.models import BlobRow, GenerationRow, ImageRow, JobRow, LoraRow, SubjectRow
from limner.types import JobState

__all__ = ["LORAS", "Bench", "Queue", "add_lora"]

PROMPT = "a drawing of {trigger} and {trigger2}"
SMALL = {"width": 64, "height": 64, "steps": 2}
LORAS = [("first", 0.8), ("second@v1", -0.6)]


class Queue:
    """Stands for the workflow engine: the tests run a submitted job's stage themselves."""

    def submit(self, session: object, job: str, stages: int, *, waits: bool = False) -> None:
        assert stages == 1

    def close(self) -> None:
        pass


@dataclass
class Bench:
    """A home folder with two loras in it, and the ways to run generations there."""

    workspace: Workspace

    def submit(self, **changes: Any) -> Job:
        return generations.submit(self.workspace, **{"prompt": PROMPT, "loras": LORAS, "seed": 7, **SMALL, **changes})

    def run(self, job: Job) -> Mapping[str, Any]:
        """Run a job's stage, as often as this is called."""
        with self.workspace.database.read() as session:
            request = GenerateRequest.from_json(session.get_one(JobRow, job.id).request["stages"][0])
        return asyncio.run(drawing_stage.stage(StageContext(self.workspace, job.id, {}), request))

    def state(self, job: Job) -> JobState:
        with self.workspace.database.read() as session:
            return JobState(session.get_one(GenerationRow, job.target).state)

    def images(self, job: Job) -> list[Path]:
        """The pictures of a generation by position; each position is there once."""
        with self.workspace.database.read() as session:
            rows = session.scalars(select(ImageRow).where(ImageRow.generation == job.target)).all()
        rows = sorted(rows, key=lambda row: row.position)
        assert [row.position for row in rows] == list(range(len(rows)))
        assert [row.seed for row in rows] == [7 + row.position for row in rows]
        return [self.workspace.blobs.path(row.digest) for row in rows]

    def pixels(self, job: Job) -> list[str]:
        return [pixel_digest(path) for path in self.images(job)]

    def strays(self) -> set[str]:
        """Blobs that no row names."""
        with self.workspace.database.read() as session:
            return set(self.workspace.blobs.digests()) - set(session.scalars(select(BlobRow.digest)))


def add_lora(workspace: Workspace, slug: str, path: Path, base: str = "limner-tiny") -> None:
    facts = inspect(path)
    digest = workspace.blobs.put(path)
    with workspace.database.write() as session:
        session.add(SubjectRow(slug=slug, name=slug, kind="character", class_word="robot", trigger=f"trig_{slug}"))
        session.add(BlobRow(digest=digest, media_type="application/octet-stream", byte_size=facts.byte_size))
        session.flush()
        session.add(
            LoraRow(
                subject=slug,
                version=1,
                digest=digest,
                tensor_digest=facts.tensor_digest,
                base=base,
                naming=facts.naming,
                rank=facts.rank,
                alpha=facts.alpha,
                modules=facts.modules,
                byte_size=facts.byte_size,
                trigger=f"trig_{slug}",
                header={},
            )
        )
