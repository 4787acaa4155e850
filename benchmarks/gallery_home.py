"""A home with tens of thousands of pictures: the rows that drawing leaves, and small real files, made in seconds."""

from __future__ import annotations

import hashlib
import io
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image, ImageDraw
from sqlalchemy import insert

from limner.settings import Settings
from limner.store.models import (
    BlobRow,
    GenerationLoraRow,
    GenerationRow,
    GenerationSubjectRow,
    ImageRow,
    SubjectRow,
)
from limner.studio import Studio

__all__ = ["make_home"]

SIDE = 160
LOOKS = 48
PER_REQUEST = 4
START = datetime(2024, 12, 1, 9, tzinfo=UTC)
SUBJECTS = ("zibbo", "rex", "ann", "ink")
PLACES = ("on the beach", "at night in the rain", "in a garden", "on a red sofa", "in the snow", "by the window")


def make_home(folder: Path, images: int = 20_000) -> Settings:
    """A home with this many pictures of four subjects over two years; its settings. Nothing is synced to the disk."""
    settings = Settings(home=folder)
    looks = [_look(number) for number in range(LOOKS)]
    with Studio(settings=settings) as studio:
        database, blobs = studio._workspace.database, studio._workspace.blobs.folder
        requests = -(-images // PER_REQUEST)
        rows: dict[type, list[dict[str, object]]] = {
            row: [] for row in (BlobRow, GenerationRow, GenerationSubjectRow, GenerationLoraRow, ImageRow)
        }
        for number in range(requests):
            subject = SUBJECTS[number % len(SUBJECTS)]
            name = f"generation_{number:016x}"
            at = START + timedelta(minutes=number * 60 * 24 * 700 / requests)
            lora = f"{subject}@v{1 + number % 3}"
            rows[GenerationRow].append(
                {
                    "id": name,
                    "prompt": f"a photo of {subject} {PLACES[number % len(PLACES)]}, picture {number}",
                    "base": "limner-tiny",
                    "generator": "local",
                    "loras": [{"name": lora, "digest": "0" * 64, "scale": 0.9}],
                    "width": SIDE,
                    "height": SIDE,
                    "steps": 12,
                    "guidance": 3.5,
                    "seed": number * 10,
                    "count": PER_REQUEST,
                    "state": "done",
                    "created_at": at,
                    "error": None,
                    "ended_at": at,
                }
            )
            rows[GenerationSubjectRow].append({"generation": name, "subject": subject})
            rows[GenerationLoraRow].append({"generation": name, "lora": lora})
            for position in range(min(PER_REQUEST, images - number * PER_REQUEST)):
                data = _named(looks[(number * 7 + position) % LOOKS], f"{name} {position}")
                digest = hashlib.sha256(data).hexdigest()
                path = blobs / digest[:2] / digest[2:]
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
                rows[BlobRow].append({"digest": digest, "media_type": "image/png", "byte_size": len(data)})
                rows[ImageRow].append(
                    {
                        "generation": name,
                        "position": position,
                        "digest": digest,
                        "media_type": "image/png",
                        "width": SIDE,
                        "height": SIDE,
                        "seed": number * 10 + position,
                        "seconds": 0.8,
                        "generator": "together" if number % 9 == 0 else "local",
                        "favourite": number % 25 == 0 and position == 0,
                        "created_at": at + timedelta(seconds=position),
                    }
                )
        with database.write() as session:
            session.execute(
                insert(SubjectRow),
                [
                    {"slug": slug, "name": slug.title(), "kind": "character", "class_word": "toy", "trigger": slug}
                    for slug in SUBJECTS
                ],
            )
            for row, values in rows.items():
                session.execute(insert(row), values)
    return settings


def _look(number: int) -> bytes:
    """One of a few dozen plain drawings, as PNG."""
    picture = Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB")
    tint = Image.new("RGB", (SIDE, SIDE), (60 + number * 37 % 190, 60 + number * 61 % 190, 60 + number * 17 % 190))
    picture = Image.blend(picture, tint, 0.7)
    draw = ImageDraw.Draw(picture)
    for k in range(4):
        at, size = (number * 29 + k * 47) % 110, 24 + (number * 13 + k * 31) % 60
        draw.ellipse((at, (number * 17 + k * 53) % 110, at + size, (number * 17 + k * 53) % 110 + size),
                     fill=(number * 41 % 256, k * 70 % 256, 255 - number * 23 % 256))  # fmt: skip
    sink = io.BytesIO()
    picture.save(sink, "PNG")
    return sink.getvalue()


def _named(png: bytes, text: str) -> bytes:
    """The PNG with a text of its own before its end, so that no two pictures have the same bytes."""
    body = b"tEXtComment\0" + text.encode()
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return png[:-12] + chunk + png[-12:]
