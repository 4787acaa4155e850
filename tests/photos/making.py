"""Pictures to take in, and the one call that takes them in."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from limner.photos import IntakeLimits, IntakeResult, find_sources, take_in

LIMITS = IntakeLimits()


def picture(seed: int = 0, width: int = 640, height: int = 512) -> Image.Image:
    """Soft coloured patches that differ from seed to seed, with some fine grain, as a photo has."""
    chance = np.random.default_rng(seed)
    patches = Image.fromarray(chance.integers(20, 235, (5, 6, 3), dtype=np.uint8))
    large = np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    grain = chance.integers(-12, 13, (height, width, 1), dtype=np.int16)
    return Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8))


def corners(width: int = 160, height: int = 96) -> Image.Image:
    """Red, green, blue and yellow quarters: which way is up can be told."""
    image = Image.new("RGB", (width, height), (200, 30, 30))
    image.paste((30, 180, 40), (width // 2, 0, width, height // 2))
    image.paste((40, 50, 200), (0, height // 2, width // 2, height))
    image.paste((220, 210, 40), (width // 2, height // 2, width, height))
    return image


def wide_gamut_profile() -> bytes:
    """An ICC profile of a matrix and a curve like Display P3's, by swapping the primaries of lcms's own sRGB."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Display P3's primaries, adapted to D50, as the XYZ of red, green and blue.
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for number in range(int.from_bytes(data[128:132], "big")):
        at = 132 + 12 * number
        xyz = primaries.get(bytes(data[at : at + 4]))
        if xyz:
            place = int.from_bytes(data[at + 4 : at + 8], "big")
            numbers = b"".join(round(value * 65536).to_bytes(4, "big", signed=True) for value in xyz)
            data[place + 8 : place + 20] = numbers
    # The profile's own digest no longer fits; none is allowed.
    data[84:100] = bytes(16)
    return bytes(data)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    if kind == "PNG":
        options = {"compress_level": 1, **options}
    image.save(stream, kind, **options)
    return stream.getvalue()


def take(paths: Sequence[str | Path] | Path, workdir: Path, **options: Any) -> list[IntakeResult]:
    """Take everything in and give all results."""
    workdir.mkdir(exist_ok=True)
    limits = options.pop("limits", LIMITS)
    named = [paths] if isinstance(paths, Path) else paths
    return list(take_in(find_sources(named, workdir, limits), limits=limits, **options))


def take_bytes(data: bytes, folder: Path, name: str = "photo.jpg", **options: Any) -> IntakeResult:
    """Take one file of these bytes in."""
    file = folder / name
    file.write_bytes(data)
    (result,) = take(file, folder / "work", **options)
    return result


def pixels(result: IntakeResult) -> np.ndarray[Any, np.dtype[np.int16]]:
    """The stored photo as signed numbers, so that two can be subtracted."""
    assert result.data is not None, result.report
    with Image.open(io.BytesIO(result.data)) as image:
        assert image.mode == "RGB"
        return np.asarray(image).astype(np.int16)


def codes(result: IntakeResult) -> list[str]:
    return [finding.code for finding in result.report.findings]
