"""What the studio gives back: frozen copies of what is stored. Times are aware UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from limner.types import (
    BackEnd,
    Consent,
    Crop,
    DatasetManifest,
    Finding,
    JobState,
    PhotoReport,
    Progress,
    SubjectKind,
    Visibility,
)

__all__ = [
    "Check",
    "Dataset",
    "DoctorReport",
    "Erasure",
    "Generation",
    "Image",
    "IntakeEntry",
    "Job",
    "Lora",
    "PhotoEntry",
    "Publication",
    "Reproduction",
    "StageRun",
    "Subject",
    "Training",
]


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
    """One run of a recipe. ``losses`` are (step, loss) pairs; ``lora`` names what it made, such as ``zibbo@v1``."""

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


@dataclass(frozen=True, slots=True)
class Lora:
    """One version of a subject's weights. ``name`` is how commands refer to it: ``slug@v1``."""

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
class Image:
    """One picture made."""

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
    """One piece of durable work. ``result`` holds what its stages made, once it is done."""

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


@dataclass(frozen=True, slots=True)
class Erasure:
    """What removing a subject erased, and what it could not."""

    subject: str
    erased: Mapping[str, int]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A picture drawn again: whether its pixels are the same, and if not, what differs."""

    image: Image
    equal: bool
    differences: tuple[str, ...]


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
