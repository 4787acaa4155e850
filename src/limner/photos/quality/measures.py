"""What a picture is like, in numbers: sharpness, exposure, clipping, and a thumbnail that tells pictures apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["THUMB", "Measures", "measure", "perceptual_hash", "thumbnail"]

WORKING_SIDE = 512
"""Sharpness is measured with the longest side at this size, so that it does not depend on the picture's."""
THUMB = 32
"""Width and height of the thumbnail, whatever the picture's shape."""
_TILES = 8
_BLACK, _WHITE = 2, 253


@dataclass(frozen=True, slots=True)
class Measures:
    """``sharpest`` is the sharpness of the sharpest tile of 8 x 8: a sharp subject before a soft background is sharp.

    ``dark`` and ``bright`` are the shares of pixels that are pure black or white, ``framed_dark`` and ``framed_bright``
    the same along the border; ``thumb`` is 32 x 32 x 3 bytes.
    """

    sharpness: float
    sharpest: float
    exposure: float
    dark: float
    bright: float
    framed_dark: float
    framed_bright: float
    perceptual_hash: int
    thumb: NDArray[np.uint8]


def measure(image: Any) -> Measures:
    """Look at an upright 8-bit sRGB pyvips image in memory."""
    import numpy as np

    small = _working_copy(image)
    luma = _luma(small.numpy())
    # The second derivative over each pixel's four neighbours.
    edges = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    dark, bright = luma <= _BLACK, luma >= _WHITE
    thumb = _thumb(small)
    return Measures(
        sharpness=round(float(edges.var()), 2),
        sharpest=max(float(tile.var()) for row in np.array_split(edges, _TILES) for tile in _columns(row)),
        exposure=round(float(luma.mean()) / 255, 4),
        dark=float(dark.mean()),
        bright=float(bright.mean()),
        framed_dark=float(_border(dark).mean()),
        framed_bright=float(_border(bright).mean()),
        perceptual_hash=perceptual_hash(thumb),
        thumb=thumb,
    )


def thumbnail(image: Any) -> NDArray[np.uint8]:
    """32 x 32 x 3 bytes that are nearly the same for one picture in any format and size."""
    return _thumb(_working_copy(image))


def _working_copy(image: Any) -> Any:
    scale = WORKING_SIDE / max(image.width, image.height)
    across, down = max(scale, 3 / image.width), max(scale, 3 / image.height)
    # Whole factors are averaged, which is fast, and only the rest is resampled.
    return image.resize(across, vscale=down, gap=1.0, kernel="linear" if scale > 1 else "lanczos3").copy_memory()


def _thumb(working_copy: Any) -> NDArray[np.uint8]:
    import numpy as np

    small = working_copy.resize(THUMB / working_copy.width, vscale=THUMB / working_copy.height, gap=1.0)
    return np.ascontiguousarray(small.numpy(), dtype=np.uint8)


def perceptual_hash(thumb: NDArray[np.uint8]) -> int:
    """64 bits: which of the 8 x 8 lowest waves of the luma, but for the mean, are stronger than half of them."""
    import numpy as np

    waves = _cosines() @ _luma(thumb) @ _cosines().T
    # Rounded, so that a flat picture's noise of 1e-14 does not decide bits.
    low = np.round(waves, 2).ravel()
    bits = low > np.median(low[1:])
    bits[0] = False
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@cache
def _cosines() -> NDArray[np.float64]:
    import numpy as np

    wave, place = np.arange(8)[:, None], np.arange(THUMB)[None, :]
    return np.cos(np.pi * wave * (2 * place + 1) / (2 * THUMB))


def _luma(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    import numpy as np

    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    luma: NDArray[np.float32] = pixels.astype(np.float32) @ weights
    return luma


def _columns(row: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    import numpy as np

    return [tile for tile in np.array_split(row, _TILES, axis=1) if tile.size]


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    import numpy as np

    return np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
