"""Canonical JSON: one text for one content, so that its digest is the content's identity."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from typing import Any, NoReturn

from limner.errors import InputRefused

__all__ = ["canonical_json", "read_plain", "sha256"]


def canonical_json(plain: Any) -> str:
    """JSON as RFC 8785 writes it: sorted keys, no spaces, UTF-8 text in NFC; whole numbers only.

    InputRefused: a number is not whole, a key is not ASCII, or a text is not Unicode.
    """
    text = json.dumps(_checked(plain), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputRefused("A text holds half a surrogate pair, which is no character.") from None
    return text


def _checked(plain: Any) -> Any:
    if plain is None or isinstance(plain, bool | int):
        return plain
    if isinstance(plain, str):
        return unicodedata.normalize("NFC", plain)
    if isinstance(plain, Mapping):
        if not all(isinstance(key, str) and key.isascii() for key in plain):
            raise InputRefused(f"The keys {list(plain)[:5]} must be plain words.")
        return {key: _checked(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_checked(value) for value in plain]
    raise InputRefused(f"{plain!r} has no canonical form.", remedy="Use whole numbers, texts, lists and objects.")


def read_plain(text: str | bytes) -> Any:
    """Plain data from JSON. InputRefused: it is not JSON, names a key twice, or holds a number that is not whole."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(found)
        if len(result) != len(found):
            raise ValueError(f"a key occurs twice among {[key for key, _ in found][:10]}")
        return result

    def refuse(number: str) -> NoReturn:
        raise ValueError(f"{number} is not a whole number")

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_float=refuse, parse_constant=refuse)
    except (ValueError, RecursionError) as failure:
        raise InputRefused(f"This is not the JSON that was expected: {failure}.") from failure


def sha256(data: str | bytes) -> str:
    """The SHA-256 of bytes, or of a text's UTF-8, in lower-case hexadecimal."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()
