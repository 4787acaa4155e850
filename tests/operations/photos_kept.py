"""Photos put into a store without an intake, so that what they are is known to the pixel."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path

from PIL import Image, ImageDraw

from limner import Studio
from limner.settings import Settings
from limner.store.models import BlobRow, PhotoRow
from limner.types import Finding, PhotoReport, Severity, Verdict


def stored(home: Path, kind: str = "pet", name: str = "Rex") -> Studio:
    """A studio with the subject rex."""
    studio = Studio(settings=Settings(home=home, start_worker=False))
    studio.subjects.add("rex", name=name, kind=kind, class_word="dog" if kind == "pet" else "", trigger="rex_dog")
    return studio


def keep(
    studio: Studio,
    slug: str,
    number: int,
    width: int = 320,
    height: int = 320,
    *,
    caption: str = "",
    codes: tuple[str, ...] = (),
    exposure: float | None = None,
    perceptual_hash: str | None = None,
    face: tuple[float, float, float, float] | None = None,
    faces: int | None = None,
) -> str:
    """Store a photo of that size; give its digest. Pictures of different numbers differ in everything measured."""
    image = Image.new("RGB", (width, height), (40 * number % 256, 90, 160))
    ImageDraw.Draw(image).ellipse((width // 3, height // 4, width // 2, height // 2), fill=(250, 20 * number % 256, 30))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    workspace = studio._workspace
    digest = workspace.blobs.put(buffer.getvalue())
    # 64 bits of an odd number's multiples lie far apart.
    bits = perceptual_hash or f"{(number * 0x9E3779B97F4A7C15) % 2**64:016x}"
    report = PhotoReport(
        f"photo-{number}.png",
        Verdict.WARNED if codes else Verdict.ACCEPTED,
        tuple(Finding(code, Severity.WARNING, f"It is {code}.", "Use another.") for code in codes),
        media_type="image/png",
        source_width=width,
        source_height=height,
        exposure=exposure if exposure is not None else 0.2 + 0.05 * number,
        perceptual_hash=bits,
        face=face,
        faces=faces,
    )
    with workspace.database.write() as session:
        session.merge(BlobRow(digest=digest, media_type="image/png", byte_size=len(buffer.getvalue())))
        session.flush()
        session.add(
            PhotoRow(
                subject=slug,
                digest=digest,
                width=width,
                height=height,
                source=f"photo-{number}.png",
                caption=caption,
                caption_from="hand" if caption else "",
                report=asdict(report),
            )
        )
    return digest
