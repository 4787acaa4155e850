"""The encoded dataset, and the fixed order in which a training sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from limner.errors import WorkFailed
from limner.flux.family import Conditioning, FluxFamily, Grid
from limner.flux.randomness import generator
from limner.types import Base

__all__ = ["EncodedDataset", "Order", "TrainingPicture", "encode_dataset", "read_pixels"]


@dataclass(frozen=True, slots=True)
class TrainingPicture:
    """One picture already rendered at its bucket's size, and its caption."""

    path: Path
    caption: str


@dataclass(frozen=True, slots=True)
class EncodedDataset:
    """Pictures as float32 tokens with their grids, the text row of each, and all texts; row 0 is the empty caption.

    It stays in main memory; ``device`` and ``dtype`` are what a batch is moved to for the transformer.
    """

    pictures: tuple[Tensor, ...]
    grids: tuple[Grid, ...]
    text_rows: tuple[int, ...]
    texts: Conditioning
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    def text_batch(self, rows: Sequence[int]) -> Conditioning:
        """The texts of these text rows, where and as the transformer takes them."""
        return self.texts[rows].to(device=self.device, dtype=self.dtype)


def read_pixels(path: Path) -> Tensor:
    """A picture file as (3, height, width) float32 in -1..1. WorkFailed names a file that cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            values = numpy.asarray(image.convert("RGB"), dtype=numpy.float32)
    except (OSError, ValueError, SyntaxError) as failure:
        raise WorkFailed(
            f"The training picture {path.name} cannot be read: {failure}.",
            remedy="Freeze the dataset again; its folder was changed or damaged.",
            thing=path.name,
        ) from failure
    return torch.from_numpy(values / 127.5 - 1.0).permute(2, 0, 1).contiguous()


def encode_dataset(
    family: FluxFamily,
    pipeline: Any,
    base: Base,
    pictures: Sequence[TrainingPicture],
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> EncodedDataset:
    """Encode every picture and every different caption once, one at a time, so that none depends on its neighbours."""
    captions = list(dict.fromkeys(["", *(picture.caption for picture in pictures)]))
    encoded_texts = (family.encode_text(pipeline, caption, base) for caption in captions)
    texts = Conditioning.stack([text.to(device="cpu", dtype=dtype) for text in encoded_texts])
    tokens: list[Tensor] = []
    grids: list[Grid] = []
    for picture in pictures:
        encoded, grid = family.encode_picture(pipeline, read_pixels(picture.path))
        tokens.append(encoded.float().cpu())
        grids.append(grid)
    rows = tuple(captions.index(picture.caption) for picture in pictures)
    return EncodedDataset(tuple(tokens), tuple(grids), rows, texts, device, dtype)


class Order:
    """Which pictures batch number i holds. Every batch is full and of one size; an epoch sees every picture.

    In each epoch each bucket is shuffled anew; its last batch is filled up with pictures of the same bucket.
    """

    def __init__(self, grids: Sequence[Grid], batch_size: int, seed: int) -> None:
        self.buckets: dict[Grid, list[int]] = {}
        for index, grid in enumerate(grids):
            self.buckets.setdefault(grid, []).append(index)
        self.batch_size = batch_size
        self.seed = seed
        self.batches_an_epoch = sum(-(-len(members) // batch_size) for members in self.buckets.values())
        self._epoch = lru_cache(maxsize=2)(self._plan)

    def batch(self, number: int) -> list[int]:
        """The picture indexes of a batch."""
        epoch, place = divmod(number, self.batches_an_epoch)
        return self._epoch(epoch)[place]

    def _plan(self, epoch: int) -> list[list[int]]:
        chance = generator(self.seed, "order", epoch)
        batches: list[list[int]] = []
        for _, members in sorted(self.buckets.items()):
            needed = -(-len(members) // self.batch_size) * self.batch_size
            row: list[int] = []
            while len(row) < needed:
                row += [members[i] for i in torch.randperm(len(members), generator=chance).tolist()]
            batches += [row[start : start + self.batch_size] for start in range(0, needed, self.batch_size)]
        return [batches[i] for i in torch.randperm(len(batches), generator=chance).tolist()]
