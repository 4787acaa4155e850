"""Datasets made for tests: photos stored by digest, and their manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyvips

from limner.datasets import manifest
from limner.types import DatasetManifest, Finding, Photo, PhotoReport, SubjectFacts, SubjectKind, Verdict

SUBJECT = SubjectFacts("rex", "Rex", SubjectKind.PET, "dog", "rex_dog")
RESOLUTIONS = (128, 192, 256)


@dataclass(frozen=True)
class Frozen:
    """A manifest, the photos and captions that it was made of, and where the photos are."""

    manifest: DatasetManifest
    findings: list[Finding]
    photos: list[Photo]
    captions: dict[str, str]
    folder: Path

    def path(self, digest: str) -> Path:
        return self.folder / digest


def store(image: Any, folder: Path, source: str = "a.jpg", media_type: str = "image/jpeg") -> Photo:
    """Store a pyvips image as intake does: by the digest of its bytes."""
    saved = image.jpegsave_buffer(Q=90) if media_type == "image/jpeg" else image.pngsave_buffer()
    data = bytes(saved)
    digest = hashlib.sha256(data).hexdigest()
    (folder / digest).write_bytes(data)
    report = PhotoReport(source, Verdict.ACCEPTED)
    return Photo(digest, media_type, image.width, image.height, len(data), report)


def subject_at(x: int, y: int, width: int, height: int, side: int = 60) -> Any:
    """A grey picture with a red and white chequered square whose middle is at (x, y)."""
    picture = pyvips.Image.black(width, height, bands=3).linear(1, [120, 125, 130]).cast("uchar")
    squares = (pyvips.Image.black(side, side) + 0).copy()
    xyz = pyvips.Image.xyz(side, side)
    squares = ((xyz[0] / 10).floor() + (xyz[1] / 10).floor()) % 2
    patch = (squares * 255).bandjoin([squares * 30 + 20, squares * 20 + 10]).cast("uchar")
    return picture.insert(patch, x - side // 2, y - side // 2).copy(interpretation="srgb")


def freeze_photos(paths: Sequence[Path], folder: Path) -> Frozen:
    """Freeze real photos, cut to three shapes, at 256 pixels."""
    photos = []
    for number, path in enumerate(paths):
        image = pyvips.Image.thumbnail(str(path), 400)
        width, height = image.width, image.height
        shape = [(width, height), (width, height * 2 // 3), (width * 3 // 5, height)][number % 3]
        media_type = "image/png" if number == 3 else "image/jpeg"
        photos.append(store(image.crop(0, 0, *shape), folder, path.name, media_type))
    captions = {photo.digest: f"rex_dog dog, picture {number} — “süß”" for number, photo in enumerate(photos)}
    frozen, findings = manifest.freeze(
        SUBJECT, photos, captions, photo_path=folder.joinpath, resolution=256, resolutions=RESOLUTIONS
    )
    return Frozen(frozen, findings, photos, captions, folder)
