"""What the words of Replicate's errors mean, where it has no status of their own for that."""

from __future__ import annotations

import re

__all__ = ["is_content", "is_credit"]

_CONTENT = re.compile(
    r"nsfw|sensitive|content (?:policy|filter|moderation)|safety (?:checker|filter)|\bE005\b", re.IGNORECASE
)
_CREDIT = re.compile(
    r"insufficient credit|out of credit|spend(?:ing)? limit|payment (?:method|required)|billing", re.IGNORECASE
)


def is_content(error: str) -> bool:
    """Whether a content filter said no."""
    return bool(_CONTENT.search(error))


def is_credit(error: str) -> bool:
    """Whether the account has no credit left."""
    return bool(_CREDIT.search(error))
