"""What a trainer must do, and the plain data it is given and gives back.

A trainer turns (dataset, recipe) into weights, on this machine or far away. The pipeline drives it in one loop:
``start`` (again after every crash), ``poll`` until the state has ended, ``collect``. The order's id is the idempotency
key: however often ``start`` is called for one order, at most one training runs and at most one is paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Protocol, runtime_checkable

from limner.money.payments import Payments, Unrecorded
from limner.training.recipe import Recipe
from limner.types import (
    BackEnd,
    Base,
    DatasetManifest,
    Estimate,
    Finding,
    JobState,
    Plan,
    Progress,
    TrainingSample,
)

__all__ = ["Artifacts", "Collected", "Trainer", "TrainingOrder", "TrainingReport"]


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """One training to be done.

    ``run_directory`` belongs to this training alone and outlives crashes; ``photo_path`` gives the local file of a
    photo's digest; ``base_path`` is a folder in diffusers layout or a Hub repo id; ``sample_prompts`` have the
    trigger filled in. ``package`` gives the dataset packed in the layout that the trainer declares, the same bytes each
    time. A trainer that costs money starts it through ``payments``. ``webhook_url`` is where a vendor may send word
    that something happened, "" for nowhere.
    """

    id: str
    run_directory: Path
    manifest: DatasetManifest
    photo_path: Callable[[str], Path]
    recipe: Recipe
    base: Base
    base_path: str
    sample_prompts: tuple[str, ...] = ()
    package: Callable[[], Path] | None = None
    payments: Payments = field(default_factory=Unrecorded)
    webhook_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """What a training has given by now, on this machine.

    ``losses`` are (step, loss) pairs, oldest first, where the trainer has them, or the newest of them; ``rates`` the
    same of the learning rate. ``samples`` are in the order of steps and prompts, ``checkpoints`` by step.
    """

    losses: tuple[tuple[int, float], ...] = ()
    rates: tuple[tuple[int, float], ...] = ()
    samples: tuple[TrainingSample, ...] = ()
    checkpoints: tuple[tuple[int, Path], ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingReport(Artifacts):
    """Where a training is. ``error`` and ``remedy`` are set when the state is failed.

    ``poll_after`` is after how many seconds it makes sense to look again; ``log`` the end of the trainer's log.
    """

    state: JobState
    progress: Progress
    error: str = ""
    remedy: str = ""
    poll_after: float = 0.5
    log: str = ""


@dataclass(frozen=True, slots=True)
class Collected(Artifacts):
    """What a training gave in the end: the weights, and all its artifacts.

    The weights may be in any tensor naming; the pipeline converts. ``hosted`` says by vendor under which name the
    vendor itself can draw with them; ``cost`` is what was paid in US dollars if known; ``left_behind`` names what could
    not be deleted at the vendor, such as uploaded photos.
    """

    weights: Path
    hosted: Mapping[str, str] = field(default_factory=dict)
    cost: Decimal | None = None
    left_behind: tuple[str, ...] = ()


@runtime_checkable
class Trainer(Protocol):
    """A back end that trains. Registered under the entry point group ``limner.trainers``.

    It is made once a process, and again when the settings change: one object serves all jobs, users and threads.
    """

    def describe(self) -> BackEnd:
        """Say what this trainer is: bases, needs, limits, price. No network, no heavy import."""
        ...

    def check(self, order: TrainingOrder) -> Sequence[Finding]:
        """Look for what would make the training fail, before anything is started or paid."""
        ...

    def estimate(self, order: TrainingOrder) -> Estimate:
        """What the order will cost and take, by the catalog. No network."""
        ...

    async def plan(self, order: TrainingOrder) -> Plan:
        """Say exactly what would be sent, after free questions to the vendor (is the account good, the model there?).

        Nothing is uploaded, made or paid. The findings include those of ``check``.
        """
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
