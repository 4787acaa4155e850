"""What the studio says of a subject's photos as a set: their health, their crops, and changes of many captions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from limner.types import Crop, Finding, Severity
from limner.wire import shows

__all__ = [
    "CaptionChange",
    "CaptionChanges",
    "DatasetHealth",
    "HealthFinding",
    "PhotoShare",
    "ProposedCrop",
]


@shows("count")
@dataclass(frozen=True, slots=True)
class PhotoShare:
    """One group of photos in the health: its name, what that means, and the digests of the photos in it."""

    name: str
    meaning: str
    photos: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many photos are in it."""
        return len(self.photos)


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """One thing noticed of the photos as a set, what to do about it, and the digests of the photos it concerns."""

    code: str
    severity: Severity
    message: str
    remedy: str
    photos: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetHealth:
    """How fit a subject's photos are for a training at ``resolution`` pixels on a base, before they are frozen.

    ``framing`` is None where it was not measured: no detector that finds faces looked at the photos. ``alike`` holds
    groups of photos that look much the same. ``template_caption`` is what ``uncaptioned`` photos get. ``by_photo`` has
    what was noticed of each photo by itself, by digest.
    """

    subject: str
    base: str
    resolution: int
    photos: int
    verdict: str
    template_caption: str = ""
    sizes: tuple[PhotoShare, ...] = ()
    shapes: tuple[PhotoShare, ...] = ()
    framing: tuple[PhotoShare, ...] | None = None
    alike: tuple[tuple[str, ...], ...] = ()
    uncaptioned: tuple[str, ...] = ()
    findings: tuple[HealthFinding, ...] = ()
    by_photo: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)

    @property
    def warnings(self) -> int:
        """How many of the findings are more than a note."""
        return sum(1 for finding in self.findings if finding.severity is not Severity.NOTE)


@dataclass(frozen=True, slots=True)
class ProposedCrop:
    """What freezing would take of a photo: the crop in its pixels, and the bucket (width, height) that it fills.

    ``own`` says that the user chose where it lies; ``resolution`` is that of the bucket, smaller than what was asked
    for where the photo has too few pixels; ``enlarged`` that it has too few even for the smallest.
    """

    photo: str
    crop: Crop
    bucket: tuple[int, int]
    resolution: int
    own: bool
    enlarged: bool


@dataclass(frozen=True, slots=True)
class CaptionChange:
    """One caption before and after a change; empty is the template's."""

    photo: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class CaptionChanges:
    """What a change of many captions does, or did at ``made_at`` (None: not yet). Photos left as they are, left out."""

    subject: str
    changes: tuple[CaptionChange, ...]
    made_at: datetime | None = None
