"""Intake: photos on all cores, results in the order of their sources, and never more than a few of them at once."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import LimnerError
from limner.photos.quality import checks
from limner.photos.quality.duplicates import KnownPhoto, Likeness, Rank, Seen
from limner.photos.quality.faces import FaceDetector, look_for_faces
from limner.photos.reading.limits import IntakeLimits
from limner.photos.reading.own_captions import own_caption
from limner.photos.reading.refusals import Refusal, refusal
from limner.photos.reading.sources import Source, find_sources
from limner.types import Finding, Photo, PhotoReport, Progress, Verdict

if TYPE_CHECKING:
    from limner.photos.quality.measures import Measures
    from limner.photos.reading.decoding import DecodingRoom
    from limner.photos.storing import Stored

__all__ = ["IntakeLimits", "IntakeResult", "KnownPhoto", "Outdone", "Source", "find_sources", "take_in"]

log = logging.getLogger(__name__)

AHEAD = 2
"""How many photos a thread may have under way or finished but not yet given out."""
PIXELS_HELD = 60_000_000
"""How many pixels of formats that cannot be streamed are held at once, by all threads together."""


@dataclass(frozen=True, slots=True)
class Outdone:
    """A photo whose place a better copy takes. ``report`` is what is now said of it, None if the subject had it."""

    digest: str
    report: PhotoReport | None


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """One source's report and, if it was not refused, its photo and the file with the photo's bytes.

    ``outdone`` are photos accepted before it that are the same picture: the caller lets go of them. ``caption`` is what
    the file's own metadata says, if it was asked for.
    """

    report: PhotoReport
    photo: Photo | None
    file: Path | None
    outdone: tuple[Outdone, ...] = ()
    caption: str = ""


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a thread made of one source, before it is compared with the others."""

    report: PhotoReport
    stored: Stored | None = None
    measures: Measures | None = None
    size: tuple[int, int] = (0, 0)
    rank: Rank | None = None
    caption: str = ""


def take_in(
    sources: Iterable[Source],
    *,
    workdir: Path,
    known: Sequence[KnownPhoto] = (),
    limits: IntakeLimits,
    threads: int = 0,
    detector: FaceDetector | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    captions: bool = False,
) -> Iterator[IntakeResult]:
    """Decode, check, normalise and store each source; give the results in the order of the sources.

    Files appear in ``workdir``; the caller moves or deletes them. The same sources give the same results for any number
    of ``threads`` (0: one a core). Of photos that are the same, also as one of ``known``, the best is kept: a worse one
    is refused, and a better one that comes later names those whose place it takes.
    Ends early once ``cancelled`` says so. With ``captions`` the files' own metadata is looked at for them.
    StorageFailed: the disk is full; results before that were given out.
    """
    total = len(sources) if isinstance(sources, Sized) else 0
    count = threads or _cores()
    progress = _Pace(total, on_progress)
    settling = _Settling(known)
    looker = _Looker(workdir, limits, detector, captions=captions)
    waiting: deque[tuple[Source, Future[_Looked]]] = deque()
    stop = cancelled or (lambda: False)
    with ThreadPoolExecutor(count, thread_name_prefix="intake") as pool:
        coming = enumerate(sources)
        failure: LimnerError | None = None
        ended = False
        try:
            while not stop():
                while not ended and len(waiting) < count * AHEAD:
                    try:
                        number, source = next(coming)
                    except StopIteration:
                        ended = True
                    except LimnerError as caught:
                        # What was begun before a zip could not be unpacked is still given out.
                        ended, failure = True, caught
                    else:
                        waiting.append((source, pool.submit(looker.look, source, number)))
                if not waiting:
                    break
                result = settling.settle(waiting.popleft()[1].result())
                progress.another(result.report.source)
                yield result
            if failure and not waiting:
                raise failure
        finally:
            _abandon(waiting)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _abandon(waiting: Iterable[tuple[Source, Future[_Looked]]]) -> None:
    """Let what is under way come to its end, and delete all files: nobody else will."""
    under_way = []
    for source, future in waiting:
        if not future.cancel():
            under_way.append(future)
        elif source.temporary:
            source.path.unlink(missing_ok=True)
    for future in under_way:
        if future.exception() is None and (stored := future.result().stored):
            stored.file.unlink(missing_ok=True)


class _Looker:
    """What a thread does with one source: everything that does not depend on the other sources."""

    def __init__(
        self, workdir: Path, limits: IntakeLimits, detector: FaceDetector | None, *, captions: bool = False
    ) -> None:
        from limner.photos.reading.decoding import DecodingRoom

        self._workdir = workdir
        self._limits = limits
        self._detector = detector
        self._captions = captions
        self._detecting = threading.Lock()
        self._room: DecodingRoom = DecodingRoom(PIXELS_HELD)

    def look(self, source: Source, number: int) -> _Looked:
        """Never raises for what the file holds; StorageFailed if its photo cannot be written."""
        try:
            if source.refusal:
                return _refused(source, source.refusal)
            return self._look(source, self._workdir / f"photo-{number:06}")
        except Refusal as refused:
            return _refused(source, refused.finding)
        except LimnerError:
            raise
        except Exception as failure:
            log.exception("%s could not be taken in", source.name)
            why = f"It cannot be taken in: {type(failure).__name__}."
            return _refused(source, refusal("unreadable", why, "Save it again as JPEG or PNG.").finding)
        finally:
            if source.temporary:
                source.path.unlink(missing_ok=True)

    def _look(self, source: Source, stem: Path) -> _Looked:
        from limner.photos.quality.measures import measure
        from limner.photos.reading.decoding import decode
        from limner.photos.storing import store

        picture = decode(source.path, source.name, self._limits, self._room)
        measures = measure(picture.image)
        faces, face = self._faces(picture.image, source.name)
        findings = [*picture.findings, *checks.check(picture.width, picture.height, measures, faces, self._limits)]
        report = PhotoReport(
            source=source.name,
            verdict=checks.verdict(findings),
            findings=tuple(findings),
            media_type=picture.kind.value,
            source_width=picture.width,
            source_height=picture.height,
            sharpness=measures.sharpness,
            exposure=measures.exposure,
            clipped=round(measures.dark + measures.bright, 4),
            perceptual_hash=f"{measures.perceptual_hash:016x}",
            faces=faces,
            face=face,
        )
        stored = store(picture, stem)
        rank = Rank(picture.width * picture.height, picture.lossless, source.path.stat().st_size, stored.digest)
        caption = own_caption(source.path) if self._captions else ""
        return _Looked(report, stored, measures, (picture.image.width, picture.image.height), rank, caption)

    def _faces(self, image: Any, name: str) -> tuple[int | None, tuple[float, float, float, float] | None]:
        if self._detector is None:
            return None, None
        try:
            with self._detecting:
                return look_for_faces(self._detector, image.numpy())
        except Exception:
            log.exception("the face detector failed on %s", name)
            return None, None


def _refused(source: Source, finding: Finding) -> _Looked:
    return _Looked(PhotoReport(source.name, Verdict.REFUSED, (finding,)))


class _Settling:
    """Compares each photo with those before it and says what becomes of it and of them."""

    def __init__(self, known: Sequence[KnownPhoto]) -> None:
        self._seen = Seen(known)
        self._accepted: dict[str, PhotoReport] = {}

    def settle(self, looked: _Looked) -> IntakeResult:
        report, stored, measures, rank = looked.report, looked.stored, looked.measures, looked.rank
        if stored is None or measures is None or rank is None:
            return IntakeResult(report, None, None)
        size = (report.source_width, report.source_height)
        match = self._seen.find(stored.digest, rank, measures.perceptual_hash, measures.thumb)
        if match:
            findings = (*report.findings, checks.compare(match, size))
            repeats = match.likeness is Likeness.SAME and not match.replaces
            report = replace(
                report,
                findings=findings,
                verdict=checks.verdict(findings),
                duplicate_of=match.source if repeats else "",
                like="" if match.replaces else match.digest,
            )
        kept = report.verdict is not Verdict.REFUSED
        self._seen.add(stored.digest, report.source, size, rank, measures.perceptual_hash, measures.thumb, kept=kept)
        if not kept:
            stored.file.unlink(missing_ok=True)
            return IntakeResult(report, None, None, caption=looked.caption)
        outdone = tuple(self._outdone(one, report, stored.digest) for one in match.replaces) if match else ()
        self._accepted[stored.digest] = report
        photo = Photo(stored.digest, stored.media_type, *looked.size, stored.byte_size, report)
        return IntakeResult(report, photo, stored.file, outdone, looked.caption)

    def _outdone(self, digest: str, by: PhotoReport, better: str) -> Outdone:
        report = self._accepted.pop(digest, None)
        if report is None:
            return Outdone(digest, None)
        sizes = (by.source_width, by.source_height), (report.source_width, report.source_height)
        findings = (*report.findings, checks.outdone(by.source, *sizes))
        verdict = checks.verdict(findings)
        report = replace(report, findings=findings, verdict=verdict, duplicate_of=by.source, like=better)
        return Outdone(digest, report)


class _Pace:
    """Progress with its rate and what is left."""

    def __init__(self, total: int, say: Callable[[Progress], None] | None) -> None:
        self._total = total
        self._say = say
        self._done = 0
        self._began = time.monotonic()

    def another(self, name: str) -> None:
        self._done += 1
        if self._say is None:
            return
        rate = self._done / max(time.monotonic() - self._began, 1e-6)
        left = (self._total - self._done) / rate if self._total else None
        self._say(Progress("intake", self._done, self._total, "photos", rate, left, message=name))
