"""Text of others: which characters no terminal and no name may hold, and what stands in their place.

Control characters move the cursor, retitle the window or ring; bidirectional ones turn a line around; those that are
not seen make two names look like one; half a surrogate pair is no character. One set for all of them, said here.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from limner.errors import NameRefused

__all__ = ["STAND_IN", "fit_for_terminal", "invisible_replaced", "json_text", "one_line", "plain", "plain_name"]

STAND_IN = "\ufffd"
"""What is shown for a character that is not: one for one, so that columns and styles keep their places."""

# Unicode's categories Cc, Cf, Cs, Zl and Zp, with the whole of the invisible tags; written out, as looking for them
# takes longer than a command. A test compares them with Python's own table.
_UNFIT_RANGES = (
    (0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x600, 0x605), (0x61C, 0x61C), (0x6DD, 0x6DD), (0x70F, 0x70F),
    (0x890, 0x891), (0x8E2, 0x8E2), (0x180E, 0x180E), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F),
    (0xD800, 0xDFFF), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0x110BD, 0x110BD), (0x110CD, 0x110CD),
    (0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE007F),
)  # fmt: skip
_CLASS = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in _UNFIT_RANGES)
_UNFIT = re.compile(f"[{_CLASS}]")
_UNFIT_BUT_LINES = re.compile(f"(?![\\n\\t])[{_CLASS}]")


def fit_for_terminal(text: str) -> str:
    """The text as a terminal may have it: lines and tabs stay, what else is no visible character is replaced."""
    if text.isascii() and text.isprintable():
        return text
    return _UNFIT_BUT_LINES.sub(STAND_IN, text.replace("\r\n", "\n"))


def invisible_replaced(name: str) -> str:
    """A file's name with a stand-in for each character that cannot be seen, also for tabs and line ends."""
    return _UNFIT.sub(STAND_IN, name)


def one_line(text: str) -> str:
    """The text as one line, for the cell of a table: line ends and tabs become spaces as well."""
    if text.isascii() and text.isprintable():
        return text
    return _UNFIT.sub(STAND_IN, re.sub(r"\r\n|[\t\n\r\v\f\x85\u2028\u2029]", " ", text))


def plain_name(text: str, what: str, *, longest: int, thing: str = "name") -> str:
    """A name as it may be kept: in NFC, without spaces at its ends; empty stays so.

    NameRefused: it holds characters that cannot be seen or turn a line around, or is longer than ``longest``.
    """
    name = unicodedata.normalize("NFC", text).strip()
    unfit = _UNFIT.search(name)
    if unfit:
        raise NameRefused(
            f"The {what} '{one_line(name)[:80]}' holds U+{ord(unfit[0]):04X}, which is no visible character.",
            remedy="Write it in one line, in plain letters, digits and signs.",
            thing=thing,
        )
    if len(name) > longest:
        raise NameRefused(
            f"The {what} has {len(name)} characters; {longest} is the most.", remedy="Shorten it.", thing=thing
        )
    return name


def plain(value: Any) -> Any:
    """Any record as JSON data."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Path | Decimal):
        return str(value)
    if isinstance(value, str):
        # Of an enumeration its word.
        return str(value)
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return [plain(entry) for entry in value]
    return value


def json_text(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """JSON that is fit for a terminal and says the same: what cannot be shown is escaped, never replaced."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    return text if ascii_only else _UNFIT_BUT_LINES.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
