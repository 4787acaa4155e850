"""Reading what is sent strictly: JSON that any database can hold, in its own media type."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from fastapi import Request

from limner.errors import InputRefused
from limner.web.api.shapes import MOST_INT

__all__ = ["WrongMediaType", "read_strictly", "refuse_unstorable"]

DEEPEST = 40


class WrongMediaType(InputRefused):
    """The body comes as something that is not read here."""

    status = 415
    code = "wrong-media-type"


async def read_strictly(request: Request) -> bytes:
    """The bytes of a JSON body, parsed once for the route. InputRefused: it is none, or holds what nobody can store."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    known = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    # What is of another type is not even received: it may be large.
    body = b"" if kind and not known else await request.body()
    if not body and not kind:
        return body
    if not known:
        raise WrongMediaType(
            f"A body of the type '{kind[:80] or 'none'}' is not read here.",
            remedy="Send JSON, with Content-Type: application/json.",
            thing="Content-Type",
        )
    if not body:
        return body
    try:
        # Starlette keeps what was parsed, so the route does not do it again.
        request._json = json.loads(body, parse_constant=_no_number, parse_int=_whole)
    except (ValueError, RecursionError):
        raise InputRefused("The body is no JSON that can be read.", remedy="Send valid JSON in UTF-8.") from None
    refuse_unstorable(request._json, "body")
    return body


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


def _whole(digits: str) -> int:
    if len(digits) > 25:
        raise ValueError("too many digits")
    return int(digits)


def refuse_unstorable(value: Any, at: str, depth: int = 0) -> None:
    """Refuse NUL and half characters, whole numbers of more than 64 bits, and what is nested too deep."""
    if isinstance(value, str):
        _refuse_text(value, at)
    elif isinstance(value, int) and not -MOST_INT - 1 <= value <= MOST_INT:
        raise InputRefused(f"{at} holds a number of more than 64 bits.", remedy="Send a smaller one.", thing=at)
    elif isinstance(value, list | dict):
        if depth > DEEPEST:
            raise InputRefused(f"{at} is nested too deep.", remedy="Send plainer data.", thing=at)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, one in pairs:
            if isinstance(name, str):
                _refuse_text(name, at)
            refuse_unstorable(one, at, depth + 1)


def _refuse_text(text: str, at: str) -> None:
    if "\x00" in text:
        raise InputRefused(f"{at} holds a NUL character.", remedy="Send text without it.", thing=at)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputRefused(f"{at} holds half a character.", remedy="Send valid Unicode.", thing=at) from None
