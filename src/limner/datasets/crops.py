"""Crops: the part of a photo that fits its bucket and shows the most of the subject."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from limner.errors import InputRefused
from limner.types import Crop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["check_crop", "choose_crop", "largest_crop", "saliency"]

# Enough to find a subject, and the same work for every photo.
_LOOKED_AT = 160


def largest_crop(width: int, height: int, bucket: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the largest rectangle of the bucket's shape inside width x height, to the nearest pixel."""
    across, down = bucket
    if width * down > height * across:
        return max(1, (2 * height * across + down) // (2 * down)), height
    return width, max(1, (2 * width * down + across) // (2 * across))


def check_crop(crop: Crop, width: int, height: int) -> Crop:
    """Give a crop back if it lies inside a photo of that size; else InputRefused."""
    inside = 0 <= crop.left <= crop.left + crop.width <= width and 0 <= crop.top <= crop.top + crop.height <= height
    if not inside or crop.width < 1 or crop.height < 1:
        raise InputRefused(
            f"The crop {crop.width} x {crop.height} at {crop.left}, {crop.top} is not inside a photo of "
            f"{width} x {height} pixels.",
            remedy="Give left, top, width and height in pixels of the stored photo.",
        )
    return crop


def choose_crop(
    width: int,
    height: int,
    bucket: tuple[int, int],
    *,
    load: Callable[[], Any],
    faces: Sequence[Crop] = (),
    within: Crop | None = None,
) -> Crop:
    """The largest crop of the bucket's shape in a photo, placed over its faces, else over what stands out most.

    ``load`` gives the photo as a pyvips image and is called only if there is a choice. ``within`` limits the crop to a
    rectangle that the user chose, and then its middle is taken. The same pixels give the same crop.
    """
    if within is not None:
        check_crop(within, width, height)
        across, down = largest_crop(within.width, within.height, bucket)
        left = within.left + (within.width - across) // 2
        return Crop(left, within.top + (within.height - down) // 2, across, down)
    across, down = largest_crop(width, height, bucket)
    if (across, down) == (width, height):
        return Crop(0, 0, width, height)
    sideways = across < width
    room = width - across if sideways else height - down
    if faces:
        offset = _over_faces(faces, across if sideways else down, sideways)
    else:
        offset = _over_interest(saliency(load()), across if sideways else down, width if sideways else height, sideways)
    offset = min(max(offset, 0), room)
    return Crop(offset, 0, across, down) if sideways else Crop(0, offset, across, down)


def _over_faces(faces: Sequence[Crop], window: int, sideways: bool) -> int:
    spans = [(f.left, f.left + f.width) if sideways else (f.top, f.top + f.height) for f in faces]
    start, end = min(a for a, _ in spans), max(b for _, b in spans)
    if end - start > window:
        start, end = spans[max(range(len(faces)), key=lambda i: faces[i].width * faces[i].height)]
    # Heads belong in the upper part of a picture, with the shoulders below.
    return (start + end - window) // 2 if sideways else (start + end) // 2 - window * 2 // 5


def _over_interest(interest: NDArray[np.int64], window: int, length: int, sideways: bool) -> int:
    """The offset of the window that holds most of the interest; of equals the one nearest to the middle."""
    import numpy as np

    profile = interest.sum(axis=0 if sideways else 1)
    places = len(profile)
    size = max(1, round(window * places / length))
    sums = np.concatenate([[0], np.cumsum(profile)])
    held = sums[size:] - sums[:-size]
    middle = (places - size) / 2
    best = min(range(len(held)), key=lambda i: (-int(held[i]), abs(i - middle), i))
    return round(best * length / places)


def saliency(image: Any) -> NDArray[np.int64]:
    """How much each place of a pyvips image stands out: whole numbers 0..255, at most 160 places a side.

    What differs in colour from the picture's border, has edges, and is not far from the middle counts.
    """
    import numpy as np
    import pyvips

    small = image.thumbnail_image(_LOOKED_AT, height=_LOOKED_AT, size=pyvips.enums.Size.DOWN)
    lab = small.colourspace("lab").numpy().astype(np.float64)
    height, width = lab.shape[:2]
    edge = max(1, min(height, width) // 16)
    border = np.concatenate([part.reshape(-1, 3) for part in (lab[:edge], lab[-edge:], lab[:, :edge], lab[:, -edge:])])
    # Several colours of the border are kept apart: a picture seldom has one background.
    grey = np.median(border, axis=0)
    split = border[:, 0] > grey[0]
    tones = [np.median(border[half], axis=0) for half in (split, ~split) if half.any()]
    colour = np.min([np.linalg.norm(lab - tone, axis=2) for tone in tones], axis=0)
    edges = np.zeros((height, width))
    edges[1:, :] += np.abs(np.diff(lab[..., 0], axis=0))
    edges[:, 1:] += np.abs(np.diff(lab[..., 0], axis=1))
    across = np.linspace(-1, 1, width) if width > 1 else np.zeros(1)
    down = np.linspace(-1, 1, height) if height > 1 else np.zeros(1)
    centre = np.exp(-(across[None, :] ** 2 + down[:, None] ** 2))
    mixed = (colour + edges) * centre
    top = np.percentile(mixed, 99) or 1.0
    # Whole numbers add up to the same sum in any order.
    result: NDArray[np.int64] = np.clip(mixed / top * 255, 0, 255).astype(np.int64)
    return result
