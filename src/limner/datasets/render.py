"""Rendering: a dataset's photos cropped and brought to the size of their buckets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.datasets.staging import staged_folder
from limner.errors import StorageFailed
from limner.types import DatasetItem, DatasetManifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DATASET_FILE", "encode_picture", "open_photo", "render", "render_image", "write_rendered"]

DATASET_FILE = "dataset.jsonl"
JPEG_QUALITY = 95


def open_photo(path: Path, width: int, height: int) -> Any:
    """A stored photo as a pyvips image, 8-bit sRGB with three bands.

    StorageFailed: the file is missing or damaged, or does not have the size that was recorded.
    """
    import pyvips

    try:
        # From bytes, because libvips keeps what it once read from a path.
        image = pyvips.Image.new_from_buffer(path.read_bytes(), "", fail_on="truncated")
        if image.hasalpha():
            image = image.flatten(background=255)
        image = image.colourspace("srgb").cast("uchar").copy_memory()
    except OSError as failure:
        raise _lost(path, failure.strerror or str(failure)) from failure
    except pyvips.Error as failure:
        raise _lost(path, str(failure).strip().splitlines()[0]) from failure
    if (image.width, image.height, image.bands) != (width, height, 3):
        raise _lost(path, f"it has {image.width} x {image.height} pixels, not {width} x {height}")
    return image


def _lost(path: Path, reason: str) -> StorageFailed:
    return StorageFailed(
        f"The stored photo {path.name} cannot be used: {reason}.",
        remedy="Add the photo again and freeze the dataset anew.",
        thing=path.name,
    )


def render_image(item: DatasetItem, photo_path: Callable[[str], Path]) -> Any:
    """The item's crop at its bucket's size, as a pyvips image."""
    crop = item.crop
    image = open_photo(photo_path(item.photo), item.width, item.height)
    part = image.crop(crop.left, crop.top, crop.width, crop.height)
    return part.thumbnail_image(item.bucket[0], height=item.bucket[1], size="force")


def render(item: DatasetItem, photo_path: Callable[[str], Path]) -> NDArray[np.uint8]:
    """The item's crop at its bucket's size, as a uint8 array (height, width, 3) in sRGB."""
    pixels: NDArray[np.uint8] = render_image(item, photo_path).numpy()
    return pixels


def encode_picture(image: Any, media_type: str) -> bytes:
    """A pyvips image as JPEG (quality 95, 4:4:4) or, for any other type, as PNG; without metadata."""
    if media_type == "image/jpeg":
        data = image.jpegsave_buffer(Q=JPEG_QUALITY, subsample_mode="off", optimize_coding=True, keep="none")
    else:
        data = image.pngsave_buffer(compression=6, keep="none")
    return bytes(data)


def write_rendered(
    manifest: DatasetManifest, photo_path: Callable[[str], Path], folder: Path
) -> list[tuple[Path, str]]:
    """Write what the local trainer reads: ``0000.png`` ... and ``dataset.jsonl``, in the manifest's order.

    A line of ``dataset.jsonl`` is an object with file, caption, width, height and photo (the digest). The folder
    appears whole or not at all, and what was there before is replaced. Gives (picture, caption) pairs.
    StorageFailed: the disk is full, or a stored photo is lost.
    """
    written: list[tuple[Path, str]] = []
    with staged_folder(folder, replace=True) as partial:
        lines: list[str] = []
        for number, item in enumerate(manifest.items):
            name = f"{number:04d}.png"
            (partial / name).write_bytes(encode_picture(render_image(item, photo_path), "image/png"))
            row = {"file": name, "caption": item.caption, "width": item.bucket[0], "height": item.bucket[1]}
            lines.append(json.dumps({**row, "photo": item.photo}, ensure_ascii=False) + "\n")
            written.append((folder / name, item.caption))
        (partial / DATASET_FILE).write_text("".join(lines), encoding="utf-8", newline="\n")
    return written
