"""Placing: which bucket a photo goes into at a resolution, and which crop of it fills that bucket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from limner.datasets.buckets import best_bucket
from limner.datasets.crops import choose_crop
from limner.types import Crop

__all__ = ["Bucketed", "place", "shape_bucket"]


@dataclass(frozen=True, slots=True)
class Bucketed:
    """A bucket (width, height) of one of the base's resolutions; ``enlarged``: the photo has too few pixels for it."""

    bucket: tuple[int, int]
    resolution: int
    enlarged: bool


def shape_bucket(shape: tuple[int, int], resolution: int, resolutions: Sequence[int]) -> Bucketed:
    """The bucket for a photo, or for the user's crop of it, of that width and height.

    One too small for ``resolution`` goes into a bucket of the largest smaller one of the base that it fills; one too
    small for all is enlarged to the smallest.
    """
    smaller = [size for size in sorted(resolutions, reverse=True) if size <= resolution]
    for size in smaller:
        bucket = best_bucket(*shape, size)
        if _fills(bucket, shape):
            return Bucketed(bucket, size, enlarged=False)
    return Bucketed(best_bucket(*shape, smaller[-1]), smaller[-1], enlarged=True)


def place(
    width: int,
    height: int,
    resolution: int,
    resolutions: Sequence[int],
    *,
    load: Callable[[], Any],
    faces: Sequence[Crop] = (),
    within: Crop | None = None,
) -> tuple[Bucketed, Crop]:
    """The bucket and crop of a photo as freezing takes them. ``load``, ``faces``, ``within`` as for ``choose_crop``."""
    placed = shape_bucket((within.width, within.height) if within else (width, height), resolution, resolutions)
    return placed, choose_crop(width, height, placed.bucket, load=load, faces=faces, within=within)


def _fills(bucket: tuple[int, int], shape: tuple[int, int]) -> bool:
    # A tenth of enlargement does not show; more is better trained at a smaller resolution.
    return all(10 * side <= 11 * there for side, there in zip(bucket, shape, strict=True))
