"""Intake, thin: files and folders into upright sRGB photos without metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.types import Finding, Photo, PhotoReport, Progress, Severity, Verdict

__all__ = ["IntakeLimits", "IntakeResult", "KnownPhoto", "Source", "find_sources", "take_in"]


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    max_pixels: int = 200_000_000
    max_zip_bytes: int = 20_000_000_000


@dataclass(frozen=True, slots=True)
class KnownPhoto:
    digest: str
    perceptual_hash: str
    source: str


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class IntakeResult:
    report: PhotoReport
    photo: Photo | None
    file: Path | None


def find_sources(paths: Sequence[str | Path], workdir: Path, limits: IntakeLimits) -> Iterator[Source]:
    for given in paths:
        path = Path(given)
        found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in found:
            if file.suffix.lower() not in (".txt", ".csv", ".jsonl"):
                yield Source(str(file), file)


def take_in(
    sources: Iterable[Source],
    *,
    workdir: Path,
    known: Sequence[KnownPhoto] = (),
    limits: IntakeLimits,
    threads: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[IntakeResult]:
    import pyvips

    for source in sources:
        try:
            image = pyvips.Image.new_from_file(str(source.path), access="sequential").autorot()
            if image.hasalpha():
                image = image.flatten(background=255)
            data = bytes(image.colourspace("srgb").pngsave_buffer(keep="none"))
        except pyvips.Error as failure:
            finding = Finding("unreadable", Severity.REFUSAL, f"It cannot be read: {str(failure).strip()}.")
            yield IntakeResult(PhotoReport(source.name, Verdict.REFUSED, (finding,)), None, None)
            continue
        digest = hashlib.sha256(data).hexdigest()
        report = PhotoReport(source.name, Verdict.ACCEPTED, (), "image/png", image.width, image.height)
        file = workdir / f"{digest}.png"
        file.write_bytes(data)
        yield IntakeResult(report, Photo(digest, "image/png", image.width, image.height, len(data), report), file)
