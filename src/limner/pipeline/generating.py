"""Generating: pictures from a prompt and loras, each stored with all that is needed to make it again."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from limner import __version__, plugins
from limner.catalog import base_location, find_base
from limner.errors import Cancelled, InputRefused, NotFound, NotReady, StorageFailed, WorkFailed
from limner.generation import provenance
from limner.generation.generator import Drawn, GenerationOrder, Generator
from limner.generation.prompts import fill
from limner.pipeline import jobs, reading
from limner.pipeline.worker import StageContext
from limner.pipeline.workspace import Workspace
from limner.records import Job, Reproduction
from limner.store.models import BlobRow, GenerationRow, GenerationSubjectRow, ImageRow, LoraRow, SubjectRow, now
from limner.types import ImageRecord, JobState, LoraUse, Progress, Severity

__all__ = ["parse_lora", "reproduced", "request", "stage", "submit", "submit_reproduction"]

SEEDS = 2**31
GLANCE_SECONDS = 0.5  # between two looks at whether the user wants to stop


def parse_lora(words: str) -> tuple[str, float]:
    """``zibbo@v2:0.8`` into its name and scale; the scale is 1 where none is given."""
    match = re.fullmatch(r"(?P<name>[^:]+?)(?::(?P<scale>[-+]?\d*\.?\d+))?", words.strip())
    if match is None:
        raise InputRefused(
            f"'{words}' does not name a lora.", remedy="Write slug, slug@v2 or slug@v2:0.8.", thing=words
        )
    return match["name"], float(match["scale"] or 1.0)


def request(
    workspace: Workspace,
    *,
    prompt: str,
    loras: Sequence[tuple[str, float]] = (),
    base: str = "",
    generator: str = "",
    width: int | None = None,
    height: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int | None = None,
    count: int = 1,
) -> dict[str, Any]:
    """The stage's request, with the base's own values where none are given. A lora named ``""`` is the job's own."""
    if not 1 <= count <= 1000:
        raise InputRefused(f"{count} pictures cannot be asked for at once.", remedy="Ask for 1 to 1000.", thing="count")
    with workspace.database.read() as session:
        named = [(reading.find_lora_row(session, name), scale) for name, scale in loras if name]
        bases = {row.base for row, _ in named}
        pinned = [[f"{row.subject}@v{row.version}", scale] for row, scale in named]
    if len(bases) > 1 and not base:
        raise InputRefused(
            f"These loras belong to different bases: {', '.join(sorted(bases))}.",
            remedy="Use loras of one base in a picture, or name the base if they fit it.",
            thing="loras",
        )
    row = find_base(base or next(iter(bases), "") or workspace.settings.base)
    return {
        "stage": "generate",
        "generation": jobs.new_id("generation"),
        "prompt": prompt,
        "loras": pinned + [[name, scale] for name, scale in loras if not name],
        "base": row.id,
        "generator": generator or workspace.settings.generator,
        "width": row.size if width is None else width,
        "height": row.size if height is None else height,
        "steps": row.steps if steps is None else steps,
        "guidance": row.guidance if guidance is None else guidance,
        "seed": secrets.randbelow(SEEDS) if seed is None else seed,
        "count": count,
    }


def submit(workspace: Workspace, **options: Any) -> Job:
    """Enqueue a generation, after its order has been checked."""
    return _submit(workspace, request(workspace, **options))


def _submit(workspace: Workspace, wanted: dict[str, Any]) -> Job:
    order, subjects = _order(workspace, wanted, {})
    generator: Generator = plugins.back_end("limner.generators", wanted["generator"], settings=workspace.settings)
    _check(generator, order)
    submitter = workspace.submitter
    with workspace.database.write() as session:
        _add_row(session, wanted, order, subjects)
        job = jobs.add_job(
            session,
            kind="generate",
            stages=[wanted],
            subject=subjects[0] if subjects else None,
            target=wanted["generation"],
        )
        submitter.submit(session, job.id, 1)
        return reading.to_job(job)


def _check(generator: Generator, order: GenerationOrder) -> None:
    for finding in generator.check(order):
        if finding.severity is Severity.REFUSAL:
            raise InputRefused(finding.message, remedy=finding.remedy, thing=finding.code)


def _order(workspace: Workspace, wanted: dict[str, Any], earlier: dict[str, Any]) -> tuple[GenerationOrder, list[str]]:
    base = find_base(wanted["base"])
    uses: list[LoraUse] = []
    subjects: list[str] = []
    words: list[tuple[str, str]] = []
    with workspace.database.read() as session:
        for name, scale in wanted["loras"]:
            row = reading.find_lora_row(session, name or earlier["lora"])
            subject = session.get_one(SubjectRow, row.subject)
            subjects.append(row.subject)
            words.append((row.trigger or subject.trigger, subject.class_word))
            uses.append(
                LoraUse(
                    digest=row.digest,
                    scale=float(scale),
                    name=f"{row.subject}@v{row.version}",
                    trigger=row.trigger,
                    path=workspace.blobs.path(row.digest),
                    base=row.base,
                    tensor_digest=row.tensor_digest,
                )
            )
        if not uses and wanted.get("subject"):
            # A picture of the base alone, for comparison: the same words, and it belongs to the subject it compares to.
            subject = reading.find_subject_row(session, wanted["subject"])
            subjects.append(subject.slug)
            words.append((subject.trigger, subject.class_word))
    order = GenerationOrder(
        id=wanted["generation"],
        prompt=wanted["prompt"] if wanted.get("filled") else fill(wanted["prompt"], words),
        base=base,
        base_path=base_location(base, workspace.settings.base_paths),
        loras=tuple(uses),
        width=wanted["width"],
        height=wanted["height"],
        steps=wanted["steps"],
        guidance=wanted["guidance"],
        seed=wanted["seed"],
        count=wanted["count"],
    )
    return order, list(dict.fromkeys(subjects))


def _add_row(session: Any, wanted: dict[str, Any], order: GenerationOrder, subjects: Sequence[str]) -> None:
    session.execute(
        insert(GenerationRow)
        .values(
            id=order.id,
            prompt=order.prompt,
            base=order.base.id,
            generator=wanted["generator"],
            loras=[{"name": use.name, "digest": use.digest, "scale": use.scale} for use in order.loras],
            width=order.width,
            height=order.height,
            steps=order.steps,
            guidance=order.guidance,
            seed=order.seed,
            count=order.count,
            state=JobState.WAITING,
        )
        .on_conflict_do_nothing()
    )
    for subject in subjects:
        session.execute(
            insert(GenerationSubjectRow).values(generation=order.id, subject=subject).on_conflict_do_nothing()
        )


async def stage(context: StageContext, wanted: dict[str, Any]) -> dict[str, Any]:
    """Draw what is not stored yet. A drawn picture is a file before it is a row, so a crash never draws it twice."""
    workspace = context.workspace
    folder = workspace.directory(wanted["generation"])
    try:
        order, subjects = await asyncio.to_thread(_order, workspace, wanted, context.earlier)
        generator: Generator = plugins.back_end("limner.generators", wanted["generator"], settings=workspace.settings)
        await asyncio.to_thread(_check, generator, order)
        await asyncio.to_thread(_begin, workspace, wanted, order, subjects)
        await _draw(context, generator, wanted["generator"], order, folder)
    except Exception as failure:
        await asyncio.to_thread(_end, workspace, wanted["generation"], failure)
        raise
    await asyncio.to_thread(_end, workspace, order.id, None)
    shutil.rmtree(folder, ignore_errors=True)
    return {"generation": order.id, "images": order.count}


async def _draw(context: StageContext, generator: Generator, name: str, order: GenerationOrder, folder: Path) -> None:
    """Draw and keep every picture that is not stored yet."""
    stored = await asyncio.to_thread(_stored, context.workspace, order, folder)
    context.report(Progress("generate", len(stored), order.count, "picture"))
    coming = generator.draw(replace(order, done=frozenset(stored)))
    while (drawn := await _next(context, coming)) is not None:
        if drawn.index in stored or not 0 <= drawn.index < order.count:
            raise WorkFailed(
                f"The generator '{name}' gave picture {drawn.index}, which was not asked for.",
                remedy="Use another generator; this one does not keep to what it must do.",
                thing=order.id,
            )
        await asyncio.to_thread(_keep, context.workspace, order, name, drawn, folder)
        stored.add(drawn.index)
        rate = 1 / drawn.seconds if drawn.seconds else None
        left = drawn.seconds * (order.count - len(stored))
        context.report(Progress("generate", len(stored), order.count, "picture", rate=rate, seconds_left=left))
    if len(stored) < order.count:
        raise WorkFailed(
            f"The generator '{name}' gave {len(stored)} of {order.count} pictures.",
            remedy="Ask for the rest again.",
            thing=order.id,
        )


async def _next(context: StageContext, coming: AsyncIterator[Drawn]) -> Drawn | None:
    """The next picture, None after the last. A wish to cancel stops the picture under way: it may take minutes."""

    async def advance() -> Drawn | None:
        return await anext(coming, None)

    drawing = asyncio.ensure_future(advance())
    try:
        await asyncio.to_thread(context.progress.check_cancelled)
        while not (await asyncio.wait([drawing], timeout=GLANCE_SECONDS))[0]:
            await asyncio.to_thread(context.progress.check_cancelled)
    except BaseException:
        drawing.cancel()
        await asyncio.wait([drawing])
        raise
    return drawing.result()


def _begin(workspace: Workspace, wanted: dict[str, Any], order: GenerationOrder, subjects: Sequence[str]) -> None:
    """Make the row, if it is not there yet, and mark it as running."""
    with workspace.database.write() as session:
        _add_row(session, wanted, order, subjects)
        row = session.get_one(GenerationRow, order.id)
        row.state, row.error, row.ended_at = JobState.RUNNING, None, None


def _stored(workspace: Workspace, order: GenerationOrder, folder: Path) -> set[int]:
    """The indexes that have a picture; one that an earlier run had drawn but not recorded is recorded now."""
    for path in folder.glob("[0-9]*.png"):
        index, _, milliseconds = path.stem.partition("-")
        try:
            seed = provenance.read_record(path).seed
        except InputRefused:
            path.unlink()  # the disk lost a part of it: it is drawn again
            continue
        _record(workspace, order, int(index), seed, path, int(milliseconds) / 1000)
    with workspace.database.read() as session:
        return set(session.scalars(select(ImageRow.position).where(ImageRow.generation == order.id)))


def _keep(workspace: Workspace, order: GenerationOrder, generator: str, drawn: Drawn, folder: Path) -> None:
    record = ImageRecord(
        prompt=order.prompt,
        width=order.width,
        height=order.height,
        steps=order.steps,
        guidance=order.guidance,
        seed=drawn.seed,
        base=order.base.id,
        generator=generator,
        loras=order.loras,
        versions={"limner": __version__, **drawn.versions},
        made_at=now().isoformat(timespec="seconds"),
    )
    signer = workspace.home if workspace.settings.sign_images else None
    data = provenance.seal_image(drawn.data, record, credentials=signer)
    path = folder / f"{drawn.index:04d}-{round(drawn.seconds * 1000)}.png"
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)  # noqa: PTH105 - the atomic rename is the point
    except OSError as failure:
        raise StorageFailed(
            f"The picture cannot be written to {folder}: {failure.strerror}.",
            remedy="Free some space, then resume; pictures stored so far are kept.",
            thing=order.id,
        ) from failure
    _record(workspace, order, drawn.index, drawn.seed, path, drawn.seconds)


def _record(workspace: Workspace, order: GenerationOrder, index: int, seed: int, path: Path, seconds: float) -> None:
    """Store a sealed picture as a blob and a row; only then is its file let go of."""
    size = path.stat().st_size
    digest = workspace.blobs.put_file(path)
    with workspace.database.write() as session:
        session.execute(
            insert(BlobRow).values(digest=digest, media_type="image/png", byte_size=size).on_conflict_do_nothing()
        )
        session.execute(
            insert(ImageRow)
            .values(
                generation=order.id,
                position=index,
                digest=digest,
                media_type="image/png",
                width=order.width,
                height=order.height,
                seed=seed,
                seconds=seconds,
            )
            .on_conflict_do_nothing()
        )
    path.unlink()


def _end(workspace: Workspace, generation: str, failure: Exception | None) -> None:
    with workspace.database.write() as session:
        row = session.get(GenerationRow, generation)
        if row is None:
            return  # it failed before it began
        row.ended_at = now()
        row.error = jobs.as_error(failure) if failure else None
        ended = JobState.CANCELLED if isinstance(failure, Cancelled) else JobState.FAILED
        row.state = ended if failure else JobState.DONE


def submit_reproduction(workspace: Workspace, picture: Path) -> Job:
    """Enqueue the drawing of a picture again, from what it says of itself."""
    record = provenance.read_record(picture)
    loras: list[list[Any]] = []
    with workspace.database.read() as session:
        for use in record.loras:
            row = session.scalars(select(LoraRow).where(LoraRow.digest == use.digest)).first()
            if row is None:
                raise NotFound(
                    f"The lora {use.name} ({use.digest[:12]}…) that made {picture.name} is not here.",
                    remedy="Draw it again in the home folder where this lora is.",
                    thing=use.name,
                )
            loras.append([f"{row.subject}@v{row.version}", use.scale])
    if record.generator not in plugins.names("limner.generators"):
        raise NotReady(
            f"{picture.name} was drawn by the generator '{record.generator}', which is not installed here.",
            remedy="Install the package that brings it; `limner backends` lists what is there.",
            thing=record.generator,
        )
    return _submit(
        workspace,
        {
            "stage": "generate",
            "generation": jobs.new_id("generation"),
            "prompt": record.prompt,
            "loras": loras,
            "base": record.base,
            "generator": record.generator,
            "width": record.width,
            "height": record.height,
            "steps": record.steps,
            "guidance": record.guidance,
            "seed": record.seed,
            "count": 1,
            "filled": True,
        },
    )


def reproduced(workspace: Workspace, picture: Path, job: Job) -> Reproduction:
    """Compare a picture with the one that its reproduction drew, pixel by pixel and version by version."""
    with workspace.database.read() as session:
        row = session.scalars(select(ImageRow).where(ImageRow.generation == job.target)).one()
        prompt = session.get_one(GenerationRow, job.target).prompt
        image = reading.to_image(workspace, row, prompt)
    given, drawn = provenance.pixel_digest(picture), provenance.pixel_digest(image.path)
    before, after = provenance.read_record(picture).versions, provenance.read_record(image.path).versions
    differences = [
        f"{name}: {before.get(name, 'unknown')} then, {after.get(name, 'unknown')} now"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    if provenance.read_provenance(picture).recorded_pixels != given:
        differences.append("the picture: its pixels were changed after it was drawn")
    return Reproduction(image, given == drawn, tuple(differences))
