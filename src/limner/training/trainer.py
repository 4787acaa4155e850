"""What a trainer must do, and the plain data it is given and gives back.

A trainer turns (dataset, recipe) into weights, on this machine or far away. The pipeline drives it in one loop:
``start`` (again after every crash), ``poll`` until the state has ended, ``collect``. The order's id is the idempotency
key: however often ``start`` is called for one order, at most one training runs and at most one is paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from limner.training.recipe import Recipe
from limner.types import BackEnd, Base, DatasetManifest, Finding, JobState, Progress, TrainingSample

__all__ = ["Collected", "Trainer", "TrainingOrder", "TrainingReport"]


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """One training to be done.

    ``run_directory`` belongs to this training alone and outlives crashes; ``photo_path`` gives the local file of a
    photo's digest; ``base_path`` is a folder in diffusers layout or a Hub repo id; ``sample_prompts`` have the
    trigger filled in.
    """

    id: str
    run_directory: Path
    manifest: DatasetManifest
    photo_path: Callable[[str], Path]
    recipe: Recipe
    base: Base
    base_path: str
    sample_prompts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """Where a training is. ``error`` and ``remedy`` are set when the state is failed."""

    state: JobState
    progress: Progress
    error: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a training gave: the weights, its checkpoints by step, the samples, and (step, loss) pairs."""

    weights: Path
    checkpoints: tuple[tuple[int, Path], ...] = ()
    samples: tuple[TrainingSample, ...] = ()
    losses: tuple[tuple[int, float], ...] = ()


@runtime_checkable
class Trainer(Protocol):
    """A back end that trains. Registered under the entry point group ``limner.trainers``."""

    def describe(self) -> BackEnd:
        """Say what this trainer is: bases, needs, limits, price. No network, no heavy import."""
        ...

    def check(self, order: TrainingOrder) -> Sequence[Finding]:
        """Look for what would make the training fail, before anything is started or paid."""
        ...

    async def start(self, order: TrainingOrder) -> str:
        """Start the training, or find the one already started for this order; give a reference to it."""
        ...

    async def reopen(self, order: TrainingOrder) -> str:
        """Like ``start``, but a training that was cancelled or failed goes on from its last checkpoint."""
        ...

    async def poll(self, order: TrainingOrder, reference: str) -> TrainingReport:
        """Say where the training is now."""
        ...

    async def cancel(self, order: TrainingOrder, reference: str) -> None:
        """Stop the training cleanly; a checkpoint is kept where the trainer can. Harmless when it has ended."""
        ...

    async def collect(self, order: TrainingOrder, reference: str) -> Collected:
        """Bring the results of an ended training into the run directory."""
        ...
