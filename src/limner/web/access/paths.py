"""What needs which right, by its path and method."""

from __future__ import annotations

import re

from limner.web.access.origins import SAFE_METHODS

__all__ = ["is_api", "is_open", "scopes_needed", "takes_files"]

API = ("/api/v1", "/uploads", "/mcp")
"""Asked by programs, and by our own scripts: answered with problems, never with pages."""
OPEN = ("/static", "/login")
"""Seen by who has not logged in."""
ADMIN = (
    "/settings",
    "/accounts",
    "/system",
    "/doctor",
    "/users",
    "/api/v1/settings",
    "/api/v1/accounts",
    "/api/v1/system",
    "/api/v1/doctor",
    "/api/v1/users",
)
EVERYBODYS = ("/settings/tokens", "/settings/password")
"""Under an admin's path, but each user's own."""
FILES = {
    ("POST", "multipart/form-data"): re.compile(r"/loras/import|/subjects/[^/]+/drop"),
    ("POST", "application/offset+octet-stream"): re.compile(r"/api/v1/uploads"),
    ("PATCH", "application/offset+octet-stream"): re.compile(r"/api/v1/uploads/[^/]+"),
}
"""Where files come in, by method and type of the body."""


def _under(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def is_api(path: str) -> bool:
    """Whether programs ask here."""
    return _under(path, API)


def is_open(path: str) -> bool:
    """Whether everybody may ask here."""
    return _under(path, OPEN)


def scopes_needed(method: str, path: str) -> tuple[str, ...]:
    """The scopes that the guard asks for; routes may ask for more."""
    if is_open(path):
        return ()
    kind = "read" if method in SAFE_METHODS else "write"
    return (kind, "admin") if _under(path, ADMIN) and not _under(path, EVERYBODYS) else (kind,)


def takes_files(method: str, path: str, kind: str) -> bool:
    """Whether a body of this type brings files here, and so has the limits of uploads."""
    place = FILES.get((method, kind))
    return place is not None and place.fullmatch(path) is not None
