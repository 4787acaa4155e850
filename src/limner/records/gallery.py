"""What the gallery gives back: pictures to show, how they were made, and how many there are of what."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path

from limner.records.stored import LoraUsed
from limner.wire import HIDDEN, shows

__all__ = [
    "GalleryChoices",
    "GalleryFilter",
    "GalleryImage",
    "GalleryPage",
    "ImageDetail",
    "MonthCount",
    "StoredPicture",
]


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture's file. The media type is what its first bytes say; ``name`` is safe as a file's name anywhere."""

    digest: str
    media_type: str
    name: str
    path: Path

    @property
    def shown(self) -> bool:
        """Whether a browser may show it as a picture: PNG, JPEG and WebP only."""
        return self.media_type in ("image/png", "image/jpeg", "image/webp")


@dataclass(frozen=True, slots=True)
class GalleryFilter:
    """Which pictures are wanted; what is left empty does not matter. The days are those of ``zone``, both included.

    ``subject`` is a slug, ``lora`` a name such as ``zibbo@v2`` or a slug for all its versions, ``text`` a part of the
    prompt, ``generator`` who drew.
    """

    subject: str = ""
    lora: str = ""
    text: str = ""
    generator: str = ""
    favourite: bool = False
    since: date | None = None
    until: date | None = None
    seed: int | None = None
    zone: tzinfo = UTC

    @property
    def empty(self) -> bool:
        """Whether every picture is wanted."""
        return replace(self, zone=UTC) == GalleryFilter()


@dataclass(frozen=True, slots=True)
class GalleryImage:
    """One picture as a list shows it: enough for its tile, its alternative text and its size."""

    id: int
    generation: str
    position: int
    digest: str
    width: int
    height: int
    prompt: str
    seed: int
    generator: str
    favourite: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class GalleryPage:
    """Pictures, newest first. ``older`` and ``newer`` are cursors, "" where there are none; ``total`` of the filter."""

    images: tuple[GalleryImage, ...]
    total: int
    older: str = ""
    newer: str = ""


@dataclass(frozen=True, slots=True)
class MonthCount:
    """A month (``2026-11``, of the filter's zone) with its number of pictures.

    ``offset`` is how many newer pictures come before; ``cursor`` is that of the page that begins with the month.
    """

    month: str
    count: int
    offset: int
    cursor: str = field(metadata=HIDDEN)


@dataclass(frozen=True, slots=True)
class GalleryChoices:
    """What there is to filter by: slugs, loras and generators that drew at least one picture."""

    subjects: tuple[str, ...]
    loras: tuple[str, ...]
    generators: tuple[str, ...]


@shows("media_type")
@dataclass(frozen=True, slots=True)
class ImageDetail(GalleryImage):
    """A picture with everything that is stored of how it was made.

    ``newer`` and ``older`` are the numbers of its neighbours under the filter that was asked with, None at the ends.
    """

    picture: StoredPicture = field(metadata=HIDDEN)
    base: str
    loras: tuple[LoraUsed, ...]
    subjects: tuple[str, ...]
    steps: int
    guidance: float
    count: int
    seconds: float
    byte_size: int
    newer: int | None = field(default=None, metadata=HIDDEN)
    older: int | None = field(default=None, metadata=HIDDEN)

    @property
    def media_type(self) -> str:
        """What its file's first bytes say."""
        return self.picture.media_type
