"""An answer of the API as it was given, kept for the same request sent again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["KeptAnswer"]


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it was given: its status, headers and bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
