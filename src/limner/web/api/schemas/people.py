"""Users and API tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, StrictBool, StrictInt

from limner.web.api.schemas.plain import Answer, Body

__all__ = ["NewToken", "NewUser", "PasswordChange", "Token", "TokenWanted", "User", "UserChange"]

Scope = Literal["read", "write", "spend", "admin"]


class User(Answer):
    """Somebody who may log in. ``adopted``: how many things became theirs by being added first."""

    name: str
    admin: bool
    created_at: datetime
    adopted: int = 0


class NewUser(Body):
    """A user to be added; the first one is an admin."""

    name: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=1_000, description="At least 10 characters.")
    admin: StrictBool = False


class UserChange(Body):
    """What is to be another one of a user; what is left out stays as it is. A new password ends their sessions."""

    password: str | None = Field(default=None, min_length=1, max_length=1_000)
    admin: StrictBool | None = None


class PasswordChange(Body):
    """One's own password, and another one for it."""

    old: str = Field(min_length=1, max_length=1_000)
    new: str = Field(min_length=1, max_length=1_000, description="At least 10 characters.")


class Token(Answer):
    """An API token, without its words."""

    id: str
    name: str
    owner: str = ""
    scopes: list[str]
    created_at: datetime
    last_used_at: datetime | None = None
    expires_at: datetime | None = None


class TokenWanted(Body):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=100, description="What it is for.")
    scopes: list[Scope] = Field(default=["read", "write"], min_length=1, max_length=4)
    days: StrictInt | None = Field(default=None, ge=1, le=3_650, description="It expires then; never if left out.")


class NewToken(Answer):
    """A token just made. ``secret`` is shown this once."""

    token: Token
    secret: str
