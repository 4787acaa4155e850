"""Kohya's layout: a folder of pictures with .txt captions, and the dataset TOML that sd-scripts validates strictly."""

from __future__ import annotations

import json
from collections.abc import Iterator

from limner.datasets.packages.contents import File, PackageOptions, Picture, captioned
from limner.errors import InputRefused
from limner.types import DatasetManifest

__all__ = ["dataset_toml", "kohya_files"]

# The check of sd-scripts' FLUX trainer asks for a multiple of 32, but its parent's comes first, and stops below 64.
BUCKET_STEP = 64


def kohya_files(manifest: DatasetManifest, packed: Iterator[Picture], options: PackageOptions) -> Iterator[File]:
    """The folder's files: ``dataset.toml`` and ``images/``. InputRefused: repeats or batch size is under 1."""
    yield "dataset.toml", dataset_toml(manifest, options).encode()
    yield from captioned(packed, "images/")


def dataset_toml(manifest: DatasetManifest, options: PackageOptions) -> str:
    """The text for ``--dataset_config``, with keys of sd-scripts only; an unknown one would stop the run."""
    if options.batch_size < 1 or options.repeats < 1:
        raise InputRefused(
            f"A batch size of {options.batch_size} with {options.repeats} repeats trains nothing.",
            remedy="Use at least 1 of each.",
        )
    smallest = max(BUCKET_STEP, manifest.resolution // 2 // BUCKET_STEP * BUCKET_STEP)
    largest = -(-manifest.resolution * 2 // BUCKET_STEP) * BUCKET_STEP
    # JSON's escapes are TOML's, but for this one character.
    image_dir = json.dumps(options.image_dir, ensure_ascii=False).replace("\x7f", "\\u007f")
    return (
        "[general]\n"
        'caption_extension = ".txt"\n'
        "enable_bucket = true\n"
        "\n"
        "[[datasets]]\n"
        f"resolution = {manifest.resolution}\n"
        f"batch_size = {options.batch_size}\n"
        f"min_bucket_reso = {smallest}\n"
        f"max_bucket_reso = {largest}\n"
        f"bucket_reso_steps = {BUCKET_STEP}\n"
        "\n"
        "[[datasets.subsets]]\n"
        f"image_dir = {image_dir}\n"
        f"num_repeats = {options.repeats}\n"
    )
