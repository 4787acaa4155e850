"""Fetching: the import of a lora from the Hub or an address, as a job that goes on where it was broken off."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from limner.catalog import find_base
from limner.datasets.triggers import check_slug
from limner.errors import BaseUnclear, Cancelled, InputRefused, LimnerError, VendorBusy, VendorFailed
from limner.hubs.hub import WEIGHTS_NAME
from limner.loras.file import header
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle as jobs
from limner.operations.jobs import queries as job_queries
from limner.operations.jobs.context import StageContext
from limner.operations.loras import adopt as importing
from limner.operations.loras import sources as lora_sources
from limner.operations.loras.sources import Found
from limner.operations.members import actions as members
from limner.operations.subjects import actions as subjects
from limner.records import Job
from limner.store.models import JobRow
from limner.types import Progress, SubjectKind

__all__ = ["stage", "submit"]

AT_ONCE = 4
"""Imports that fetch at the same time; slow servers must not take the threads of other work."""
GLANCE_SECONDS = 0.5
LEAST_SECONDS = 0.2
"""Of less than that no rate is told."""


_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def submit(
    workspace: Workspace,
    source: str,
    *,
    subject: str,
    kind: SubjectKind | str = SubjectKind.STYLE,
    trigger: str = "",
    name: str = "",
    base: str = "",
    rank: int = 0,
    drop_additions: bool = False,
    from_here: bool | None = None,
) -> Job:
    """Enqueue the import of a LoRA from the Hub or an https address; the options are those of ``import_lora``.

    What can be known at once is refused at once: names, a base that is none, an address that may not be used, a repo or
    file that is not there, a slug that is another user's. InputRefused: the source is a file here. The job fails with
    BaseUnclear where several bases fit, and none was named.
    """
    check_slug(subject)
    if base:
        find_base(base)
    adoption = importing.Adoption(subject, subjects.find_kind(kind), trigger, name, base, rank, drop_additions)
    inside = workspace.from_here if from_here is None else from_here
    place = lora_sources.parse(str(source), workspace.settings, files=inside)
    if isinstance(place, Path):
        place = lora_sources.weights_of(place)
        if not place.is_file():
            raise importing.no_file(place)
        raise InputRefused(
            f"{place} is a file on this machine: there is nothing to fetch.",
            remedy="Import it directly: Studio.import_lora, or limner lora import.",
            thing=str(place),
        )
    subjects.refuse_anothers(workspace, subject)
    anonymous = not members.manages(workspace)
    found = lora_sources.find(place, workspace.settings, anonymous=anonymous)
    lora_sources.web_for(workspace.settings, loopback=inside, anonymous=anonymous).check(found.url)
    wanted = {"stage": "import", "found": asdict(found), "from_here": inside, "owned": workspace.owner is not None}
    submitter = workspace.submitter
    with workspace.database.write() as session:
        row = jobs.add_job(session, kind="import", stages=[wanted], subject=subject, owner=workspace.owner)
        # A job that goes on with this one goes on with what it had fetched.
        row.request = {"stages": [{**wanted, **asdict(adoption), "folder": row.id}]}
        submitter.submit(session, row.id, 1, waits=True)
        return job_queries.to_job(row)


async def stage(context: StageContext, wanted: dict[str, Any]) -> dict[str, Any]:
    """Fetch and adopt. Run again it goes on with what was fetched, where the server says that it is still the same."""
    gate = _gates.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE))
    context.report(Progress("import", message="Waiting for another import"))
    while True:
        await asyncio.to_thread(context.progress.check_cancelled)
        try:
            async with asyncio.timeout(GLANCE_SECONDS):
                await gate.acquire()
            break
        except TimeoutError:
            continue
    try:
        return await asyncio.to_thread(_import, context, wanted)
    finally:
        gate.release()


def _import(context: StageContext, wanted: dict[str, Any]) -> dict[str, Any]:
    workspace = _asker(context, wanted)
    found = Found(**wanted["found"])
    options = {field.name: wanted[field.name] for field in fields(importing.Adoption) if field.name in wanted}
    adoption = importing.Adoption(**options)
    folder = context.workspace.directory(wanted["folder"])
    web = lora_sources.web_for(
        workspace.settings, loopback=wanted["from_here"], anonymous=not members.manages(workspace)
    )
    try:
        importing.bring_config(web, found, folder)
        path = web.download(
            found.url,
            folder / WEIGHTS_NAME,
            most=header.LARGEST_FILE,
            sha256=found.sha256,
            kept=True,
            told=_Meter(context, found),
        )
        context.report(Progress("import", message="Checking the weights"))
        made = importing.adopt(workspace, path, found, adoption, folder)
    except (Cancelled, VendorBusy, VendorFailed):
        raise  # what came is gone on with
    except BaseUnclear as question:
        shutil.rmtree(folder, ignore_errors=True)
        question.thing = found.url  # so that whoever answers can name it again
        raise
    except LimnerError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return {"lora": made.name}


def _asker(context: StageContext, wanted: dict[str, Any]) -> Workspace:
    """The home as whoever asked for the import sees it: what is another user's, and the home's token, is not theirs."""
    with context.workspace.database.read() as session:
        owner = session.get_one(JobRow, context.job).owner
    return context.workspace.owned_by(owner) if wanted["owned"] and owner else context.workspace


class _Meter:
    """Tells a job how far its download is, and ends the download where the job is to stop."""

    def __init__(self, context: StageContext, found: Found) -> None:
        self._context, self._found = context, found
        self._began: tuple[float, int] | None = None

    def __call__(self, have: int, size: int) -> None:
        self._context.progress.check_cancelled()
        moment, total = time.monotonic(), size or self._found.byte_size
        if self._began is None:
            self._began = moment, have
        seconds, fresh = moment - self._began[0], have - self._began[1]
        rate = fresh / seconds if fresh and seconds > LEAST_SECONDS else None
        self._context.report(
            Progress(
                "import",
                done=have,
                total=total,
                unit="byte",
                rate=rate,
                seconds_left=max(0, total - have) / rate if rate and total else None,
                message=f"Fetching {self._found.name[:100]}" + ("" if total else f": {have / 1e6:.1f} MB so far"),
            )
        )
