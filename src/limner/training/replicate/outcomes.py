"""Why a training at Replicate ended without weights, in one sentence, and what to do about it."""

from __future__ import annotations

import re

from limner.types import JobState
from limner.vendors.replicate.error_words import is_content, is_credit
from limner.vendors.secrets.tokens import redact

__all__ = ["GONE", "STUCK", "explain"]

KEPT = "Your photos and dataset are kept."
_OTHER = "Try another trainer, or go on later with: limner trainings resume (that is a new purchase)"
GONE = (
    "Replicate does not know this training any more: it keeps the data of a training for about an hour.",
    "The trained model may still be on your account there; else train again.",
)
STUCK = (
    "The training at Replicate has shown no sign of life for {minutes:.0f} minutes and was stopped there.",
    _OTHER + ". Wait longer with --set trainer.stuck_minutes=...",
)
# (what its error or log says, what that means, what to do); the first that fits counts
_KNOWN = (
    (
        r"out of memory|OutOfMemoryError",
        "the GPU's memory was too small for this recipe",
        "Use a smaller resolution, rank or batch_size, then train again.",
    ),
    (
        r"must be a zip|not a zip|BadZipFile",
        "it could not read the zip of the photos, which was checked after the upload",
        "Train again; if it stays so, tell Replicate.",
    ),
    (
        r"no space left|read-only file system|FLUX\.1-dev['\"/ ].{0,60}not found|no such file or directory|"
        r"cuda error|cuda driver|nvml|device-side|gpu .{0,20}(?:lost|fell)|pget|connection (?:reset|refused|error)|"
        r"unhealthy|director:|interrupted|please retry|code: ?PA\b|internal (?:server )?error|timed? ?out|"
        r"evicted|preempt|"
        r"failed to (?:start|boot|pull)|E\d{4}\b",
        "a fault on Replicate's side",
        _OTHER,
    ),
    (
        r"didn't match any layers",
        "the setting layers_to_optimize_regex matches no layer",
        "Correct trainer.layers_to_optimize_regex, then train again.",
    ),
)


def explain(status: str, error: str, logs: str, asked_to_stop: bool = False) -> tuple[JobState, str, str]:
    """The state, what happened in a sentence, and the remedy, for a training that ended without success."""
    said = redact(error)[:300].rstrip(".")
    words = f" It says: {said}." if said else ""
    if status in ("canceled", "cancelled"):
        if asked_to_stop:
            return JobState.CANCELLED, "The training was stopped.", f"{KEPT} Train again with: limner trainings resume"
        message = (
            "The training was stopped at Replicate: by somebody with the account, or because it ran too long there."
        )
        return JobState.CANCELLED, message + words, f"{KEPT} Train again with: limner trainings resume"
    if status == "aborted":
        message = "Replicate ended the training before it began, so it cost nothing."
        return JobState.FAILED, message + words, _OTHER
    if is_credit(error):
        return (
            JobState.FAILED,
            f"The account at Replicate has no credit for this training.{words}",
            f"Add credit there. {KEPT}",
        )
    if is_content(error):
        message = f"Replicate's content filter refused the photos.{words}"
        return JobState.FAILED, message, "Use other photos, or another trainer."
    for pattern, meaning, remedy in _KNOWN:
        if re.search(pattern, f"{error}\n{logs[-3000:]}", re.IGNORECASE):
            return JobState.FAILED, f"The training at Replicate failed: {meaning}.{words}", f"{KEPT} {remedy}"
    message = (
        f"The training at Replicate failed.{words}"
        if words
        else "The training at Replicate failed and it does not say why."
    )
    return JobState.FAILED, message, f"{KEPT} See its log. {_OTHER}"
