"""Fetching: the import of a lora from the Hub or an address, as a job that goes on where it was broken off."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from weakref import WeakKeyDictionary

from limner.catalog import find_base
from limner.datasets.triggers import check_slug
from limner.errors import BaseUnclear, Cancelled, InputRefused, LimnerError, VendorBusy, VendorFailed
from limner.hubs.hub import WEIGHTS_NAME
from limner.loras.file import header
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.operations.jobs.context import StageContext
from limner.operations.jobs.request import StageRequest
from limner.operations.loras import adopt
from limner.operations.loras import sources as lora_sources
from limner.operations.loras.sources import Found
from limner.operations.members import actions as members
from limner.operations.subjects import actions as subjects
from limner.records import Job
from limner.store.models import JobRow
from limner.types import Progress, SubjectKind

__all__ = ["ImportRequest", "stage", "submit"]

AT_ONCE = 4
"""Imports that fetch at the same time; slow servers must not take the threads of other work."""
GLANCE_SECONDS = 0.5
LEAST_SECONDS = 0.2
"""Of less than that no rate is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest(adopt.Adoption, StageRequest):
    """One file to be fetched, and what it becomes here. ``folder`` is that of the job that began to fetch it.

    ``owned``: whoever asked sees only their own; ``from_here``: addresses of this machine may be named.
    """

    stage: ClassVar[str] = "import"

    found: Found
    from_here: bool
    owned: bool
    kind: SubjectKind
    folder: str = ""


_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def submit(workspace: Workspace, source: str, adoption: adopt.Adoption) -> Job:
    """Enqueue the import of a LoRA from the Hub or an https address.

    What can be known at once is refused at once: names, a base that is none, an address that may not be used, a repo or
    file that is not there, a slug that is another user's. InputRefused: the source is a file here. The job fails with
    BaseUnclear where several bases fit, and none was named.
    """
    subject = adoption.subject
    check_slug(subject)
    if adoption.base:
        find_base(adoption.base)
    inside = workspace.from_here if adoption.from_here is None else adoption.from_here
    place = lora_sources.parse(str(source), workspace.settings, files=inside)
    if isinstance(place, Path):
        place = lora_sources.weights_of(place)
        if not place.is_file():
            raise adopt.no_file(place)
        raise InputRefused(
            f"{place} is a file on this machine: there is nothing to fetch.",
            remedy="Import it directly: Studio.import_lora, or limner loras import.",
            thing=str(place),
        )
    subjects.refuse_anothers(workspace, subject)
    anonymous = not members.manages(workspace)
    found = lora_sources.find(place, workspace.settings, anonymous=anonymous)
    lora_sources.web_for(workspace.settings, loopback=inside, anonymous=anonymous).check(found.url)
    settled = {"from_here": inside, "kind": subjects.find_kind(adoption.kind)}
    job = lifecycle.new_id("job")
    # A job that goes on with this one goes on with what it had fetched.
    request = ImportRequest(found=found, owned=workspace.owner is not None, folder=job, **{**vars(adoption), **settled})
    return lifecycle.enqueue(workspace, "import", [request], subject=subject, job=job, waits=True)


async def stage(context: StageContext, request: ImportRequest) -> Mapping[str, object]:
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
        return await asyncio.to_thread(_import, context, request)
    finally:
        gate.release()


def _import(context: StageContext, request: ImportRequest) -> Mapping[str, object]:
    workspace = _asker(context, request)
    found = request.found
    folder = context.workspace.directory(request.folder)
    web = lora_sources.web_for(workspace.settings, loopback=request.from_here, anonymous=not members.manages(workspace))
    try:
        adopt.bring_config(web, found, folder)
        path = web.download(
            found.url,
            folder / WEIGHTS_NAME,
            most=header.LARGEST_FILE,
            sha256=found.sha256,
            kept=True,
            told=_Meter(context, found),
        )
        context.report(Progress("import", message="Checking the weights"))
        made = adopt.adopt(workspace, path, found, request, folder)
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


def _asker(context: StageContext, request: ImportRequest) -> Workspace:
    """The home as whoever asked for the import sees it: what is another user's, and the home's token, is not theirs."""
    with context.workspace.database.read() as session:
        owner = session.get_one(JobRow, context.job).owner
    return context.workspace.owned_by(owner) if request.owned and owner else context.workspace


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
