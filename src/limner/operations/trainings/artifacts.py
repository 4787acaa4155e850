"""What a training gives while it runs: checkpoints, samples, losses, rates and its log, kept as they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from limner.operations.home import blob_erasure as erasing
from limner.operations.home.workspace import Workspace
from limner.store.models import CheckpointRow, SampleRow
from limner.training.trainer import TrainingReport
from limner.types import TrainingSample
from limner.vendors.secrets.redaction import redact

__all__ = ["MOST_POINTS", "Arrivals", "add_rows", "joined", "log_file", "positions", "thin"]

MOST_POINTS = 2000
MOST_LOG = 64_000
"""Characters of a log that are kept; its end is what matters."""

Curve = Sequence[tuple[int, float]]


def log_file(workspace: Workspace, training: str) -> Path:
    """Where the end of a training's log is kept, wherever it runs; it outlives the training's working folder."""
    return workspace.home / "logs" / "trainings" / f"{training}.txt"


class Arrivals:
    """Keeps what the reports of one training name, each thing once."""

    def __init__(self, workspace: Workspace, training: str) -> None:
        self._workspace, self._training = workspace, training
        self._known: set[tuple[int, int]] = set()
        self._log = ""

    def keep(self, report: TrainingReport) -> None:
        """Store what is new in a report. Doing it again, or by another process, changes nothing."""
        self._keep_log(report.log)
        fresh = [(at, sample) for at, sample in positions(report.samples) if (sample.step, at) not in self._known]
        checkpoints = [(step, path) for step, path in report.checkpoints if (step, -1) not in self._known]
        if not fresh and not checkpoints:
            return
        blobs = self._workspace.blobs
        paths = [path for _, path in checkpoints] + [sample.path for _, sample in fresh]
        # What goes away between two looks is kept at the end, or it was damaged and is made anew.
        digests = {path: blobs.put_file(path) for path in paths if path.is_file()}
        kept = [one for one in fresh if one[1].path in digests]
        whole = [one for one in checkpoints if one[1] in digests]
        with self._workspace.database.write() as session:
            add_rows(session, self._workspace, self._training, digests, whole, kept)
        self._known |= {(sample.step, at) for at, sample in kept} | {(step, -1) for step, _ in whole}

    def _keep_log(self, log: str) -> None:
        if not log or log == self._log:
            return
        self._log = log
        path = log_file(self._workspace, self._training)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(redact(log)[-MOST_LOG:], encoding="utf-8")


def positions(samples: Sequence[TrainingSample]) -> Iterator[tuple[int, TrainingSample]]:
    """Each sample with the position of its prompt: they come in the order of the prompts, step by step."""
    seen: dict[int, int] = {}
    for sample in samples:
        at = seen[sample.step] = seen.get(sample.step, -1) + 1
        yield at, sample


def add_rows(
    session: Session,
    workspace: Workspace,
    training: str,
    digests: Mapping[Path, str],
    checkpoints: Sequence[tuple[int, Path]],
    samples: Sequence[tuple[int, TrainingSample]],
) -> None:
    """The rows of stored checkpoints, and of samples with their positions, unless they are there."""
    for step, path in checkpoints:
        erasing.add_blob(session, workspace, digests[path], "application/safetensors", path)
        session.execute(
            insert(CheckpointRow).values(training=training, step=step, digest=digests[path]).on_conflict_do_nothing()
        )
    for position, sample in samples:
        erasing.add_blob(session, workspace, digests[sample.path], "image/png", sample.path)
        session.execute(
            insert(SampleRow)
            .values(
                training=training,
                step=sample.step,
                position=position,
                prompt=sample.prompt,
                digest=digests[sample.path],
            )
            .on_conflict_do_nothing()
        )


def joined(kept: Sequence[Sequence[float]], newest: Curve) -> list[list[float]]:
    """A curve with its newest points in place of what was known from their first step on, thinned."""
    if not newest:
        return [list(point) for point in kept]
    return thin([*((int(step), value) for step, value in kept if step < newest[0][0]), *newest])


def thin(curve: Curve) -> list[list[float]]:
    """At most MOST_POINTS of a curve's points, the last one always."""
    every = max(1, -(-len(curve) // (MOST_POINTS - 1)))
    last = (len(curve) - 1) % every if curve else 0
    return [[step, value] for step, value in curve[last::every]]
