"""What a training gives while it runs: checkpoints, samples, curves and its log, kept as they come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from limner.operations.home import blob_erasure
from limner.operations.home.workspace import Workspace
from limner.store.models import CheckpointRow, CurvePointRow, SampleRow
from limner.training.trainer import TrainingReport
from limner.types import TrainingSample
from limner.vendors.secrets.redaction import redact

__all__ = ["MOST_POINTS", "Arrivals", "Curves", "add_rows", "curve_of", "log_file", "positions"]

MOST_POINTS = 2000
"""Points of a curve that are kept, so that each is shown; of a longer training every second one, or fewer."""
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
        digests = {path: blobs.put(path) for path in paths if path.is_file()}
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
        blob_erasure.add_blob(session, workspace, digests[path], "application/safetensors", path)
        session.execute(
            insert(CheckpointRow).values(training=training, step=step, digest=digests[path]).on_conflict_do_nothing()
        )
    for position, sample in samples:
        blob_erasure.add_blob(session, workspace, digests[sample.path], "image/png", sample.path)
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


def curve_of(session: Session, training: str, curve: str) -> list[tuple[int, float]]:
    """The points of a training's ``loss`` or ``rate``, by step."""
    query = select(CurvePointRow.step, CurvePointRow.value).order_by(CurvePointRow.step)
    rows = session.execute(query.where(CurvePointRow.training == training, CurvePointRow.curve == curve))
    return [(step, math.nan if value is None else value) for step, value in rows]


class Curves:
    """The curves of one training. Of what a report says only what is new is written."""

    def __init__(self, session: Session, training: str) -> None:
        self._training = training
        self._known = {curve: dict(curve_of(session, training, curve)) for curve in ("loss", "rate")}

    def keep(self, session: Session, curve: str, points: Curve, steps: int) -> None:
        """Write newest points of a training of so many steps. What was known from the first of them on gives way:
        it is of a run that was taken up at an earlier checkpoint.
        """
        if not points:
            return
        known, newest = self._known[curve], dict(points)
        rows = CurvePointRow.training == self._training, CurvePointRow.curve == curve
        gone = [step for step in known if step >= points[0][0] and known[step] != newest.get(step)]
        for some in blob_erasure.portions(gone):
            session.execute(delete(CurvePointRow).where(*rows, CurvePointRow.step.in_(some)))
        for step in gone:
            del known[step]
        every = max(1, -(-steps // MOST_POINTS))
        taken = {step // every for step in known}
        fresh = {}
        for step, value in newest.items():
            if step not in known and (step // every not in taken or step == steps):
                taken.add(step // every)
                fresh[step] = value
        if fresh:
            values = [{"training": self._training, "curve": curve, "step": at, "value": fresh[at]} for at in fresh]
            session.execute(insert(CurvePointRow), values)
            known |= fresh
