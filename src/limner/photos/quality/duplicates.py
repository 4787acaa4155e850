"""Which picture was there before: the same one in another format or size, or one that is nearly the same.

Of the same pictures the best is kept: the largest, of as large ones the one that lost nothing, then the one of more
bytes. All that were compared are remembered, kept or not, so that the outcome does not hang on their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from limner.photos.quality.measures import thumbnail

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["KnownPhoto", "Likeness", "Match", "Rank", "Seen"]

# Hashes that differ in more bits are not looked at further: of one picture saved twice they differ in 6 at most.
NEAR_BITS = 12
# Without the other picture's pixels only the hash can decide.
SAME_BITS, ALIKE_BITS = 2, 6
# Differences of thumbnails, 0 to 255: on average, and in the place where they differ most.
SAME_MEAN, SAME_MOST = 5.0, 32.0
ALIKE_MEAN = 14.0


@dataclass(frozen=True, slots=True)
class KnownPhoto:
    """A photo that the subject has already; ``file`` holds its stored bytes, where they are at hand.

    ``width`` and ``height`` are those of its file as it came. One that is ``frozen`` in a dataset is not replaced.
    """

    digest: str
    perceptual_hash: str
    source: str
    file: Path | None = None
    width: int = 0
    height: int = 0
    frozen: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """How good a copy of a picture is, to be compared: pixels of its file, whether nothing was lost, its bytes."""

    pixels: int
    lossless: bool = False
    byte_size: int = 0
    digest: str = ""


class Likeness(Enum):
    SAME = "same"
    ALIKE = "alike"


@dataclass(slots=True)
class _Photo:
    digest: str
    source: str
    width: int
    height: int
    rank: Rank
    thumb: NDArray[np.uint8] | None = None
    file: Path | None = None
    known: bool = False
    frozen: bool = False
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Match:
    """A photo that another is like; its size is (0, 0) where it is not known.

    ``frozen`` says that it is smaller than the other and is kept only because a dataset holds it. ``replaces`` names
    the kept photos that are the same and worse: the other one is to take their place.
    """

    likeness: Likeness
    source: str
    digest: str
    size: tuple[int, int]
    frozen: bool = False
    replaces: tuple[str, ...] = ()


class Seen:
    """The photos so far, in order; the first that fits is named, so that the outcome does not hang on chance."""

    def __init__(self, known: Iterable[KnownPhoto] = ()) -> None:
        self._photos: list[_Photo] = []
        self._hashes: list[int] = []
        for one in known:
            rank = Rank(one.width * one.height)
            photo = _Photo(
                one.digest, one.source, one.width, one.height, rank, file=one.file, known=True, frozen=one.frozen
            )
            self._add(photo, _bits(one.perceptual_hash))

    def add(
        self,
        digest: str,
        source: str,
        size: tuple[int, int],
        rank: Rank,
        bits: int,
        thumb: NDArray[np.uint8],
        *,
        kept: bool = True,
    ) -> None:
        """Remember a photo that was compared, and whether it was kept."""
        self._add(_Photo(digest, source, *size, rank, thumb=thumb, kept=kept), bits)

    def _add(self, photo: _Photo, bits: int | None) -> None:
        self._photos.append(photo)
        # A hash that is not there is near to none.
        self._hashes.append(-1 if bits is None else bits)

    def find(self, digest: str, rank: Rank, bits: int, thumb: NDArray[np.uint8]) -> Match | None:
        """What a photo is the same as: the best that is better, or those that are worse; else the first it is like."""
        same: list[_Photo] = []
        alike: _Photo | None = None
        for number, other in enumerate(self._hashes):
            photo = self._photos[number]
            if photo.digest == digest:
                same.append(photo)
                continue
            distance = (other ^ bits).bit_count() if other >= 0 else 65
            if distance > NEAR_BITS:
                continue
            likeness = self._compare(photo, distance, thumb)
            if likeness is Likeness.SAME:
                same.append(photo)
            elif likeness and photo.kept:
                alike = alike or photo
        stand = [photo for photo in same if photo.frozen or not _beats(digest, rank, photo)]
        if stand:
            # The one that is there in the end is named, if there is one.
            best = max(stand, key=lambda photo: (photo.kept, photo.rank))
            return _match(Likeness.SAME, best, frozen=_beats(digest, rank, best))
        worse = [photo for photo in same if photo.kept]
        for photo in worse:
            photo.kept = False
        if worse:
            return _match(Likeness.SAME, worse[0], replaces=tuple(dict.fromkeys(photo.digest for photo in worse)))
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


def _match(likeness: Likeness, photo: _Photo, *, frozen: bool = False, replaces: tuple[str, ...] = ()) -> Match:
    return Match(likeness, photo.source, photo.digest, (photo.width, photo.height), frozen, replaces)


def _beats(digest: str, rank: Rank, photo: _Photo) -> bool:
    """Whether a photo of that rank is better; what the subject has gives way to a larger one only."""
    if photo.digest == digest:
        return False
    if photo.known:
        return 0 < photo.rank.pixels < rank.pixels
    return rank > photo.rank


def _bits(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None


def _thumb_of(file: Path) -> NDArray[np.uint8] | None:
    from limner.photos.reading.decoding import vips

    try:
        return thumbnail(vips().Image.new_from_file(str(file), access="sequential"))
    except vips().Error:
        return None
