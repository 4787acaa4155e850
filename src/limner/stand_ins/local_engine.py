"""The engine that works for real: trains and draws on this machine with the local engine."""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.catalog.bases import base_location, find_base
from limner.errors import LoraRefused
from limner.types import Base

__all__ = ["LocalEngine"]


class LocalEngine:
    """Trains loras and draws pictures, one of each at a time. ``base_paths`` are folders of bases, by base id.

    Loras and checkpoints live in ``folder`` while they are needed.
    """

    def __init__(self, folder: Path, *, base_paths: Mapping[str, Path] | None = None) -> None:
        self.folder = folder
        self.base_paths = dict(base_paths or {})
        self._training = threading.Lock()
        self._drawing = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def train(
        self,
        base: str,
        photos: Sequence[tuple[str, bytes, str]],
        *,
        steps: int,
        rank: int,
        learning_rate: float,
        seed: int,
        on_step: Callable[[int, float], None],
        cancelled: Callable[[], bool],
    ) -> bytes:
        """See ``Engine.train``. Every linear layer of the blocks is trained, on pictures of the base's usual size."""
        row = find_base(base)
        with self._training, tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            return _trained(
                row,
                base_location(row, self.base_paths),
                _prepared(Path(temporary), photos, row),
                Path(temporary),
                {"steps": steps, "rank": rank, "alpha": float(rank), "learning_rate": learning_rate, "seed": seed},
                on_step,
                cancelled,
            )

    def draw(
        self,
        base: str,
        prompt: str,
        *,
        loras: Sequence[tuple[bytes, float]],
        width: int,
        height: int,
        steps: int,
        guidance: float,
        seed: int,
    ) -> bytes:
        """See ``Engine.draw``."""
        from limner.flux.sampling import draw, kept_pipeline

        row = find_base(base)
        with self._drawing:
            picture = draw(
                kept_pipeline(base_location(row, self.base_paths), row, device="cpu"),
                row,
                prompt,
                width=width,
                height=height,
                steps=steps,
                guidance=guidance,
                seed=seed,
                loras=[(self._kept(data), scale) for data, scale in loras],
            )
        out = io.BytesIO()
        picture.save(out, format="PNG")
        return out.getvalue()

    def _kept(self, data: bytes) -> Path:
        """A lora as a file, named by its digest, so that it stays mounted from one picture to the next."""
        if len(data) < 9 or data[8:9] != b"{":
            raise LoraRefused("The lora is no safetensors file.", remedy="Give a whole safetensors file.")
        path = self.folder / f"{hashlib.sha256(data).hexdigest()}.safetensors"
        if not path.is_file():
            path.write_bytes(data)
        return path


def _prepared(folder: Path, photos: Sequence[tuple[str, bytes, str]], base: Base) -> list[tuple[Path, str]]:
    """Photos as files of about the base's usual area, their sides multiples of what the base takes, and captions."""
    from PIL import Image, ImageOps

    prepared = []
    for number, (_, data, caption) in enumerate(photos):
        path = folder / f"{number}.png"
        with Image.open(io.BytesIO(data)) as image:
            stretch = base.size / (image.width * image.height) ** 0.5
            width, height = (
                min(base.size_max, max(base.size_min, round(side * stretch / base.size_multiple) * base.size_multiple))
                for side in image.size
            )
            ImageOps.fit(image.convert("RGB"), (width, height)).save(path)
        prepared.append((path, caption))
    return prepared


def _trained(
    base: Base,
    location: str,
    photos: Sequence[tuple[Path, str]],
    folder: Path,
    settings: Mapping[str, Any],
    on_step: Callable[[int, float], None],
    cancelled: Callable[[], bool],
) -> bytes:
    import torch

    from limner.flux.adapter import Adapter, layer_shapes
    from limner.flux.batches import TrainingPicture, encode_dataset
    from limner.flux.checkpoint import Checkpoints
    from limner.flux.families import family_of
    from limner.flux.family import match_modules
    from limner.flux.loading import load_pipeline
    from limner.flux.loop import train, write_lora
    from limner.training.recipe import Recipe

    recipe = Recipe(base.id, batch_size=min(8, len(photos)), schedule="linear", checkpoint_every=0, **settings)
    family = family_of(base)
    pipeline = load_pipeline(location, base)
    data = encode_dataset(family, pipeline, base, [TrainingPicture(path, caption) for path, caption in photos])
    names = match_modules(family, pipeline.transformer, recipe.target_layers)
    shapes = layer_shapes(names, recipe.rank, recipe.alpha)
    adapter = Adapter(pipeline.transformer, shapes, seed=recipe.seed)
    tensors = train(
        family,
        adapter,
        data,
        recipe,
        Checkpoints(folder / "checkpoints", "stand-in", {}),
        on_step=lambda report: on_step(report.step, report.loss),
        should_stop=cancelled,
    )
    made = folder / "lora.safetensors"
    write_lora(made, tensors, torch.float16, {"lora_adapter_metadata": adapter.metadata()})
    return made.read_bytes()
