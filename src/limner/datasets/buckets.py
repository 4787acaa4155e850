"""Buckets: the few picture sizes that photos of any shape are brought to, all of about the same area."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache, lru_cache

from limner.errors import InputRefused

__all__ = ["best_bucket", "buckets", "check_resolution"]

# A bucket much smaller than its resolution would waste the steps trained on it.
_LEAST_AREA = Fraction(4, 5)


@cache
def buckets(
    resolution: int, multiple: int = 16, min_side: int = 0, max_ratio: Fraction | int = 2
) -> tuple[tuple[int, int], ...]:
    """All buckets (width, height) of a resolution, by width: no side under ``min_side``, none over ``max_ratio`` wide.

    Sides are multiples of ``multiple``; the area is at most resolution², so no bucket needs more memory than the
    square, and at least four fifths of it. InputRefused: the resolution is no multiple, or nothing is left.
    """
    if multiple < 1 or resolution < multiple or resolution % multiple:
        raise InputRefused(
            f"The resolution {resolution} is not a multiple of {multiple}.",
            remedy=f"Use {max(multiple, round(resolution / multiple) * multiple)}.",
            thing=str(resolution),
        )
    area = resolution * resolution
    found: set[tuple[int, int]] = set()
    for short in range(multiple, resolution + 1, multiple):
        long = area // short // multiple * multiple
        if min_side <= short and long <= max_ratio * short and short * long >= _LEAST_AREA * area:
            # Both ways, so that a turned photo gets the turned bucket.
            found |= {(short, long), (long, short)}
    if not found:
        raise InputRefused(
            f"No bucket of resolution {resolution} has sides of at least {min_side} pixels.",
            remedy=f"Allow sides of {resolution} pixels.",
            thing=str(resolution),
        )
    return tuple(sorted(found))


# Photos of one camera share their shape, and the health of a set asks for hundreds.
@lru_cache(maxsize=4096)
def best_bucket(
    width: int,
    height: int,
    resolution: int,
    *,
    multiple: int = 16,
    min_side: int = 0,
    max_ratio: Fraction | int = 2,
) -> tuple[int, int]:
    """The bucket whose aspect ratio is nearest to width : height; of two as near, the larger, then the wider."""

    def preference(bucket: tuple[int, int]) -> tuple[Fraction, int, int]:
        ratio = Fraction(width * bucket[1], height * bucket[0])
        return max(ratio, 1 / ratio), -bucket[0] * bucket[1], -bucket[0]

    return min(buckets(resolution, multiple, min_side, max_ratio), key=preference)


def check_resolution(resolution: int, allowed: Sequence[int]) -> int:
    """Give the resolution back if it is allowed; else InputRefused names the nearest that is."""
    if resolution in allowed:
        return resolution
    nearest = min(allowed, key=lambda size: (abs(size - resolution), size))
    raise InputRefused(
        f"The resolution {resolution} is not one of {', '.join(map(str, allowed))}.",
        remedy=f"Use {nearest}.",
        thing=str(resolution),
    )
