"""Values of JSON that somebody else wrote, taken only where they are what they should be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["LONGEST", "entries", "json_object", "number", "pairs", "words"]

LONGEST = 8 * 2**20
"""Characters of a text that are read: the largest graphs of ComfyUI have some megabytes."""


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is, None if it is none; ComfyUI's NaN is taken."""
    if len(text) > LONGEST or text.lstrip()[:1] != "{":
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found else None


def entries(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none for anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def words(value: Any) -> str:
    """A text; "" for anything else."""
    return value if isinstance(value, str) else ""


def number(value: Any, otherwise: float = 1.0) -> float:
    """A finite number, also one that is written as a text."""
    try:
        found = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else otherwise
    except (ValueError, OverflowError):
        return otherwise
    return found if abs(found) < float("inf") else otherwise


def pairs(found: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, str]:
    """The plain values of an object under the titles that A1111 gave them; the first of several of one title."""
    taken: dict[str, str] = {}
    for name, title in titles.items():
        value = found.get(name)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and str(value)[:1]:
            taken.setdefault(title, str(value)[:2000] if isinstance(value, str) else _shown(value))
    if found.get("width") and found.get("height"):
        taken.setdefault("Size", f"{str(found['width'])[:9]}x{str(found['height'])[:9]}")
    return taken


def _shown(value: float) -> str:
    try:
        return str(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return ""
