"""The two cookies: of a guest, which carries no right and only ties forms to a browser, and of who is logged in."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from starlette.datastructures import Headers

__all__ = ["GUEST_SECONDS", "CookieNames", "cookie_words", "new_guest", "read_cookies"]

SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
GUEST_SECONDS = 400 * 24 * 3600
"""As long as browsers keep a cookie at most: a form may be open for long."""


@dataclass(frozen=True, slots=True)
class CookieNames:
    """What the cookies are called. Cookies know no ports, so each home's have a name of their own."""

    guest: str
    session: str

    @classmethod
    def of(cls, mark: str, *, secure: bool) -> CookieNames:
        """The names for a home's mark; those of https can be set by no other name and no other path."""
        start = "__Host-" if secure else ""
        return cls(f"{start}limner_guest_{mark}", f"{start}limner_session_{mark}")


def read_cookies(headers: Headers, names: CookieNames) -> tuple[str, str]:
    """The guest's and the session's secret, "" for one that is not there or cannot be ours."""
    found = {names.guest: "", names.session: ""}
    for header in headers.getlist("cookie"):
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            # The first one wins, as browsers send the most specific first.
            if name in found and not found[name] and SECRET.fullmatch(value):
                found[name] = value
    return found[names.guest], found[names.session]


def new_guest() -> str:
    """A guest's secret."""
    return secrets.token_urlsafe(32)


def cookie_words(name: str, value: str, *, seconds: int, secure: bool) -> str:
    """The value of a Set-Cookie header; no seconds take the cookie away."""
    words = f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax"
    return f"{words}; Secure" if secure else words
