"""What fal answers, read leniently: states nobody told us of, missing fields and unknown errors are survived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from limner.errors import ContentRefused, LimnerError, NotFound, OutOfCredit, VendorRefused, WorkFailed
from limner.vendors.http.answers import as_mapping, message_of
from limner.vendors.secrets.tokens import redact

__all__ = ["Listed", "State", "Status", "failure_of", "read_listed", "read_status"]

CONTENT = ("content_policy_violation", "content policy", "nsfw", "flagged by a content", "safety checker")
MOST_WORDS = 300


class State(StrEnum):
    """The states of a request, as far as they matter to us."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


_STATES: Mapping[str, State] = {
    "IN_QUEUE": State.QUEUED,
    "IN_PROGRESS": State.RUNNING,
    "COMPLETED": State.COMPLETED,
    "OK": State.COMPLETED,
    "FAILED": State.FAILED,
    "ERROR": State.FAILED,
    "CANCELED": State.CANCELLED,
    "CANCELLED": State.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Status:
    """Where a request is: fal's own ``word``, and how many wait before it (``position``)."""

    state: State
    word: str
    position: int | None = None
    logs: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """One request in the list of past requests."""

    request_id: str
    input: Mapping[str, Any] = field(default_factory=dict, repr=False)
    output: Mapping[str, Any] = field(default_factory=dict, repr=False)


def read_status(body: Any) -> Status:
    """A status answer."""
    given = as_mapping(body)
    word = str(given.get("status") or "")
    position = given.get("queue_position")
    return Status(
        state=_STATES.get(word.upper(), State.UNKNOWN),
        word=word or "no status",
        position=position if isinstance(position, int) and not isinstance(position, bool) else None,
        logs=tuple(_lines(given.get("logs"))),
        error=redact(message_of(given.get("error")))[:MOST_WORDS] if given.get("error") else "",
    )


def _lines(logs: Any) -> list[str]:
    entries = logs if isinstance(logs, list) else []
    texts = [entry.get("message") if isinstance(entry, Mapping) else entry for entry in entries]
    return [redact(text) for text in texts if isinstance(text, str)]


def read_listed(items: Any) -> list[Listed]:
    """The entries of a list of past requests that can be read."""
    return [
        Listed(item["request_id"], as_mapping(item.get("json_input")), as_mapping(item.get("json_output")))
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, Mapping) and isinstance(item.get("request_id"), str)
    ]


def failure_of(status: int, headers: Mapping[str, str], body: Any, *, final: bool = False) -> LimnerError | None:
    """A refusal or failure in the model's own words; None where the client's general words are right.

    ``final``: it is known that the request itself failed, so that a status above 499 is no disturbance.
    OutOfCredit. ContentRefused: its filter said no. VendorRefused: the input is wrong. NotFound: no such request.
    WorkFailed: the model failed, which fal does not charge for.
    """
    kinds, words = _details(body)
    kinds.append(headers.get("x-fal-error-type", ""))
    if status in (402, 403) and "balance" in words.lower():
        return OutOfCredit(
            f"The account at fal has no credit for this ({words}).",
            remedy="Add some at fal.ai/dashboard/billing, then resume.",
            thing="fal",
        )
    if status in (401, 402, 403, 408, 425, 429):
        return None
    if status < 500 and any(mark in text.lower() for mark in CONTENT for text in (*kinds, words)):
        return ContentRefused(
            f"fal's content filter refused it: {words}.".replace("..", "."),
            remedy="Change the prompt, or look at the photos; it is no fault of the settings.",
            thing="fal",
        )
    if status == 404:
        return NotFound(f"fal does not know that ({words or 'not found'}).", remedy="It may have expired.", thing="fal")
    if status < 500:
        return VendorRefused(
            f"fal refuses the input: {words or status}.".replace("..", "."),
            remedy="Change what it names.",
            thing="fal",
        )
    if final or kinds[-1] or isinstance(as_mapping(body).get("detail"), list):
        # the model's own failure, not that of a machine before it
        return WorkFailed(
            f"The model failed at fal: {words or status}.".replace("..", "."),
            remedy="fal does not charge for it; try again, or take another model.",
            thing="fal",
        )
    return None


def _details(body: Any) -> tuple[list[str], str]:
    """The types of the errors in a body, and all of them as words: ``steps: input should be at most 10000``."""
    detail = body.get("detail") if isinstance(body, Mapping) else body
    if not isinstance(detail, list):
        return [str(as_mapping(body).get("error_type") or "")], redact(message_of(body))[:MOST_WORDS].rstrip(".")
    kinds, words = [], []
    for entry in detail:
        if not isinstance(entry, Mapping):
            words.append(message_of(entry))
            continue
        kinds.append(str(entry.get("type") or ""))
        where = entry.get("loc")
        place = ".".join(str(part) for part in where if part != "body") if isinstance(where, list) else ""
        words.append(f"{place}: {message_of(entry.get('msg'))}" if place else message_of(entry.get("msg")))
    return kinds, redact("; ".join(word.rstrip(".") for word in words))[:MOST_WORDS]
