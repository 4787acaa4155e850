"""What a real vendor would charge for, counted."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Paid"]


@dataclass(frozen=True, slots=True)
class Paid:
    """One job or picture that costs: what it was, the vendor's id or the request's digest, and when (Unix seconds)."""

    what: str
    tag: str
    at: float
