"""What the studio gives back: frozen copies of what is stored. Times are aware UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from limner.types import (
    BackEnd,
    Budget,
    Consent,
    Crop,
    DatasetManifest,
    Estimate,
    Finding,
    JobState,
    PhotoReport,
    Plan,
    Progress,
    SubjectKind,
    Visibility,
)

__all__ = [
    "Account",
    "Check",
    "Cost",
    "CostSummary",
    "Dataset",
    "DoctorReport",
    "Erasure",
    "Generation",
    "HubEntry",
    "Image",
    "IntakeEntry",
    "Job",
    "Lora",
    "OpenPurchase",
    "PhotoEntry",
    "Publication",
    "Reproduction",
    "Route",
    "RouteStep",
    "StageRun",
    "Subject",
    "Training",
    "Verification",
    "VerifyFinding",
    "WhatIf",
]


@dataclass(frozen=True, slots=True)
class Account:
    """An account at a vendor. ``where`` says where its token was found ("" for nowhere); the token is never shown.

    ``ok`` is None where nobody asked the vendor; ``who`` and ``scope`` are what it answered.
    """

    vendor: str
    title: str
    where: str
    ok: bool | None = None
    who: str = ""
    scope: str = ""
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who or what is learned. ``findings`` are warnings about the slug or trigger when it was just added."""

    slug: str
    name: str
    kind: SubjectKind
    class_word: str
    trigger: str
    created_at: datetime
    photos: int = 0
    loras: int = 0
    consent: Consent | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class PhotoEntry:
    """A photo of a subject, with the caption that it will be trained with (empty: the template's)."""

    digest: str
    subject: str
    width: int
    height: int
    source: str
    caption: str
    caption_from: str
    crop: Crop | None
    report: PhotoReport
    path: Path
    added_at: datetime


@dataclass(frozen=True, slots=True)
class IntakeEntry:
    """What intake said of one source file; ``photo`` is the digest if it was accepted."""

    position: int
    photo: str | None
    report: PhotoReport


@dataclass(frozen=True, slots=True)
class Dataset:
    """A frozen dataset. ``findings`` are what freezing noticed, when it was just frozen."""

    digest: str
    subject: str
    resolution: int
    photos: int
    created_at: datetime
    manifest: DatasetManifest
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Training:
    """One run of a recipe. ``losses`` are (step, loss) pairs; ``lora`` names what it made, such as ``zibbo@v1``.

    ``rates`` are (step, learning rate) pairs as the trainer said them, empty where it says none.
    """

    id: str
    subject: str
    dataset: str
    base: str
    trainer: str
    recipe: Mapping[str, Any]
    state: JobState
    progress: Progress | None
    losses: tuple[tuple[int, float], ...]
    samples: tuple[Path, ...]
    error: Mapping[str, Any] | None
    lora: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    sample_prompts: tuple[str, ...] = ()
    rates: tuple[tuple[int, float], ...] = ()
    findings: tuple[Finding, ...] = ()
    """What its curve says: that it diverged, and what to do."""


@dataclass(frozen=True, slots=True)
class Lora:
    """One version of a subject's weights. ``name`` is how commands refer to it: ``slug@v1``.

    ``step`` is set where it was picked from a checkpoint of ``training``, None where it is what the training ended
    with. ``card`` is what its owner wrote for the model card. ``findings`` are what was said of its file when it came.
    ``original`` is lokr or loha where it came as that, and this is the nearest LoRA; the file as it came is kept.
    """

    name: str
    subject: str
    version: int
    digest: str
    tensor_digest: str
    base: str
    naming: str
    rank: int
    alpha: float
    byte_size: int
    trigger: str
    training: str | None
    header: Mapping[str, str]
    path: Path
    created_at: datetime
    step: int | None = None
    card: str = ""
    findings: tuple[Finding, ...] = ()
    original: str = ""


@dataclass(frozen=True, slots=True)
class Publication:
    """A lora on a hub, at an exact revision."""

    lora: str
    hub: str
    repo: str
    revision: str
    visibility: Visibility
    url: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class HubEntry:
    """A repo of ours on a hub at its newest revision; ``loras`` are those here that have its weights."""

    hub: str
    repo: str
    revision: str
    visibility: Visibility
    weights_digest: str
    tags: tuple[str, ...]
    updated_at: str
    loras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """One picture made; ``generator`` is who drew it."""

    id: int
    generation: str
    position: int
    digest: str
    prompt: str
    seed: int
    width: int
    height: int
    seconds: float
    path: Path
    created_at: datetime
    generator: str = ""
    favourite: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """One request for pictures, and what came of it."""

    id: str
    prompt: str
    base: str
    generator: str
    loras: tuple[Mapping[str, Any], ...]
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    count: int
    state: JobState
    error: Mapping[str, Any] | None
    images: tuple[Image, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StageRun:
    """One stage of a job: its state, how long it took in seconds, and its result."""

    stage: str
    state: JobState
    seconds: float | None
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of durable work. ``result`` holds what its stages made, once it is done.

    ``resumed_as`` is the job that goes on with one that stopped.
    """

    id: str
    kind: str
    subject: str | None
    target: str
    state: JobState
    progress: Progress | None
    stages: tuple[StageRun, ...]
    stage_names: tuple[str, ...]
    result: Mapping[str, Any]
    error: Mapping[str, Any] | None
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    resumed_as: str = ""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What removing a subject or lora erased, and what it could not. A subject's is kept under ``id`` for a while."""

    subject: str
    erased: Mapping[str, int]
    left: tuple[str, ...]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A picture drawn again: whether its pixels are the same, and if not, what differs."""

    image: Image
    equal: bool
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyFinding:
    """Something that does not hold. ``problem`` is damaged, missing or stray; ``used_by`` what depends on it, in words.

    ``what`` is blob, file, folder, database or publication; ``name`` its digest, path or what is said of it.
    """

    problem: str
    what: str
    name: str
    used_by: tuple[str, ...]
    remedy: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What verifying the home found: how many files and bytes were read, and the findings by problem and one by one."""

    job: str
    ended_at: datetime
    files: int
    bytes: int
    counts: Mapping[str, int]
    findings: tuple[VerifyFinding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged or missing; what is stray does no harm."""
        return not any(self.counts.get(problem) for problem in ("damaged", "missing"))


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report. ``state`` is ``ok``, ``missing`` or ``problem``."""

    area: str
    name: str
    state: str
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """What is installed, what would be used, and what is missing and how to get it."""

    version: str
    home: Path
    checks: tuple[Check, ...]
    back_ends: Mapping[str, tuple[BackEnd, ...]]

    @property
    def healthy(self) -> bool:
        """Whether the embedded default works."""
        return all(check.state != "problem" for check in self.checks)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would be done: each back end's plan with its exact requests, and the sum. Nothing was sent that costs."""

    plans: tuple[Plan, ...]
    estimate: Estimate

    @property
    def possible(self) -> bool:
        """Whether nothing stands in the way."""
        return not any(plan.refusals for plan in self.plans)


@dataclass(frozen=True, slots=True)
class Cost:
    """One line of the ledger, in US dollars. ``amount`` is what counts: the actual cost, else the estimate.

    ``state`` is that of the purchase (``waiting``, ``open``, ``answered``, ``settled``, ``refused``, ``undecided``,
    ``dropped``), "" for a line without one; ``tag`` names it.
    """

    at: datetime
    amount: Decimal
    estimated: Decimal | None
    actual: Decimal | None
    vendor: str
    what: str
    model: str
    subject: str
    job: str
    tag: str
    state: str
    note: str


@dataclass(frozen=True, slots=True)
class CostSummary:
    """What was spent, newest line first, in US dollars. ``estimated`` is the part of ``total`` that is no actual cost.

    The sums by day (UTC), vendor and subject are those of the lines given; the budgets are whole.
    """

    entries: tuple[Cost, ...]
    total: Decimal
    estimated: Decimal
    by_day: Mapping[str, Decimal]
    by_vendor: Mapping[str, Decimal]
    by_subject: Mapping[str, Decimal]
    budgets: tuple[Budget, ...]
    undecided: int = 0


@dataclass(frozen=True, slots=True)
class OpenPurchase:
    """Something that is being bought, or may have been. Where ``state`` is ``undecided``, only the user can decide."""

    tag: str
    job: str
    subject: str
    vendor: str
    what: str
    model: str
    estimate: Decimal
    state: str
    reference: str
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RouteStep:
    """One step of a route: ``stage`` is ``train``, ``publish`` or ``generate``. ``seconds`` None: unknown."""

    stage: str
    back_end: str
    title: str
    vendor: str
    model: str
    cost: Decimal
    seconds: float | None
    certain: bool
    ready: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One way from photos to pictures. ``hub`` is "" where none is needed; ``reasons`` say why it does not work here.

    ``possible``: it would work, once the back ends that are not ``ready`` have the accounts and programs they need.
    ``cost`` in US dollars and ``seconds`` are those of one training and ``pictures`` pictures; ``sees_photos`` and
    ``sees_lora`` say who does; ``notes`` what to know before.
    """

    base: str
    trainer: str
    hub: str
    generator: str
    works: bool
    possible: bool
    reasons: tuple[str, ...]
    cost: Decimal
    certain: bool
    seconds: float | None
    sees_photos: str
    sees_lora: str
    steps: tuple[RouteStep, ...]
    pictures: int
    notes: tuple[str, ...] = ()
