"""What an answer tells of the vendor's rate limit, in any of the forms in use, read so that nonsense does no harm."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["Told", "read_told", "words_of_wait"]

LONGEST = 24 * 3600.0
"""Seconds; what is told beyond a day is taken for a day."""

_WORDS = re.compile(
    r"(?:resets?|retry|try\s+again|available|wait)\b[^.\d]{0,40}?(\d{1,7}(?:\.\d{1,6})?)\s*"
    r"(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b",
    re.IGNORECASE,
)
_UNITS = {"ms": 0.001, "m": 60.0, "h": 3600.0, "s": 1.0}
_PAIR = re.compile(r"(?:^|[;,\s])(limit|remaining|reset|[qrtw])\s*=\s*\"?(-?\d+(?:\.\d+)?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Told:
    """What was told: ``wait`` seconds before the next call, ``remaining`` calls for the ``reset`` seconds to come,
    ``limit`` calls in ``window`` seconds. None: not told."""

    wait: float | None = None
    remaining: int | None = None
    reset: float | None = None
    limit: int | None = None
    window: float | None = None


def read_told(
    headers: Mapping[str, str], body: Any = None, *, refused: bool = False, wall: float | None = None
) -> Told:
    """Read Retry-After (seconds or date), retry-after-ms, x-ratelimit-*, RateLimit, RateLimit-Policy and -Reset.

    ``headers`` have lower-case names. ``refused``: the answer is a refusal, so a reset is a time to wait, and words
    such as "resets in ~30s" in ``body`` count as well. ``wall`` is the Unix time of now.
    """
    wall = time.time() if wall is None else wall
    fields = _fields(headers.get("ratelimit", ""))
    policy = _fields(headers.get("ratelimit-policy", ""))
    prefixes = ("ratelimit-", "x-ratelimit-", "x-rate-limit-")
    remaining = _count(fields.get("remaining")) if "remaining" in fields else _first(headers, prefixes, "remaining")
    limit = _count(policy.get("limit")) if "limit" in policy else _first(headers, prefixes, "limit")
    reset = _until(fields.get("reset"), wall)
    if reset is None:
        resets = (_until(headers.get(f"{prefix}reset"), wall) for prefix in prefixes)
        reset = next((value for value in resets if value is not None), None)
    wait = _retry_after(headers, wall)
    if wait is None and refused:
        wait = reset if reset is not None else words_of_wait(body)
    window = _number(policy.get("window"))
    return Told(wait, remaining, reset, limit, window if window and window <= LONGEST else None)


def words_of_wait(body: Any) -> float | None:
    """Seconds that a refusal's words ask for, such as "Your rate limit resets in ~30s."; None if they ask for none."""
    found = _WORDS.search(_said(body))
    if found is None:
        return None
    unit = found[2].lower()
    factor = _UNITS.get("ms" if unit.startswith(("ms", "mill")) else unit[:1], 1.0)
    return min(float(found[1]) * factor, LONGEST)


def _said(body: Any) -> str:
    if isinstance(body, str):
        return body[:2000]
    if isinstance(body, Mapping):
        return " ".join(_said(body.get(name)) for name in ("detail", "message", "error", "title"))[:2000]
    return ""


def _fields(text: str) -> dict[str, str]:
    """The pairs of a structured header; of several policies the first that says most is enough."""
    names = {"q": "limit", "r": "remaining", "t": "reset", "w": "window"}
    found: dict[str, str] = {}
    for name, value in _PAIR.findall(text[:1000]):
        found.setdefault(names.get(name.lower(), name.lower()), value)
    return found


def _first(headers: Mapping[str, str], prefixes: tuple[str, ...], name: str) -> int | None:
    counts = (_count(headers.get(f"{prefix}{name}")) for prefix in prefixes)
    return next((count for count in counts if count is not None), None)


def _retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None and milliseconds >= 0:
        return min(milliseconds / 1000, LONGEST)
    text = headers.get("retry-after")
    return _until(text, wall, _date(headers.get("date")) or wall)


def _until(text: str | None, wall: float, told_at: float | None = None) -> float | None:
    """Seconds from now: a count, a Unix time in seconds or milliseconds, or a date seen from ``told_at``."""
    value = _number(text)
    if value is None:
        moment = _date(text)
        if moment is None:
            return None
        value = moment - (told_at or wall)
    elif value > 1e11:
        value = value / 1000 - wall
    elif value > 1e8:
        value -= wall
    return min(max(value, 0.0), LONGEST)


def _number(text: str | None) -> float | None:
    try:
        value = float((text or "").strip().removesuffix("s"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _count(text: str | None) -> int | None:
    """The leading whole number; older drafts write a policy behind it ("100, 100;w=60")."""
    value = _number((text or "").replace(";", ",").split(",")[0])
    return int(value) if value is not None and 0 <= value < 1e9 else None


def _date(text: str | None) -> float | None:
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        try:
            moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        except ValueError:
            return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
