"""The text of a caption file, in whatever encoding its program wrote it."""

from __future__ import annotations

import codecs
import unicodedata

from limner.errors import CaptionRefused

__all__ = ["decode", "decoded"]


def decode(data: bytes, where: str) -> str:
    """The text of a caption file. CaptionRefused names the file and the byte where it stops being text."""
    return decoded(data, where)[0]


def decoded(data: bytes, where: str) -> tuple[str, bool]:
    """The text, and whether its encoding was guessed: UTF-8 and UTF-16 are known, Windows-1252 is what else it may be.

    UTF-8 with or without a mark; UTF-16 with one, or without where every second byte is 0.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not data.startswith(codecs.BOM_UTF32_LE):
        return _strict(data, "utf-16", "UTF-16", where, 0), False
    unmarked = _utf16_without_mark(data)
    if unmarked:
        return _strict(data, unmarked, "UTF-16", where, 0), False
    if data.startswith(codecs.BOM_UTF8):
        # The decoder counts from behind the mark.
        return _strict(data, "utf-8-sig", "UTF-8", where, len(codecs.BOM_UTF8)), False
    try:
        return data.decode("utf-8"), False
    except UnicodeDecodeError as failure:
        text = _windows(data)
        if text is None:
            raise _refused(where, "UTF-8", failure.start) from None
        return text, True


def _strict(data: bytes, encoding: str, title: str, where: str, mark: int) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as failure:
        raise _refused(where, title, failure.start + mark) from None


def _refused(where: str, title: str, place: int) -> CaptionRefused:
    return CaptionRefused(
        f"{where} is not {title}: it breaks at byte {place}.",
        remedy="Save it as UTF-8; text editors call this the encoding.",
        thing=where,
    )


def _utf16_without_mark(data: bytes) -> str:
    """The byte order of text without a mark whose letters are mostly those of one byte; "" if it is none."""
    if len(data) < 4 or len(data) % 2 or b"\0" not in data[:400]:
        return ""
    sample = data[:400]
    for encoding, zeros, letters in (
        ("utf-16-le", sample[1::2], sample[::2]),
        ("utf-16-be", sample[::2], sample[1::2]),
    ):
        if zeros.count(0) * 2 > len(zeros) and 0 not in letters:
            return encoding
    return ""


def _windows(data: bytes) -> str | None:
    """The text in Windows-1252; None where it has bytes that are no letters there, as other files have."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return None
    return None if any(unicodedata.category(c) == "Cc" and c not in "\t\r\n" for c in text) else text
