"""Rows into records: everything that the studio shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from limner.errors import LimnerError, NotFound
from limner.pipeline.workspace import Workspace
from limner.records import (
    Dataset,
    Failure,
    Generation,
    Image,
    IntakeEntry,
    Job,
    Lora,
    LoraUsed,
    PhotoEntry,
    Publication,
    StageRun,
    Subject,
    Training,
)
from limner.store.models import (
    ConsentRow,
    DatasetRow,
    GenerationRow,
    GenerationSubjectRow,
    ImageRow,
    IntakeRow,
    JobRow,
    LoraRow,
    PhotoRow,
    PublicationRow,
    SampleRow,
    SubjectRow,
    TrainingRow,
)
from limner.training.divergence import divergence
from limner.types import (
    Consent,
    Crop,
    DatasetManifest,
    Finding,
    JobState,
    Photo,
    PhotoReport,
    Progress,
    SubjectFacts,
    SubjectKind,
    Visibility,
)

__all__ = [
    "REPORT",
    "find_lora_row",
    "find_subject_row",
    "known_lora",
    "lora_record",
    "loras_used",
    "photo_of",
    "subject_facts",
    "to_dataset",
    "to_generation",
    "to_image",
    "to_intakes",
    "to_job",
    "to_photo",
    "to_publication",
    "to_subject",
    "to_training",
]

REPORT: TypeAdapter[PhotoReport] = TypeAdapter(PhotoReport)
FINDINGS: TypeAdapter[list[Finding]] = TypeAdapter(list[Finding])
MANIFEST: TypeAdapter[DatasetManifest] = TypeAdapter(DatasetManifest)
PROGRESS: TypeAdapter[Progress] = TypeAdapter(Progress)
FAILURE = {field.name for field in fields(Failure)}
LORA_NAME = re.compile(r"^(?P<slug>[^@:]+?)(?:@v?(?P<version>\d{1,9}))?$", re.ASCII)


def find_subject_row(session: Session, slug: str) -> SubjectRow:
    """The subject's row; NotFound names the subjects that there are."""
    row = session.get(SubjectRow, slug)
    if row is None:
        known = session.scalars(select(SubjectRow.slug).order_by(SubjectRow.slug).limit(8)).all()
        raise NotFound(
            f"There is no subject '{slug}'.",
            remedy=f"Known: {', '.join(known)}." if known else "Add one with `limner subject add`.",
            thing=slug,
        )
    return row


def subject_facts(row: SubjectRow) -> SubjectFacts:
    """A subject as the stages need to know it."""
    return SubjectFacts(row.slug, row.name, SubjectKind(row.kind), row.class_word, row.trigger)


def to_subject(session: Session, row: SubjectRow) -> Subject:
    consent = session.scalars(
        select(ConsentRow).where(ConsentRow.subject == row.slug, ConsentRow.withdrawn_at.is_(None)).limit(1)
    ).first()
    return Subject(
        slug=row.slug,
        name=row.name,
        kind=SubjectKind(row.kind),
        class_word=row.class_word,
        trigger=row.trigger,
        created_at=row.created_at,
        photos=session.scalar(select(func.count()).where(PhotoRow.subject == row.slug)) or 0,
        loras=session.scalar(select(func.count()).where(LoraRow.subject == row.slug)) or 0,
        consent=Consent(consent.statement, consent.given_by, consent.given_at) if consent else None,
    )


def photo_of(row: PhotoRow, media_type: str, byte_size: int) -> Photo:
    """A stored photo as the stages need to know it."""
    return Photo(row.digest, media_type, row.width, row.height, byte_size, REPORT.validate_python(row.report))


def to_photo(workspace: Workspace, row: PhotoRow) -> PhotoEntry:
    return PhotoEntry(
        digest=row.digest,
        subject=row.subject,
        width=row.width,
        height=row.height,
        source=row.source,
        caption=row.caption,
        caption_from=row.caption_from,
        crop=Crop(**row.crop) if row.crop else None,
        report=REPORT.validate_python(row.report),
        path=workspace.blobs.place(row.digest),
        added_at=row.added_at,
    )


def to_intakes(session: Session, slug: str, job: str = "") -> list[IntakeEntry]:
    """The entries of one intake, the newest of the subject if none is named."""
    if not job:
        newest = select(IntakeRow.job).where(IntakeRow.subject == slug).order_by(IntakeRow.id.desc()).limit(1)
        job = session.scalar(newest) or ""
    rows = session.scalars(
        select(IntakeRow).where(IntakeRow.subject == slug, IntakeRow.job == job).order_by(IntakeRow.position)
    )
    return [IntakeEntry(row.position, row.photo, REPORT.validate_python(row.report)) for row in rows]


def to_dataset(row: DatasetRow) -> Dataset:
    return Dataset(
        row.digest,
        row.subject,
        row.resolution,
        row.photos,
        row.created_at,
        MANIFEST.validate_python({**row.manifest, "digest": row.digest}),
    )


def _progress(data: dict[str, Any] | None) -> Progress | None:
    return PROGRESS.validate_python(data) if data else None


def to_training(workspace: Workspace, session: Session, row: TrainingRow) -> Training:
    lora = session.scalars(select(LoraRow).where(LoraRow.training == row.id)).first()
    samples = session.scalars(
        select(SampleRow.digest).where(SampleRow.training == row.id).order_by(SampleRow.step, SampleRow.position)
    )
    losses = tuple((int(step), float(loss)) for step, loss in row.losses)
    return Training(
        id=row.id,
        subject=row.subject,
        dataset=row.dataset,
        base=row.base,
        trainer=row.trainer,
        recipe=row.recipe,
        state=JobState(row.state),
        progress=_progress(row.progress),
        losses=losses,
        samples=tuple(workspace.blobs.place(digest) for digest in samples),
        error=_failure(row.error),
        lora=f"{lora.subject}@v{lora.version}" if lora else "",
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        sample_prompts=tuple(row.sample_prompts),
        rates=tuple((int(step), float(rate)) for step, rate in row.rates),
        findings=divergence(losses, row.recipe),
    )


def known_lora(session: Session, name: str) -> str:
    """``slug@v2`` of the lora that a name means here; "" if there is none."""
    try:
        row = find_lora_row(session, name)
    except LimnerError:
        return ""
    return f"{row.subject}@v{row.version}"


def find_lora_row(session: Session, name: str) -> LoraRow:
    """A lora by ``slug`` (the newest version), ``slug@v2``, or at least eight digits of its digest."""
    match = LORA_NAME.match(name.strip())
    query = None
    if match:
        query = select(LoraRow).where(LoraRow.subject == match["slug"]).order_by(LoraRow.version.desc()).limit(1)
        if match["version"]:
            query = select(LoraRow).where(LoraRow.subject == match["slug"], LoraRow.version == int(match["version"]))
    row = session.scalars(query).first() if query is not None else None
    if row is None and re.fullmatch(r"[0-9a-f]{8,64}", name):
        found = session.scalars(select(LoraRow).where(LoraRow.digest.startswith(name))).all()
        row = found[0] if len({r.digest for r in found}) == 1 else None
    if row is None:
        known = session.execute(select(LoraRow.subject, LoraRow.version).order_by(LoraRow.id.desc()).limit(8)).all()
        raise NotFound(
            f"There is no lora '{name}'.",
            remedy=f"Known: {', '.join(f'{s}@v{v}' for s, v in known)}." if known else "Train one with `limner train`.",
            thing=name,
        )
    return row


def lora_record(workspace: Workspace, row: LoraRow) -> Lora:
    return Lora(
        name=f"{row.subject}@v{row.version}",
        subject=row.subject,
        version=row.version,
        digest=row.digest,
        tensor_digest=row.tensor_digest,
        base=row.base,
        naming=row.naming,
        rank=row.rank,
        alpha=row.alpha,
        byte_size=row.byte_size,
        trigger=row.trigger,
        training=row.training or row.picked_from,
        header=row.header,
        path=workspace.blobs.place(row.digest),
        created_at=row.created_at,
        step=row.step,
        card=row.card,
        findings=tuple(FINDINGS.validate_python(row.findings)),
        original=row.original,
    )


def to_publication(session: Session, row: PublicationRow) -> Publication:
    lora = session.get_one(LoraRow, row.lora)
    return Publication(
        lora=f"{lora.subject}@v{lora.version}",
        hub=row.hub,
        repo=row.repo,
        revision=row.revision,
        visibility=Visibility(row.visibility),
        url=row.url,
        created_at=row.created_at,
    )


def to_image(workspace: Workspace, row: ImageRow, prompt: str) -> Image:
    return Image(
        id=row.id,
        generation=row.generation,
        position=row.position,
        digest=row.digest,
        prompt=prompt,
        seed=row.seed,
        width=row.width,
        height=row.height,
        seconds=row.seconds,
        path=workspace.blobs.place(row.digest),
        created_at=row.created_at,
        generator=row.generator,
        favourite=row.favourite,
    )


def loras_used(stored: Iterable[Mapping[str, Any]]) -> tuple[LoraUsed, ...]:
    """The loras that a row names."""
    return tuple(LoraUsed(str(one["name"]), str(one.get("digest", "")), float(one.get("scale", 1.0))) for one in stored)


def _failure(stored: Mapping[str, Any] | None) -> Failure | None:
    if not stored:
        return None
    known = {name: value for name, value in stored.items() if name in FAILURE}
    if "candidates" in known:
        known["candidates"] = tuple(known["candidates"])
    return Failure(**known)


def to_generation(
    workspace: Workspace, session: Session, row: GenerationRow, images: Iterable[ImageRow] | None = None
) -> Generation:
    """A generation with its images, or with those given, where many were read at once."""
    if images is None:
        images = session.scalars(select(ImageRow).where(ImageRow.generation == row.id).order_by(ImageRow.position))
    return Generation(
        id=row.id,
        prompt=row.prompt,
        base=row.base,
        generator=row.generator,
        loras=loras_used(row.loras),
        width=row.width,
        height=row.height,
        steps=row.steps,
        guidance=row.guidance,
        seed=row.seed,
        count=row.count,
        state=JobState(row.state),
        error=_failure(row.error),
        images=tuple(to_image(workspace, image, row.prompt) for image in images),
        created_at=row.created_at,
    )


def images_of(session: Session, subject: str | None, limit: int) -> Sequence[tuple[ImageRow, str]]:
    """The newest images, of one subject or of all, with their prompts."""
    query = select(ImageRow, GenerationRow.prompt).join(GenerationRow).order_by(ImageRow.id.desc()).limit(limit)
    if subject:
        query = query.join(GenerationSubjectRow, GenerationSubjectRow.generation == GenerationRow.id).where(
            GenerationSubjectRow.subject == subject
        )
    return [(row, prompt) for row, prompt in session.execute(query)]


def _stage_run(entry: dict[str, Any]) -> StageRun:
    started, ended = entry.get("started_at"), entry.get("ended_at")
    seconds = None
    if started and ended:
        seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    return StageRun(entry["stage"], JobState(entry["state"]), seconds, entry.get("result") or {})


def to_job(row: JobRow) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        subject=row.subject,
        target=row.target,
        state=JobState(row.state),
        progress=_progress(row.progress),
        stages=tuple(_stage_run(entry) for entry in row.stages),
        stage_names=tuple(stage["stage"] for stage in row.request["stages"]),
        result=row.result or {},
        error=_failure(row.error),
        cancel_requested=row.cancel_requested,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        resumed_as=row.request.get("resumed_as", ""),
    )
