"""What every package is made of: numbered pictures with their captions, as files of a name and bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.datasets.canonical import sha256
from limner.datasets.render import encode_picture, open_photo, render_image
from limner.errors import StorageFailed
from limner.types import Base, DatasetItem, DatasetManifest

__all__ = ["File", "PackageOptions", "Picture", "captioned", "pictures"]

File = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class PackageOptions:
    """What may differ between two packages of one dataset in one layout.

    ``crop`` renders each photo's crop at its bucket's size; else photos are packed whole, as they are stored, and the
    trainer makes its own buckets. ``image_dir`` is the folder of pictures as the trainer's settings name it: relative
    to where the trainer is run, so give the full path to run it elsewhere. ``repeats`` and ``batch_size`` are Kohya's.
    ``recipe`` (plain values) with ``base``, ``name`` and ``sample_prompts`` make an ai-toolkit configuration.
    """

    crop: bool = False
    image_dir: str = "images"
    repeats: int = 1
    batch_size: int = 1
    recipe: Mapping[str, Any] | None = None
    base: Base | None = None
    name: str = ""
    sample_prompts: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a package: a file name such as 001.jpg, and its caption."""

    name: str
    caption: str
    data: bytes


def pictures(
    manifest: DatasetManifest, photo_path: Callable[[str], Path], options: PackageOptions
) -> Iterator[Picture]:
    """The dataset's pictures in order, one in memory at a time, named 001, 002 ... with .jpg or .png.

    StorageFailed: a stored photo is lost or damaged.
    """
    digits = max(3, len(str(len(manifest.items))))
    for number, item in enumerate(manifest.items, start=1):
        extension = ".jpg" if item.media_type == "image/jpeg" else ".png"
        yield Picture(f"{number:0{digits}d}{extension}", item.caption, _bytes(item, photo_path, crop=options.crop))


def _bytes(item: DatasetItem, photo_path: Callable[[str], Path], *, crop: bool) -> bytes:
    if crop:
        return encode_picture(render_image(item, photo_path), item.media_type)
    path = photo_path(item.photo)
    if item.media_type not in ("image/jpeg", "image/png"):
        return encode_picture(open_photo(path, item.width, item.height), item.media_type)
    try:
        data = path.read_bytes()
    except OSError as failure:
        raise _lost(item, failure.strerror or str(failure)) from failure
    if sha256(data) != item.photo:
        raise _lost(item, "its bytes are not those that were frozen")
    return data


def _lost(item: DatasetItem, reason: str) -> StorageFailed:
    return StorageFailed(
        f"The stored photo {item.photo[:12]} cannot be packaged: {reason}.",
        remedy="Add the photo again and freeze the dataset anew.",
        thing=item.photo,
    )


def captioned(packed: Iterator[Picture], folder: str = "") -> Iterator[File]:
    """Each picture, and beside it a .txt of the same stem with its caption and no line end."""
    for picture in packed:
        yield folder + picture.name, picture.data
        yield folder + picture.name.rpartition(".")[0] + ".txt", picture.caption.encode()
