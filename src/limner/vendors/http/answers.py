"""What a vendor answered, read so that no form of body can break it."""

from __future__ import annotations

import json as json_format
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answer", "as_mapping", "as_number", "as_text", "message_of", "read_json"]

LONGEST_MESSAGE = 300
DEEPEST = 6
_WORDS_FIRST = ("detail", "message", "error_description", "error", "errors", "msg", "title", "reason")
_TAG = re.compile(r"<\s*(?:!doctype|html|head|body|title|center|h1|p|div)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """A vendor's answer: status, headers with lower-case names, and the JSON (None if it is none) beside the bytes."""

    status: int
    headers: Mapping[str, str]
    json: Any
    content: bytes = field(repr=False, default=b"")

    @property
    def object(self) -> Mapping[str, Any]:
        """The JSON object that it is, empty if it is none."""
        return as_mapping(self.json)

    @property
    def kind(self) -> str:
        """The content type in lower case, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_page(self) -> bool:
        """Whether it is an HTML page, which only something between us and the vendor's interface sends."""
        return self.json is None and (
            "html" in self.kind or bool(_TAG.match(self.content[:200].decode("latin-1").lstrip()))
        )


def as_mapping(value: Any) -> Mapping[str, Any]:
    """A value that should be an object, empty if it is none."""
    return value if isinstance(value, Mapping) else {}


def as_text(value: Any) -> str:
    """A value that should be a text, "" if it is none."""
    return value if isinstance(value, str) else ""


def as_number(value: Any) -> float | None:
    """A value that should be a number, None if it is none; true and false are none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def read_json(content: bytes, kind: str) -> Any:
    """The JSON of a body, None if it is broken, cut off or none; a wrong content type does not hide it."""
    start = content.lstrip()[:1]
    if "json" not in kind and start not in (b"{", b"["):
        return None
    try:
        return json_format.loads(content)
    except (ValueError, RecursionError):
        return None


def message_of(body: Any) -> str:
    """The words of a vendor's error body, whatever its form: a line of at most 300 characters, "" if there are none."""
    words = " ".join("".join(c if c.isprintable() else " " for c in _words(body, 0)).split())
    return words if len(words) <= LONGEST_MESSAGE else f"{words[: LONGEST_MESSAGE - 1]}…"


def _words(body: Any, depth: int) -> str:
    if depth > DEEPEST or body is None or isinstance(body, bool):
        return ""
    if isinstance(body, str):
        return "" if _TAG.search(body[:500]) else body[: 4 * LONGEST_MESSAGE]
    if isinstance(body, Mapping):
        found = next((words for name in _WORDS_FIRST if (words := _words(body.get(name), depth + 1).strip())), "")
        place = body.get("loc")
        if found and isinstance(place, list):
            named = ".".join(str(part)[:60] for part in place[-3:] if isinstance(part, str | int) and part != "body")
            return f"{named}: {found}" if named else found
        return found
    if isinstance(body, list):
        return "; ".join(words for entry in body[:5] if (words := _words(entry, depth + 1).strip()))
    return str(body)[:LONGEST_MESSAGE] if isinstance(body, int | float) and depth else ""
