"""Lists in parts: a cursor says after which thing the next part begins, whatever is added or erased meanwhile."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Query, Request
from fastapi.responses import Response

from limner.errors import InputRefused
from limner.web.api.shapes import Page

__all__ = ["Cursor", "Limit", "Part", "PartAsked", "link_next"]

MOST = 500
USUAL = 50
Item = TypeVar("Item")
Place = tuple[datetime, str]


class _Placed(Protocol):
    @property
    def created_at(self) -> datetime: ...
    @property
    def id(self) -> str: ...


PlacedItem = TypeVar("PlacedItem", bound=_Placed)

Limit = Annotated[int, Query(ge=1, le=MOST, description="The most things in this part.")]
Cursor = Annotated[str, Query(max_length=1_000, description="Where the part begins: ``next`` of the part before.")]


class Part:
    """The part of a list that a request asks for."""

    def __init__(self, request: Request, response: Response, limit: Limit = USUAL, cursor: Cursor = "") -> None:
        self._request, self._response = request, response
        self._limit, self._cursor = limit, cursor

    def page(
        self,
        items: Iterable[Item],
        key: Callable[[Item], tuple[str, ...]],
        *,
        newest_first: bool = False,
    ) -> Page[Item]:
        """The items after the cursor. ``key`` orders them, each its own.

        InputRefused: the cursor is none of this list's.
        """
        ordered = sorted(items, key=key, reverse=newest_first)
        if self._cursor:
            after = _read(self._request, self._cursor, width=len(key(ordered[0])) if ordered else None)
            ordered = [one for one in ordered if (key(one) < after if newest_first else key(one) > after)]
        part = ordered[: self._limit]
        following = _write(self._request, key(part[-1])) if len(ordered) > self._limit else None
        link_next(self._request, self._response, following)
        return Page(part, following)

    def fetched(self, fetch: Callable[[int, Place | None], Sequence[PlacedItem]]) -> Page[PlacedItem]:
        """What ``fetch`` gives, newest first: at most so many, of those before a place."""
        found = fetch(self._limit + 1, self._before() if self._cursor else None)
        part = list(found[: self._limit])
        more = len(found) > self._limit
        following = _write(self._request, (part[-1].created_at.isoformat(), part[-1].id)) if more else None
        link_next(self._request, self._response, following)
        return Page(part, following)

    def _before(self) -> Place:
        at, name = _read(self._request, self._cursor, width=2)
        try:
            found = datetime.fromisoformat(at)
        except ValueError:
            raise _unknown() from None
        if found.tzinfo is None:
            raise _unknown()
        return found, name


PartAsked = Annotated[Part, Depends()]


def link_next(request: Request, response: Response, following: str | None) -> None:
    """Say in a ``Link`` header where the next part is."""
    if following:
        query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
        address = f"{request.url.path}?{urlencode([*query, ('cursor', following)])}"
        response.headers["Link"] = f'<{address}>; rel="next"'


def _write(request: Request, key: tuple[str, ...]) -> str:
    words = json.dumps([_list(request), *key], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(words.encode()).decode().rstrip("=")


def _read(request: Request, cursor: str, *, width: int | None) -> tuple[str, ...]:
    try:
        words: Any = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        name, *key = words
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise _unknown() from None
    fits = isinstance(words, list) and all(isinstance(part, str) for part in key)
    if not fits or name != _list(request) or (width is not None and len(key) != width):
        raise _unknown()
    return tuple(key)


def _list(request: Request) -> str:
    """Which list it is: a cursor of another one would begin anywhere."""
    return str(request.url.path)


def _unknown() -> InputRefused:
    return InputRefused(
        "This cursor is none of this list's.", remedy="Leave it out to begin at the start.", thing="cursor"
    )
