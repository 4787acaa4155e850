"""The gallery's filter as it stands in an address: read from it, written to it, told in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, tzinfo
from typing import Annotated, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Depends, Request

from limner.records import GalleryFilter

__all__ = ["Asked", "FilterOf", "query_of"]

LONGEST = 1_000
ZONE_COOKIE = "limner_zone"
"""What app.js says of where the visitor is, such as ``Europe/Vienna``."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for: the filter of all that could be read, what was typed, and what is wrong with it by field."""

    wanted: GalleryFilter
    typed: dict[str, str]
    errors: dict[str, str]

    @property
    def query(self) -> str:
        """The filter as the part of an address after the question mark, "" for everything."""
        return query_of(self.wanted)

    @property
    def chips(self) -> list[tuple[str, str]]:
        """Each part of the filter in words, with the query without it."""
        wanted, chips = self.wanted, []
        parts: list[tuple[str, str, Any]] = [
            ("subject", f"Subject {wanted.subject}", ""),
            ("lora", f"LoRA {wanted.lora}", ""),
            ("text", f"Prompt has “{wanted.text}”", ""),
            ("generator", f"Drawn by {wanted.generator}", ""),
            ("favourite", "Favourites", False),
            ("since", f"From {wanted.since}", None),
            ("until", f"Until {wanted.until}", None),
            ("seed", f"Seed {wanted.seed}", None),
        ]
        for name, words, nothing in parts:
            if getattr(wanted, name) != nothing:
                chips.append((words, query_of(replace(wanted, **{name: nothing}))))
        return chips


def query_of(wanted: GalleryFilter, **more: Any) -> str:
    """A filter as a query; ``more`` stands at its end where it is not empty."""
    parts = {
        "subject": wanted.subject,
        "lora": wanted.lora,
        "q": wanted.text,
        "generator": wanted.generator,
        "favourite": "1" if wanted.favourite else "",
        "since": wanted.since or "",
        "until": wanted.until or "",
        "seed": "" if wanted.seed is None else wanted.seed,
        **more,
    }
    return urlencode({name: value for name, value in parts.items() if value != ""})


async def _asked(request: Request) -> Asked:
    typed = {name: value[:LONGEST].strip() for name, value in request.query_params.items()}
    errors: dict[str, str] = {}

    def day(name: str) -> date | None:
        words = typed.get(name, "")
        try:
            return date.fromisoformat(words) if words else None
        except ValueError:
            errors[name] = "This is no date. Write it as 2026-11-24."
            return None

    seed: int | None = None
    if words := typed.get("seed", ""):
        if words.isascii() and words.isdecimal() and len(words) <= 19:
            seed = int(words)
        else:
            errors["seed"] = "A seed is a whole number."
    wanted = GalleryFilter(
        subject=typed.get("subject", ""),
        lora=typed.get("lora", ""),
        text=" ".join(typed.get("q", "").split()),
        generator=typed.get("generator", ""),
        favourite=typed.get("favourite", "") in ("1", "true", "on"),
        since=day("since"),
        until=day("until"),
        seed=seed,
        zone=_zone(request.cookies.get(ZONE_COOKIE, "")),
    )
    return Asked(wanted, typed, errors)


def _zone(name: str) -> tzinfo:
    """The visitor's time zone, in which the pages tell them times; UTC where it is not known, as without a script."""
    try:
        return ZoneInfo(name[:64]) if name else UTC
    except (KeyError, ValueError, OSError):
        return UTC


FilterOf = Annotated[Asked, Depends(_asked)]
"""The filter of a request's query."""
