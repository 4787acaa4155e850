"""Who visits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from fastapi import Request

from limner.errors import AccessRefused

__all__ = ["ALL_SCOPES", "STRANGER", "Visitor", "require", "visitor_of"]

ALL_SCOPES = frozenset({"read", "write", "spend", "admin"})


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who makes a request. ``owner`` is whose things are seen, None for all of them (nobody has to log in).

    ``user`` is "" where nobody has to log in. ``csrf`` is the token that forms of this session carry. ``until``: when
    the API token by which they ask ends.
    """

    user: str = ""
    owner: str | None = None
    admin: bool = True
    scopes: frozenset[str] = field(default=ALL_SCOPES)
    csrf: str = field(default="", repr=False)
    until: datetime | None = None


STRANGER = Visitor(owner="", admin=False, scopes=frozenset())
"""Who has not logged in where that is needed: owns nothing, sees nothing, may nothing."""


def visitor_of(request: Request) -> Visitor:
    """The visitor of a request, as the access middleware found out."""
    visitor: Visitor = request.state.visitor
    return visitor


def require(scope: str) -> Callable[[Request], Visitor]:
    """A dependency of a route for which reading and writing are not enough: ``Depends(require("spend"))``."""

    def check(request: Request) -> Visitor:
        visitor = visitor_of(request)
        refuse_without(visitor, scope)
        return visitor

    return check


def refuse_without(visitor: Visitor, scope: str) -> None:
    """AccessRefused: the visitor's token lacks the scope, or it is an admin's and the visitor is none."""
    if scope == "admin" and not visitor.admin:
        raise AccessRefused("Only an admin may do this.", remedy="Ask an admin of this Limner.", thing="admin")
    if scope not in visitor.scopes:
        raise AccessRefused(
            f"This token lacks the scope '{scope}'.", remedy="Make one that has it: limner tokens add.", thing=scope
        )
