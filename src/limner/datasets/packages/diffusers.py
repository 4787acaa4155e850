"""The diffusers layout: an imagefolder as the ``datasets`` library reads it, with captions in metadata.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterator

from limner.datasets.packages.contents import File, PackageOptions, Picture
from limner.types import DatasetManifest

__all__ = ["diffusers_files"]


def diffusers_files(manifest: DatasetManifest, packed: Iterator[Picture], options: PackageOptions) -> Iterator[File]:
    """The folder's files: pictures, and ``metadata.jsonl`` with the columns file_name and text."""
    del manifest, options
    lines: list[str] = []
    for picture in packed:
        yield picture.name, picture.data
        lines.append(json.dumps({"file_name": picture.name, "text": picture.caption}, ensure_ascii=False) + "\n")
    yield "metadata.jsonl", "".join(lines).encode()
