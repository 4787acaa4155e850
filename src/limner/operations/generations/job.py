"""The stage that draws: generators in the order named, each picture stored with all that is needed to make it again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from limner._version import __version__
from limner.atomic_file import write_atomically
from limner.errors import (
    Cancelled,
    ContentRefused,
    InputRefused,
    LimnerError,
    SpendingRefused,
    StorageFailed,
    Undecided,
    WorkFailed,
)
from limner.findings import refuse
from limner.generation.generator import Drawn, GenerationOrder, Generator
from limner.generation.metadata import provenance
from limner.generation.metadata.pixels import opened
from limner.operations.generations import orders, reach
from limner.operations.generations.request import GenerateRequest
from limner.operations.generations.submission import generators_of
from limner.operations.home import blob_erasure
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.operations.jobs.context import StageContext
from limner.operations.payments import preflight
from limner.operations.payments.purchases import StoredPayments, given_up
from limner.store.models import GenerationRow, ImageRow, now
from limner.types import ImageRecord, JobState, LoraUse, Progress, Severity

__all__ = ["stage"]

HUB_SECONDS = 300.0
"""How long a hub may take to say where a lora can be fetched: nobody waits before a page."""
GLANCE_SECONDS = 0.5  # between two looks at whether the user wants to stop
FINAL = (Cancelled, StorageFailed, Undecided, SpendingRefused, ContentRefused)
"""Failures after which no other generator is tried: the next would pay again, or be asked for what one refused."""


async def stage(context: StageContext, request: GenerateRequest) -> Mapping[str, object]:
    """Draw what is not stored yet. A drawn picture is a file before it is a row, so a crash never draws it twice."""
    workspace = context.workspace
    folder = workspace.directory(request.generation)
    tried: list[str] = []
    try:
        for name in (names := generators_of(request.generator)):
            try:
                warnings = await _draw_with(context, name, request, folder)
                break
            except FINAL:
                raise
            except LimnerError as failure:
                tried.append(f"{name}: {failure.message}")
                if name == names[-1]:
                    if len(tried) > 1:
                        failure.message = " ".join(tried)
                    raise
    except Exception as failure:
        await asyncio.to_thread(_end, workspace, request.generation, failure)
        raise
    await asyncio.to_thread(_end, workspace, request.generation, None)
    shutil.rmtree(folder, ignore_errors=True)
    told = {"passed_over": tried, "warnings": warnings}
    said = {name: words for name, words in told.items() if words}
    return {"generation": request.generation, "images": request.count, **said}


async def _draw_with(context: StageContext, name: str, request: GenerateRequest, folder: Path) -> list[str]:
    """Draw what is left with one generator, after it said that it can; what it warned of, in sentences."""
    workspace = context.workspace
    generator = workspace.back_ends.generator(name)
    about = generator.describe()
    preflight.refuse_unready(about)
    drawing = await asyncio.to_thread(
        orders.find_drawing, workspace, request, [about], made=context.earlier.get("lora", ""), seconds=HUB_SECONDS
    )
    reach.refuse_unknown(drawing.loras, about)
    order, subjects = drawing.order(about, among="," in request.generator), drawing.subjects
    publish = request.publish_if_needed
    warnings = [f"{f.message} {f.remedy}".strip() for f in generator.check(order) if f.severity is Severity.WARNING]
    for use in order.loras:
        if use.path is not None:
            await asyncio.to_thread(workspace.blobs.path, use.digest)  # a damaged one must not be drawn with, or sent
    payments = StoredPayments(workspace, context.job, subjects[0] if subjects else None)
    await asyncio.to_thread(_begin, workspace, request, order, subjects)
    without = await asyncio.to_thread(given_up, workspace, order.id)
    stored = await asyncio.to_thread(_stored, workspace, order, folder, without)
    for index in stored:
        await payments.settle(order.tag(index))
    # What the user does without counts as done.
    stored |= without
    context.report(Progress("generate", len(stored), order.count, "picture"))
    if len(stored) >= order.count:
        return warnings
    if not all(reach.reaches(about, use) for use in order.loras):
        # What is published for everyone cannot be taken back: all else that would be refused is refused before.
        found = (await generator.plan(replace(order, done=frozenset(stored)))).findings
        done_about_it = partial(reach.reach_findings, publish_if_needed=publish)
        refuse(await asyncio.to_thread(done_about_it, workspace, drawing.loras, about, found), InputRefused)
    opened = reach.within_reach(workspace, drawing.loras, about, order.id, publish_if_needed=publish)
    async with opened as (reachable, told):
        ready = replace(order, loras=reachable, done=frozenset(stored), payments=payments)
        refuse((await generator.plan(ready)).findings, InputRefused)
        await _draw(context, generator, name, ready, told, folder, stored)
    return warnings


async def _draw(
    context: StageContext,
    generator: Generator,
    name: str,
    order: GenerationOrder,
    told: tuple[LoraUse, ...],
    folder: Path,
    stored: set[int],
) -> None:
    """Draw and keep every picture that is not stored yet; each tells of the loras as ``told`` does."""
    recorded = replace(order, loras=told)
    began = asyncio.get_running_loop().time()
    before = len(stored)
    coming = generator.draw(order)
    stop = _Stop()
    while True:
        drawn = await _next(context, coming, stop)
        if drawn is None:
            break
        if drawn.index in stored or not 0 <= drawn.index < order.count:
            raise WorkFailed(
                f"The generator '{name}' gave picture {drawn.index}, which was not asked for.",
                remedy="Use another generator; this one does not keep to what it must do.",
                thing=order.id,
            )
        await asyncio.to_thread(_keep, context.workspace, recorded, name, drawn, folder)
        await order.payments.settle(order.tag(drawn.index))
        stored.add(drawn.index)
        rate = (len(stored) - before) / max(asyncio.get_running_loop().time() - began, 1e-6)
        left = (order.count - len(stored)) / rate
        context.report(Progress("generate", len(stored), order.count, "picture", rate=rate, seconds_left=left))
    if stop.wish is not None and len(stored) < order.count:
        raise stop.wish
    if len(stored) < order.count:
        raise WorkFailed(
            f"The generator '{name}' gave {len(stored)} of {order.count} pictures.",
            remedy="Ask for the rest again.",
            thing=order.id,
        )


class _Stop:
    """The user's wish to stop, once there is one, and whether the generator was told of it."""

    __slots__ = ("told", "wish")

    def __init__(self) -> None:
        self.wish: Cancelled | None = None
        self.told = False


async def _next(context: StageContext, coming: AsyncIterator[Drawn], stop: _Stop) -> Drawn | None:
    """The next picture, None after the last. The generator is told of the wish to stop as soon as the user has it.

    That stops the picture under way here, which may take minutes; what a vendor was sent by then is still taken: it is
    paid.
    """

    async def advance() -> Drawn | None:
        return await anext(coming, None)

    drawing = asyncio.ensure_future(advance())
    try:
        # A task that has not begun would be cancelled without the generator's knowledge.
        await asyncio.sleep(0)
        while not drawing.done():
            if not stop.told:
                stop.wish = stop.wish or await asyncio.to_thread(_wish, context)
                # Where a picture came meanwhile nobody is told yet: the next turn does it.
                stop.told = stop.wish is not None and drawing.cancel()
            await asyncio.wait([drawing], timeout=GLANCE_SECONDS)
    except BaseException:
        drawing.cancel()
        await asyncio.wait([drawing])
        raise
    return None if drawing.cancelled() else drawing.result()


def _wish(context: StageContext) -> Cancelled | None:
    try:
        context.progress.check_cancelled()
    except Cancelled as wish:
        return wish
    return None


def _begin(workspace: Workspace, request: GenerateRequest, order: GenerationOrder, subjects: Sequence[str]) -> None:
    """Make the row, if it is not there yet, and mark it as running."""
    with workspace.database.write() as session:
        orders.add_row(session, request, order, subjects)
        row = session.get_one(GenerationRow, order.id)
        row.state, row.error, row.ended_at = JobState.RUNNING, None, None


def _stored(workspace: Workspace, order: GenerationOrder, folder: Path, without: frozenset[int]) -> set[int]:
    """The indexes that have a picture; one that an earlier run had drawn but not recorded is recorded now."""
    for path in folder.glob("[0-9]*.png"):
        index, _, milliseconds = path.stem.partition("-")
        if int(index) in without:
            path.unlink()  # it was recorded, and is deleted by now
            continue
        try:
            record = provenance.read_record(path)
        except InputRefused:
            path.unlink()  # the disk lost a part of it: it is drawn again
            continue
        _record(workspace, order, int(index), record, path, int(milliseconds) / 1000)
    with workspace.database.read() as session:
        return set(session.scalars(select(ImageRow.position).where(ImageRow.generation == order.id)))


def _keep(workspace: Workspace, order: GenerationOrder, generator: str, drawn: Drawn, folder: Path) -> None:
    with opened(drawn.data) as picture:
        width, height = picture.size
    record = ImageRecord(
        prompt=order.prompt,
        width=width,
        height=height,
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
    try:
        write_atomically(path, data)
    except OSError as failure:
        raise StorageFailed(
            f"The picture cannot be written to {folder}: {failure.strerror}.",
            remedy="Free some space, then resume; pictures stored so far are kept.",
            thing=order.id,
        ) from failure
    _record(workspace, order, drawn.index, record, path, drawn.seconds)


def _record(
    workspace: Workspace, order: GenerationOrder, index: int, record: ImageRecord, path: Path, seconds: float
) -> None:
    """Store a sealed picture as a blob and a row; only then is its file let go of."""
    digest = workspace.blobs.link(path)
    with workspace.database.write() as session:
        blob_erasure.add_blob(session, workspace, digest, "image/png", path)
        session.execute(
            insert(ImageRow)
            .values(
                generation=order.id,
                position=index,
                digest=digest,
                media_type="image/png",
                width=record.width,
                height=record.height,
                seed=record.seed,
                seconds=seconds,
                generator=record.generator,
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
        row.error = lifecycle.as_error(failure) if failure else None
        ended = JobState.CANCELLED if isinstance(failure, Cancelled) else JobState.FAILED
        row.state = ended if failure else JobState.DONE
