"""Users, their sessions and the API tokens, as the studio shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["NewToken", "Session", "Token", "User"]


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in. ``adopted``: how many things that belonged to nobody became theirs by being added."""

    name: str
    admin: bool
    created_at: datetime
    adopted: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is logged in; ``digest`` is the SHA-256 of what its cookie holds."""

    digest: str = field(repr=False)
    user: str
    admin: bool
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """An API token; its words are shown once, when it is made. ``owner`` "" where there are no users."""

    id: str
    name: str
    owner: str
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made, with its words: nobody can look them up later."""

    token: Token
    secret: str = field(repr=False)
