"""Photos, what intake said of them, their captions and crops, and the datasets frozen from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from limner.types import Severity, SubjectKind, Verdict
from limner.web.api.schemas.plain import MOST_INT, Answer, Body, Finding, SourceName

__all__ = [
    "CaptionChange",
    "CaptionChanges",
    "CaptionEdit",
    "Captions",
    "Crop",
    "CropWanted",
    "Dataset",
    "DatasetItem",
    "DatasetManifest",
    "Freeze",
    "HealthFinding",
    "IntakeEntry",
    "Layout",
    "Photo",
    "PhotoChange",
    "PhotoHealth",
    "PhotoReport",
    "PhotoShare",
    "ProposedCrop",
    "SubjectFacts",
]

Layout = Literal["replicate", "fal", "kohya", "ai-toolkit", "diffusers"]
Digest = Annotated[str, Field(min_length=6, max_length=64, pattern="^[0-9a-f]{6,64}$")]
Caption = Annotated[str, Field(max_length=5_000)]
MOST_PIXEL = 1_000_000


class Crop(Answer):
    """A rectangle in pixels of the stored photo."""

    left: int
    top: int
    width: int
    height: int


class CropWanted(Body):
    """The part of a photo that is trained on, in its pixels; at least 64 a side."""

    left: StrictInt = Field(ge=0, le=MOST_PIXEL)
    top: StrictInt = Field(ge=0, le=MOST_PIXEL)
    width: StrictInt = Field(ge=64, le=MOST_PIXEL)
    height: StrictInt = Field(ge=64, le=MOST_PIXEL)


class PhotoReport(Answer):
    """What intake found in one file. ``source`` is the name that it came with.

    ``sharpness`` is higher for a sharper photo; ``exposure`` and ``clipped`` go from 0 to 1; ``faces`` is null where
    no detector is installed; ``duplicate_of`` names what it repeats; ``like`` is the photo that it repeats
    or resembles.
    """

    source: SourceName
    verdict: Verdict
    findings: list[Finding] = Field(default_factory=list)
    media_type: str = ""
    source_width: int = 0
    source_height: int = 0
    sharpness: float | None = None
    exposure: float | None = None
    clipped: float | None = None
    perceptual_hash: str = ""
    faces: int | None = None
    duplicate_of: SourceName = ""
    source_digest: str = ""
    face: list[float] | None = None
    like: str = Field(default="", description="The digest of a photo.")


class Photo(Answer):
    """A photo of a subject, with the caption that it will be trained with (empty: the template's)."""

    digest: str
    subject: str
    width: int
    height: int
    source: SourceName
    caption: str = ""
    caption_from: str = ""
    crop: Crop | None = None
    report: PhotoReport
    added_at: datetime


class PhotoChange(Body):
    """What is to be another one of a photo; what is left out stays as it is."""

    caption: str | None = Field(default=None, max_length=5_000, description='"" goes back to the template.')
    crop: CropWanted | None = Field(default=None, description="null leaves the choice to Limner again.")


class IntakeEntry(Answer):
    """What intake said of one file; ``photo`` is the digest of the photo that it became, null if it was refused."""

    position: int
    photo: str | None = None
    report: PhotoReport


class Captions(Body):
    """Captions by the digests of photos; all are taken or none."""

    captions: dict[Digest, Caption] = Field(min_length=1, max_length=2_000)


class CaptionEdit(Body):
    """One change of many captions: find and replace, and words before or after."""

    photos: list[Digest] = Field(default_factory=list, max_length=5_000, description="Only these; all if left out.")
    find: str = Field(default="", max_length=500, description="A text to look for.")
    replace: str = Field(default="", max_length=2_000, description="What stands in its place.")
    match_case: StrictBool = False
    whole_words: StrictBool = False
    prefix: str = Field(default="", max_length=2_000, description="What to put before each that lacks it.")
    suffix: str = Field(default="", max_length=2_000, description="What to put after each that lacks it.")
    fill_empty: StrictBool = Field(default=False, description="Give photos without a caption the template's first.")


class CaptionAnswer(Body):
    """What becomes of captions that came later and differ from those that are there."""

    replace: StrictBool = Field(description="true: take them; false: keep those that are there.")
    photos: list[Digest] = Field(default_factory=list, max_length=5_000, description="Only these; all if left out.")


class CaptionChange(Answer):
    """One caption before and after; empty is the template's."""

    photo: str
    before: str
    after: str


class CaptionChanges(Answer):
    """What a change of many captions does, or did at ``made_at`` (null: not yet). Photos left as they are, left out."""

    subject: str
    changes: list[CaptionChange]
    made_at: datetime | None = None


class PhotoShare(Answer):
    """A group of photos: its name, what that means, and their digests."""

    name: str
    meaning: str
    count: int
    photos: list[str] = Field(default_factory=list)


class HealthFinding(Answer):
    """One thing noticed of the photos as a set, what to do about it, and which photos it concerns."""

    code: str
    severity: Severity
    message: str
    remedy: str = ""
    photos: list[str] = Field(default_factory=list)


class PhotoHealth(Answer):
    """How fit a subject's photos are for a training on a base at ``resolution`` pixels.

    ``framing`` is null where it was not measured; ``alike`` are groups of photos that look much the same.
    """

    subject: str
    base: str
    resolution: int
    photos: int
    verdict: str
    template_caption: str = ""
    sizes: list[PhotoShare] = Field(default_factory=list)
    shapes: list[PhotoShare] = Field(default_factory=list)
    framing: list[PhotoShare] | None = None
    alike: list[list[str]] = Field(default_factory=list)
    uncaptioned: list[str] = Field(default_factory=list)
    findings: list[HealthFinding] = Field(default_factory=list)
    by_photo: dict[str, list[Finding]] = Field(default_factory=dict)


class ProposedCrop(Answer):
    """What freezing would take of a photo: the crop, and the bucket (width, height) that it fills."""

    photo: str
    crop: Crop
    bucket: list[int]
    resolution: int
    own: bool
    enlarged: bool


class Freeze(Body):
    """Which photos to freeze as a dataset, and for what."""

    subject: str = Field(min_length=1, max_length=64)
    base: str = Field(default="", max_length=100, description="The base's id; the setting if left out.")
    resolution: StrictInt | None = Field(default=None, ge=64, le=4_096, description="Pixels; the base's if left out.")
    template: str = Field(default="", max_length=2_000, description="Caption of photos that have none.")
    captioner: str = Field(default="", max_length=100, description="Who captions photos that have none.")
    allow_few: StrictBool = Field(default=False, description="Accept fewer than four photos.")


class SubjectFacts(Answer):
    """A subject as it was when the dataset was frozen."""

    slug: str
    name: str
    kind: SubjectKind
    class_word: str
    trigger: str


class DatasetItem(Answer):
    """One photo of a dataset: its caption as trained, its crop, and its bucket (width, height)."""

    photo: str
    media_type: str
    width: int
    height: int
    caption: str
    crop: Crop
    bucket: list[int]


class DatasetManifest(Answer):
    """What a dataset holds; its digest is the SHA-256 of it."""

    digest: str
    subject: SubjectFacts
    resolution: int
    items: list[DatasetItem]


class Dataset(Answer):
    """A frozen dataset; it never changes. ``findings`` are what freezing noticed, when it was just frozen."""

    digest: str
    subject: str
    resolution: int
    photos: int = Field(le=MOST_INT)
    created_at: datetime
    manifest: DatasetManifest
    findings: list[Finding] = Field(default_factory=list)
