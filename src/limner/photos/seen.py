"""Which picture was there before: the same one in another format or size, or one that is nearly the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from limner.photos.measures import thumbnail

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["KnownPhoto", "Likeness", "Match", "Seen"]

# Hashes that differ in more bits are not looked at further: of one picture saved twice they differ in 6 at most.
NEAR_BITS = 12
# Without the other picture's pixels only the hash can decide.
SAME_BITS, ALIKE_BITS = 2, 6
# Differences of thumbnails, 0 to 255: on average, and in the place where they differ most.
SAME_MEAN, SAME_MOST = 5.0, 32.0
ALIKE_MEAN = 14.0


@dataclass(frozen=True, slots=True)
class KnownPhoto:
    """A photo that the subject has already; ``file`` holds its stored bytes, where they are at hand."""

    digest: str
    perceptual_hash: str
    source: str
    file: Path | None = None


class Likeness(Enum):
    SAME = "same"
    ALIKE = "alike"


@dataclass(slots=True)
class _Photo:
    digest: str
    source: str
    width: int
    height: int
    thumb: NDArray[np.uint8] | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A photo that another is like; its size is (0, 0) where it is not known."""

    likeness: Likeness
    source: str
    digest: str
    size: tuple[int, int]


def _match(likeness: Likeness, photo: _Photo) -> Match:
    return Match(likeness, photo.source, photo.digest, (photo.width, photo.height))


class Seen:
    """The photos so far, in order; the first that fits is named, so that the outcome does not hang on chance."""

    def __init__(self, known: Iterable[KnownPhoto] = ()) -> None:
        self._photos: list[_Photo] = []
        self._hashes: list[int] = []
        self._digests: dict[str, int] = {}
        for photo in known:
            self._add(_Photo(photo.digest, photo.source, 0, 0, file=photo.file), _bits(photo.perceptual_hash))

    def add(self, digest: str, source: str, size: tuple[int, int], bits: int, thumb: NDArray[np.uint8]) -> None:
        """Remember an accepted photo."""
        self._add(_Photo(digest, source, *size, thumb=thumb), bits)

    def _add(self, photo: _Photo, bits: int | None) -> None:
        self._digests.setdefault(photo.digest, len(self._photos))
        self._photos.append(photo)
        # A hash that is not there is near to none.
        self._hashes.append(-1 if bits is None else bits)

    def find(self, digest: str, bits: int, thumb: NDArray[np.uint8]) -> Match | None:
        """The first photo that is the same, else the first that is alike."""
        if digest in self._digests:
            return _match(Likeness.SAME, self._photos[self._digests[digest]])
        alike: _Photo | None = None
        for number, other in enumerate(self._hashes):
            distance = (other ^ bits).bit_count() if other >= 0 else 65
            if distance > NEAR_BITS:
                continue
            photo = self._photos[number]
            likeness = self._compare(photo, distance, thumb)
            if likeness is Likeness.SAME:
                return _match(likeness, photo)
            alike = alike or (photo if likeness else None)
        return _match(Likeness.ALIKE, alike) if alike else None

    def _compare(self, photo: _Photo, distance: int, thumb: NDArray[np.uint8]) -> Likeness | None:
        if photo.thumb is None and photo.file is not None:
            photo.thumb, photo.file = _thumb_of(photo.file), None
        if photo.thumb is None:
            return Likeness.SAME if distance <= SAME_BITS else Likeness.ALIKE if distance <= ALIKE_BITS else None
        difference = abs(photo.thumb.astype(float) - thumb)
        mean = float(difference.mean())
        if mean <= SAME_MEAN and float(difference.max()) <= SAME_MOST:
            return Likeness.SAME
        return Likeness.ALIKE if mean <= ALIKE_MEAN else None


def _bits(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None


def _thumb_of(file: Path) -> NDArray[np.uint8] | None:
    from limner.photos.decoding import vips

    try:
        return thumbnail(vips().Image.new_from_file(str(file), access="sequential"))
    except vips().Error:
        return None
