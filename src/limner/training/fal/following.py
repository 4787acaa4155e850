"""Following a request at fal to its end, whatever fal says of it, and however long it says nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from limner.errors import ContentRefused, LimnerError, NotFound, VendorBusy, VendorFailed, VendorRefused, WorkFailed
from limner.training.fal.log import LogFacts, read_log
from limner.training.fal.run_notes import RunNotes
from limner.training.trainer import TrainingReport
from limner.types import JobState, Progress

if TYPE_CHECKING:
    from limner.vendors.fal.answers import Status
    from limner.vendors.fal.client import FalClient, Job

__all__ = ["follow"]

PAUSES = (2.0, 30.0)
"""Fewest and most seconds between two looks."""
QUEUED_FOR = 24 * 3600.0
STUCK_AFTER = 3 * 3600.0
SILENT_FOR = 6 * 3600.0
"""Seconds in the queue, without any change while running, and without any answer of fal's, until we give up."""
TRIES = 3
"""How often a result may fail to come before it counts as a failure of the model's."""
LOG_LINES = 40
FREE = "fal does not charge for failures of its own; start it anew: limner trainings resume"


async def follow(fal: FalClient, job: Job, notes: RunNotes, steps: int) -> TrainingReport:
    """Where the request is; its end is written down, and told from the notes from then on."""
    if notes["result"] or notes["failed"]:
        return _ended(notes, LogFacts(), steps)
    try:
        status = await fal.status(job, logs=True)
    except (VendorBusy, VendorFailed) as failure:
        return _silent(notes, failure, steps)
    except NotFound:
        await _lost(fal, job, notes)
        return _ended(notes, LogFacts(), steps)
    facts = read_log(status.logs, steps)
    _note(notes, status)
    word = status.state.value
    if word in ("completed", "failed", "cancelled"):
        await _finish(fal, job, notes, status)
        if notes["result"] or notes["failed"]:
            return _ended(notes, facts, steps, status.logs)
        return _going(notes, status, facts, steps, message="fetching the result")
    if word == "queued":
        return _queued(notes, status, steps)
    if time.time() - float(notes["changed_at"]) > STUCK_AFTER:
        return _given_up(notes, f"has not moved for {STUCK_AFTER / 3600:.0f} hours (fal says {status.word})", steps)
    return _going(notes, status, facts, steps)


def _note(notes: RunNotes, status: Status) -> None:
    """Remember when it last moved. Written only on a change: a thousand trainings are looked at all day."""
    lines = len(status.logs)
    if notes["silent_since"]:
        notes.write(silent_since=None)
    seen = (notes["word"], notes["lines"])
    if seen != (status.word, lines):
        now = time.time()
        notes.write(word=status.word, lines=lines, changed_at=now)


async def _finish(fal: FalClient, job: Job, notes: RunNotes, status: Status) -> None:
    """The request has ended: get its result, or learn why there is none. Neither is written while fal is in trouble."""
    try:
        result = await fal.result(job, failed=bool(status.error))
    except NotFound:
        result = await _from_list(fal, job)
        if result is None and not status.error:
            _fail(
                notes, "fal has the result of the training no longer.", "Train it again; results are kept for a time."
            )
            return
    except (ContentRefused, VendorRefused) as refusal:
        _fail(notes, refusal.message, refusal.remedy)
        return
    except (VendorBusy, VendorFailed) as failure:
        tries = int(notes["unfetched"] or 0) + 1
        notes.write(unfetched=tries)
        if status.error or tries >= TRIES:
            _fail(notes, status.error or failure.message, FREE, free=True)
        return
    except WorkFailed as failure:
        _fail(notes, failure.message, failure.remedy, free=True)
        return
    file = lora_file(result)
    if file:
        notes.write(result=file, ended_at=time.time())
    elif status.error or status.state.value != "completed" or result is not None:
        said = status.error or f"it ended as {status.word} and gave no lora"
        _fail(
            notes, f"The training failed at fal: {said}.", "fal does not charge for failures of its own; start it anew."
        )


def lora_file(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The lora among the files of a result: its address, and its size where it is told."""
    for name in ("diffusers_lora_file", "lora_file"):
        file = (result or {}).get(name)
        if isinstance(file, Mapping) and isinstance(file.get("url"), str) and file["url"]:
            return {"url": file["url"], "size": file.get("file_size")}
    return None


async def _from_list(fal: FalClient, job: Job) -> Mapping[str, Any] | None:
    try:
        return await fal.output(job)
    except LimnerError:
        return None


async def _lost(fal: FalClient, job: Job, notes: RunNotes) -> None:
    """fal's queue knows the request no longer: it was taken out, or it ended long ago."""
    if file := lora_file(await _from_list(fal, job)):
        notes.write(result=file, ended_at=time.time())
    else:
        remedy = "Start it anew." if notes["cancel"] else "Look at fal.ai/dashboard; start it anew if it is not there."
        _fail(notes, f"fal knows no request {job.request_id} any more.", remedy)


def _fail(notes: RunNotes, error: str, remedy: str, *, free: bool = False) -> None:
    """``free``: it failed by fal's own fault, which costs nothing."""
    notes.write(failed={"error": error.replace("..", "."), "remedy": remedy, "free": free}, ended_at=time.time())


def _silent(notes: RunNotes, failure: LimnerError, steps: int) -> TrainingReport:
    """fal does not answer now. The training goes on there all the same, so this is no end of it, for hours."""
    if not notes["silent_since"]:
        notes.write(silent_since=time.time())
    if time.time() - float(notes["silent_since"]) > SILENT_FOR:
        notes.write(silent_since=None)
        raise failure
    message = f"no word from fal: {failure.message}"
    return TrainingReport(JobState.RUNNING, Progress("train", 0, steps, "step", message=message), poll_after=PAUSES[1])


def _queued(notes: RunNotes, status: Status, steps: int) -> TrainingReport:
    waited = time.time() - float(notes["at"])
    if time.time() - float(notes["changed_at"]) > QUEUED_FOR:
        return _given_up(notes, f"has waited for {QUEUED_FOR / 3600:.0f} hours in fal's queue", steps)
    place = "" if status.position is None else f", {status.position} before it"
    progress = Progress("train", 0, steps, "step", message=f"waiting in fal's queue{place}")
    return TrainingReport(JobState.WAITING, progress, poll_after=_pause(waited))


def _given_up(notes: RunNotes, why: str, steps: int) -> TrainingReport:
    """It takes too long. That is no end of it: whoever resumes looks at the same request again, and pays nothing."""
    notes.write(changed_at=time.time())
    return TrainingReport(
        JobState.FAILED,
        Progress("train", 0, steps, "step"),
        f"The training {why}.",
        "limner trainings resume looks at it again and pays nothing; to end it, cancel it at fal.ai/dashboard.",
    )


def _going(notes: RunNotes, status: Status, facts: LogFacts, steps: int, *, message: str = "") -> TrainingReport:
    odd = "" if status.state.value in ("running", "completed") else f"fal says {status.word}"
    if notes["cancel"] and not message:
        message = "fal was asked to stop it"
    progress = Progress(
        "train", facts.done, steps, "step", facts.rate, facts.seconds_left, facts.loss, message=message or odd
    )
    log = "\n".join(status.logs[-LOG_LINES:])
    pause = _pause(time.time() - float(notes["at"]))
    return TrainingReport(JobState.RUNNING, progress, poll_after=pause, losses=facts.losses, log=log)


def _ended(notes: RunNotes, facts: LogFacts, steps: int, logs: tuple[str, ...] = ()) -> TrainingReport:
    log = "\n".join(logs[-LOG_LINES:])
    if notes["result"]:
        progress = Progress("train", steps, steps, "step", loss=facts.loss)
        return TrainingReport(JobState.DONE, progress, losses=facts.losses, log=log)
    failed = notes["failed"]
    state = JobState.CANCELLED if notes["cancel"] else JobState.FAILED
    progress = Progress("train", facts.done, steps, "step", loss=facts.loss)
    error = "The training was stopped at fal." if notes["cancel"] else failed["error"]
    remedy = "Starting it anew is paid anew." if notes["cancel"] else failed["remedy"]
    return TrainingReport(state, progress, error, remedy, losses=facts.losses, log=log)


def _pause(elapsed: float) -> float:
    """The longer it has gone on, the longer until the next look."""
    return min(PAUSES[1], max(PAUSES[0], elapsed / 20))
