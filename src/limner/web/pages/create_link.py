"""Links to the Create page with its form filled in."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

__all__ = ["create_link"]


def create_link(of: int | str = "", *, vary: str = "", loras: Sequence[str] = (), **over: str | int | float) -> str:
    """The address of the Create page, filled in from a picture (its number) or a generation (its id).

    ``vary``: "seed" leaves the seed open, "prompt" keeps it and goes to the prompt. ``loras`` (``zibbo@v1:0.8``) and
    ``over`` (prompt, subject, template, base, generator, width, height, steps, guidance, seed, count) stand over it.
    """
    parts: list[tuple[str, str]] = []
    if of:
        parts.append(("from", str(of)))
    if vary:
        parts.append(("vary", vary))
    parts += [("lora", name) for name in loras]
    parts += [(name, str(value)) for name, value in over.items() if value not in ("", None)]
    return f"/create?{urlencode(parts)}" if parts else "/create"
