"""What the tests of the trainers share: orders, their dataset folder, and waiting for the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from limner.training.local.trainer import LocalTrainer
from limner.training.trainer import TrainingOrder, TrainingReport
from limner.types import Crop, DatasetItem, DatasetManifest, SubjectFacts, SubjectKind

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


def wait(trainer: LocalTrainer, order: TrainingOrder, seconds: float = 60) -> TrainingReport:
    """Wait for the end of a training; fails with its log after that many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        report = trainer.report(order.run_directory)
        if report.state.ended:
            return report
        time.sleep(0.05)
    raise AssertionError(f"not ended: {report}\n{(order.run_directory / 'log.txt').read_text()}")


def wait_for_step(trainer: LocalTrainer, order: TrainingOrder, step: int, seconds: float = 60) -> TrainingReport:
    """Wait until a training has done that many steps, or ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        report = trainer.report(order.run_directory)
        if report.state.ended or report.progress.done >= step:
            return report
        time.sleep(0.02)
    raise AssertionError(f"step {step} not reached: {report}\n{(order.run_directory / 'log.txt').read_text()}")
