"""Rows and small real pictures for tests: as drawing and training leave them, without drawing or training."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from PIL import Image, PngImagePlugin

from limner.store.models import (
    BlobRow,
    DatasetRow,
    GenerationLoraRow,
    GenerationRow,
    GenerationSubjectRow,
    ImageRow,
    PhotoRow,
    SampleRow,
    SubjectRow,
    TrainingRow,
)
from limner.studio import Studio

START = datetime(2026, 9, 14, 12, tzinfo=UTC)


def png(number: int = 0, size: tuple[int, int] = (64, 48), text: str = "") -> bytes:
    """A picture that differs by number, with a text in it."""
    sink = io.BytesIO()
    info = PngImagePlugin.PngInfo()
    if text:
        info.add_text("parameters", text)
    Image.new("RGB", size, (number * 37 % 256, number // 7 % 256, 90)).save(sink, "PNG", pnginfo=info)
    return sink.getvalue()


def keep(studio: Studio, data: bytes, media_type: str = "image/png") -> str:
    """A blob with its row; its digest."""
    workspace = studio._workspace
    digest = workspace.blobs.put(data)
    with workspace.database.write() as session:
        session.merge(BlobRow(digest=digest, media_type=media_type, byte_size=len(data)))
    return digest


def add_subject(studio: Studio, slug: str, owner: str | None = None) -> None:
    with studio._workspace.database.write() as session:
        session.add(
            SubjectRow(
                slug=slug, name=slug.title(), kind="character", class_word="character", trigger=slug, owner=owner
            )
        )


def add_generation(
    studio: Studio,
    name: str,
    *,
    prompt: str = "a photo of zibbo",
    count: int = 1,
    subjects: Sequence[str] = (),
    loras: Sequence[str] = (),
    generator: str = "local",
    seed: int = 7,
    day: int = 0,
    owner: str | None = None,
) -> list[int]:
    """A generation of ``count`` different pictures; the numbers of its images."""
    at = START + timedelta(days=day)
    # Written past the store, which syncs each file: a test has no power to lose.
    stored = []
    for position in range(count):
        data = png(len(name) + position * 7, text=f"{prompt} {name} {position}")
        digest = hashlib.sha256(data).hexdigest()
        path = studio._workspace.blobs.folder / digest[:2] / digest[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        stored.append((digest, len(data)))
    with studio._workspace.database.write() as session:
        session.add(
            GenerationRow(
                id=f"generation_{name}",
                prompt=prompt,
                base="limner-tiny",
                generator=generator,
                loras=[{"name": lora, "digest": "", "scale": 0.8} for lora in loras],
                width=64,
                height=48,
                steps=8,
                guidance=3.5,
                seed=seed,
                count=count,
                state="done",
                owner=owner,
                created_at=at,
            )
        )
        for digest, size in stored:
            session.merge(BlobRow(digest=digest, media_type="image/png", byte_size=size))
        session.flush()
        for subject in subjects:
            session.add(GenerationSubjectRow(generation=f"generation_{name}", subject=subject))
        for lora in loras:
            session.add(GenerationLoraRow(generation=f"generation_{name}", lora=lora))
        images = [
            ImageRow(
                generation=f"generation_{name}",
                position=position,
                digest=digest,
                media_type="image/png",
                width=64,
                height=48,
                seed=seed + position,
                seconds=0.5,
                generator=generator,
                created_at=at,
            )
            for position, (digest, _) in enumerate(stored)
        ]
        session.add_all(images)
        session.flush()
        return [image.id for image in images]


def add_photo(studio: Studio, slug: str, data: bytes) -> str:
    digest = keep(studio, data)
    with studio._workspace.database.write() as session:
        session.add(
            PhotoRow(subject=slug, digest=digest, width=64, height=48, source="a.png", report={"source": "a.png"})
        )
    return digest


def add_sample(studio: Studio, slug: str, training: str, data: bytes, *, step: int = 100, position: int = 0) -> str:
    digest = keep(studio, data)
    with studio._workspace.database.write() as session:
        if session.get(TrainingRow, training) is None:
            dataset = "d" * 64
            session.merge(DatasetRow(digest=dataset, subject=slug, resolution=64, photos=1, manifest={}))
            session.flush()
            session.add(
                TrainingRow(
                    id=training,
                    subject=slug,
                    dataset=dataset,
                    base="limner-tiny",
                    trainer="local",
                    recipe={},
                    sample_prompts=[],
                    state="done",
                )
            )
            session.flush()
        session.add(SampleRow(training=training, step=step, position=position, prompt="a", digest=digest))
    return digest
