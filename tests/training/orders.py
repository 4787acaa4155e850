"""What the tests of the trainers share: orders, their dataset folder, and waiting for the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from limner.training.local.trainer import LocalTrainer
from limner.training.trainer import TrainingOrder, TrainingReport
from limner.types import Crop, DatasetItem, DatasetManifest, SubjectFacts, SubjectKind
from tests.waiting import until

__all__ = ["MakeOrder", "wait", "wait_for_step", "write_dataset"]

MakeOrder = Callable[..., TrainingOrder]


def write_dataset(folder: Path, photos: list[Path]) -> DatasetManifest:
    """Render photos as the pipeline does, in two bucket sizes, and give the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    lines = []
    for number, photo in enumerate(photos):
        width, height = (32, 48) if number % 2 else (32, 32)
        with Image.open(photo) as image:
            image.convert("RGB").resize((width, height)).save(folder / f"{number:03d}.png")
        caption = f"a photo of john_doe, picture {number}"
        row = {"file": f"{number:03d}.png", "caption": caption, "width": width, "height": height, "photo": photo.name}
        lines.append(json.dumps(row))
        crop = Crop(0, 0, width, height)
        items.append(DatasetItem(photo.name, "image/jpeg", width, height, caption, crop, (width, height)))
    (folder / "dataset.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    subject = SubjectFacts("john-doe", "John", SubjectKind.PERSON, "person", "john_doe")
    return DatasetManifest("ab" * 32, subject, 32, tuple(items))


def wait(trainer: LocalTrainer, order: TrainingOrder) -> TrainingReport:
    """Wait for the end of a training."""
    until(lambda: trainer.report(order.run_directory).state.ended)
    return trainer.report(order.run_directory)


def wait_for_step(trainer: LocalTrainer, order: TrainingOrder, step: int) -> None:
    """Wait until a training has done that many steps, or ended."""

    def come() -> bool:
        report = trainer.report(order.run_directory)
        return report.state.ended or report.progress.done >= step

    until(come)
