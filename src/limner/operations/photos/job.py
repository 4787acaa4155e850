"""Photos into the store: the job that takes files in, and what is done with single photos afterwards."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from limner.atomic_file import write_atomically
from limner.datasets.captions.files import SIDECARS, TABLES, read_captions
from limner.datasets.captions.pairing import Caption
from limner.errors import CaptionRefused, PhotoRefused
from limner.operations.home import blob_erasure
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.operations.jobs.context import StageContext
from limner.operations.jobs.queries import last_verification
from limner.operations.photos.better_copies import replace_outdone
from limner.operations.photos.intake_captions import IntakeCaptions
from limner.operations.subjects import queries as subject_queries
from limner.operations.uploads import actions as uploads
from limner.operations.uploads.request import IntakeRequest
from limner.operations.uploads.safe_layout import Renamed
from limner.photos import IntakeLimits, IntakeResult, KnownPhoto, find_sources, installed_detector, take_in
from limner.records import Job
from limner.store.models import DatasetPhotoRow, DatasetRow, IntakeRow, PhotoRow
from limner.types import Finding, Severity, Verdict

__all__ = ["make_request", "stage", "submit"]

NOTHING_THERE = ("not-there", "no-photos")
"""Findings about what was named rather than about a photo; if there is nothing else, the job fails."""


def make_request(
    slug: str,
    paths: Sequence[str | Path],
    captions: Sequence[str | Path] = (),
    *,
    replace_captions: bool = False,
    captions_from_photos: bool = False,
) -> IntakeRequest:
    """The stage's request.

    CaptionRefused: a file of captions is not there, or of no kind that is read.
    """
    if not paths and not captions:
        raise PhotoRefused("No photo was named.", remedy="Name files, folders, zips or globs.", thing=slug)
    tables = [Path(path).expanduser().absolute() for path in captions]
    for table in tables:
        _refuse_unreadable(table)
    return IntakeRequest(
        subject=slug,
        paths=tuple(str(Path(path).expanduser().absolute()) for path in paths),
        captions=tuple(map(str, tables)),
        replace_captions=replace_captions,
        captions_from_photos=captions_from_photos,
    )


def _refuse_unreadable(table: Path) -> None:
    kinds = (*SIDECARS, *TABLES)
    if not table.exists():
        raise CaptionRefused(f"There is no file {table}.", remedy="Correct the name.", thing=str(table))
    if not table.is_dir() and table.suffix.lower() not in (*kinds, ".zip"):
        raise CaptionRefused(
            f"{table.name} is no file of captions.",
            remedy=f"Name one that ends with {', '.join(kinds)}, or a folder or zip that holds some.",
            thing=str(table),
        )


def submit(
    workspace: Workspace,
    slug: str,
    paths: Sequence[str | Path],
    captions: Sequence[str | Path] = (),
    *,
    replace_captions: bool = False,
    captions_from_photos: bool = False,
) -> Job:
    """Enqueue the intake of files, folders, zips and globs for a subject. Errors of ``make_request``."""
    request = make_request(
        slug, paths, captions, replace_captions=replace_captions, captions_from_photos=captions_from_photos
    )
    there = partial(subject_queries.find_subject_row, slug=slug)
    return lifecycle.enqueue(workspace, "intake", [request], subject=slug, first=there)


async def stage(context: StageContext, request: IntakeRequest) -> Mapping[str, object]:
    """Take the files in. Each photo is stored as soon as it is checked, so a stop keeps what was done."""
    return await asyncio.to_thread(_take_in, context, request)


def _take_in(context: StageContext, request: IntakeRequest) -> Mapping[str, Any]:
    workspace, slug = context.workspace, request.subject
    limits = IntakeLimits(
        max_pixels=workspace.settings.max_photo_pixels, max_zip_bytes=workspace.settings.max_zip_bytes
    )
    scratch = workspace.directory(context.job) / "intake"
    # What a crash left here is cheap to make again and unsafe to trust half-written.
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    batch, taken = request.batch, workspace.directory(context.job) / "taken.json"
    if batch and taken.exists():
        # It had ended but for its row, and its files are gone.
        uploads.finish(workspace, slug, batch)
        done: Mapping[str, Any] = json.loads(taken.read_text(encoding="utf-8"))
        return done
    drop = uploads.prepare(workspace, slug, batch, scratch / "dropped") if batch else None
    paths, captions = (drop.paths, drop.captions) if drop else (request.paths, request.captions)
    known = _known(workspace, slug, context.job)
    captions_of = IntakeCaptions(read_captions([Path(path) for path in [*paths, *captions]]))
    tally = _Tally()
    empty: list[tuple[int, IntakeResult]] = []
    sources = drop.sources(scratch, limits) if drop else find_sources(paths, scratch, limits)
    results = take_in(
        sources,
        known=known,
        limits=limits,
        threads=workspace.settings.workers,
        detector=installed_detector(),
        on_progress=context.report,
        cancelled=lambda: context.progress.cancelled,
        captions=request.captions_from_photos,
    )
    for position, result in enumerate(results):
        context.progress.check_cancelled()
        tally.count(position, result)
        # Captions were read where the files lie, which for uploads is not what they are called.
        source = result.report.source
        path = sources.paths.get(source, source) if isinstance(sources, Renamed) else source
        if drop:
            result = replace(result, report=replace(result.report, source_digest=drop.digests.get(source, "")))
        if [finding.code for finding in result.report.findings] == ["no-photos"]:
            empty.append((position, result))
            continue
        _keep(workspace, context.job, slug, position, result, captions_of.choose(path, result))
    context.progress.check_cancelled()
    brought = captions_of.settle(workspace, slug, replace=request.replace_captions)
    if brought.paired:
        # A folder of captions alone is no failure if they are for photos that are there.
        tally.leave_out(position for position, _ in empty)
    else:
        for position, result in empty:
            _keep(workspace, context.job, slug, position, result, None)
    shutil.rmtree(scratch, ignore_errors=True)
    if tally.is_empty and not brought.paired:
        _refuse_nothing(request, [*tally.nothing_there, *captions_of.findings(brought)])
    said = [*sources.notes, *captions_of.findings(brought)]
    if drop:
        said = [replace(one, message=drop.as_said(one.message)) for one in said]
    result_of = {**tally.result(), "caption_findings": [asdict(one) for one in said], **brought.result()}
    if batch:
        write_atomically(taken, json.dumps(result_of).encode())
        uploads.finish(workspace, slug, batch)
    return result_of


class _Tally:
    """What became of each source, by its position: a photo that a better one outdoes later counts as refused."""

    def __init__(self) -> None:
        self._verdicts: dict[int, Verdict] = {}
        self._taken_at: dict[str, int] = {}
        self.nothing_there: list[Finding] = []

    def count(self, position: int, result: IntakeResult) -> None:
        self._verdicts[position] = result.report.verdict
        if result.photo is not None:
            self._taken_at[result.photo.digest] = position
        for worse in result.outdone:
            if worse.digest in self._taken_at:
                self._verdicts[self._taken_at[worse.digest]] = Verdict.REFUSED
        self.nothing_there += [finding for finding in result.report.findings if finding.code in NOTHING_THERE]

    def leave_out(self, positions: Iterable[int]) -> None:
        """Do not count these, which held no photo but captions."""
        for position in positions:
            del self._verdicts[position]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was a photo, not even a refused one."""
        return len(self._verdicts) == len(self.nothing_there)

    def result(self) -> dict[str, int]:
        counts = Counter(self._verdicts.values())
        return {
            "accepted": counts[Verdict.ACCEPTED],
            "warned": counts[Verdict.WARNED],
            "refused": counts[Verdict.REFUSED],
        }


def _refuse_nothing(request: IntakeRequest, findings: Sequence[Finding]) -> None:
    told = [one for one in findings if one.code in NOTHING_THERE or one.severity is Severity.REFUSAL]
    why = " ".join(dict.fromkeys(finding.message for finding in told))
    raise PhotoRefused(
        f"No photo was found in what you named. {why}".strip(),
        remedy="Name picture files, or a folder or zip that holds some.",
        thing=", ".join([*request.paths, *request.captions])[:300],
    )


def _known(workspace: Workspace, slug: str, job: str) -> list[KnownPhoto]:
    """The subject's photos that other intakes brought; this job's own are found again on a re-run.

    One whose bytes are lost is not among them: the same photo again takes its place.
    """
    found = last_verification(workspace)
    lost = {one.name for one in found.findings if one.what == "blob"} if found else set()
    with workspace.database.read() as session:
        own = select(IntakeRow.photo).where(IntakeRow.job == job, IntakeRow.photo.is_not(None))
        rows = session.scalars(
            select(PhotoRow).where(PhotoRow.subject == slug, PhotoRow.digest.not_in(own)).order_by(PhotoRow.id)
        ).all()
        datasets = select(DatasetRow.digest).where(DatasetRow.subject == slug)
        frozen = set(session.scalars(select(DatasetPhotoRow.digest).where(DatasetPhotoRow.dataset.in_(datasets))))
    return [
        KnownPhoto(
            row.digest,
            row.report["perceptual_hash"],
            row.source,
            workspace.blobs.place(row.digest),
            row.report.get("source_width") or 0,
            row.report.get("source_height") or 0,
            row.digest in frozen,
        )
        for row in rows
        if row.digest not in lost and workspace.blobs.has(row.digest)
    ]


def _keep(
    workspace: Workspace, job: str, slug: str, position: int, result: IntakeResult, caption: Caption | None
) -> None:
    """Store one result: blob first, then the rows in one transaction that a re-run repeats without effect."""
    report = asdict(result.report)
    if result.data is not None:
        workspace.blobs.put(result.data)
        replace_outdone(workspace, job, slug, result, (caption.text, caption.origin) if caption else ("", ""))
    with workspace.database.write() as session:
        if result.photo is not None and result.data is not None:
            photo = result.photo
            blob_erasure.add_blob(session, workspace, photo.digest, photo.media_type, result.data)
            session.execute(
                insert(PhotoRow)
                .values(
                    subject=slug,
                    digest=photo.digest,
                    width=photo.width,
                    height=photo.height,
                    source=result.report.source,
                    caption=caption.text if caption else "",
                    caption_from=caption.origin if caption else "",
                    report=report,
                )
                .on_conflict_do_nothing()
            )
        session.execute(
            insert(IntakeRow)
            .values(
                subject=slug,
                job=job,
                position=position,
                photo=result.photo.digest if result.photo else None,
                report=report,
            )
            .on_conflict_do_nothing()
        )
