"""Replicate's layout: a flat zip of pictures, each with a .txt of the same stem.

Its trainer reads captions at the top level only, pairs them by stem, and knows no HEIC.
"""

from __future__ import annotations

from collections.abc import Iterator

from limner.datasets.packages.contents import File, PackageOptions, Picture, captioned
from limner.types import DatasetManifest

__all__ = ["replicate_files"]


def replicate_files(manifest: DatasetManifest, packed: Iterator[Picture], options: PackageOptions) -> Iterator[File]:
    """The zip's files."""
    del manifest, options
    yield from captioned(packed)
