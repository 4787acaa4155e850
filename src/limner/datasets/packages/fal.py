"""fal's layout: a flat zip of pictures, each with a .txt of the same stem.

Its FLUX.2 trainer fails on a picture without a caption; a stem ending in _mask would be read as a mask.
"""

from __future__ import annotations

from collections.abc import Iterator

from limner.datasets.packages.contents import File, PackageOptions, Picture, captioned
from limner.types import DatasetManifest

__all__ = ["fal_files"]


def fal_files(manifest: DatasetManifest, packed: Iterator[Picture], options: PackageOptions) -> Iterator[File]:
    """The zip's files."""
    del manifest, options
    yield from captioned(packed)
