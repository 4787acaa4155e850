"""Users, who only admins manage, and everybody's own API tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query, Request
from fastapi.responses import Response
from pydantic import Field, StrictBool, StrictInt

from limner.errors import NotFound
from limner.records import NewToken, Token, User
from limner.studio import Studio
from limner.web.access.doorkeeper import Doorkeeper
from limner.web.access.identity import refuse_without
from limner.web.access.throttle import client_address
from limner.web.api.cursors import PartAsked
from limner.web.api.path_parameters import UserName, api_router
from limner.web.api.shapes import Body, Counted, Page
from limner.web.visit import StudioOf, Visit

__all__ = ["router"]

router = api_router("users")

Scope = Literal["read", "write", "spend", "admin"]
TokenId = Annotated[str, Path(min_length=1, max_length=100, description="The token's id.")]


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


class TokenWanted(Body):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=100, description="What it is for.")
    scopes: list[Scope] = Field(default=["read", "write"], min_length=1, max_length=4)
    days: StrictInt | None = Field(default=None, ge=1, le=3_650, description="It expires then; never if left out.")


@router.get("/users", operation_id="list_users", summary="List the users")
def users(studio: StudioOf, part: PartAsked) -> Page[User]:
    """By name. For admins."""
    found = studio.members.users()
    return part.page(found, lambda one: (one.name,))


@router.post("/users", status_code=201, operation_id="create_user", summary="Add a user")
def add(response: Response, studio: StudioOf, wanted: NewUser) -> User:
    """The first one is an admin, and what was in the home so far becomes theirs. For admins."""
    made = studio.members.add(wanted.name, wanted.password, admin=wanted.admin)
    response.headers["Location"] = f"/api/v1/users/{made.name}"
    return made


@router.get("/users/{user}", operation_id="get_user", summary="See a user")
def show(studio: StudioOf, user: UserName) -> User:
    """For admins."""
    return _user(studio, user)


@router.patch("/users/{user}", operation_id="update_user", summary="Change a user's password or rights")
def change(request: Request, studio: StudioOf, user: UserName, wanted: UserChange) -> User:
    """What is left out stays. For admins."""
    changed = studio.members.change(_user(studio, user).name, password=wanted.password, admin=wanted.admin)
    request.app.state.doorkeeper.forget_all()
    return changed


@router.delete("/users/{user}", operation_id="delete_user", summary="Remove a user")
def remove(
    request: Request,
    studio: StudioOf,
    user: UserName,
    give_to: Annotated[str, Query(max_length=64, description="Who gets what they own.")] = "",
) -> User:
    """With their sessions and tokens. For admins."""
    gone = studio.members.remove(user, give_to=give_to)
    request.app.state.doorkeeper.forget_all()
    return gone


@router.delete("/users/{user}/sessions", operation_id="close_sessions", summary="Log a user out everywhere")
def close(request: Request, studio: StudioOf, user: UserName) -> Counted:
    """How many sessions ended. Tokens go on. For admins."""
    _user(studio, user)
    ended = studio.members.close_sessions(user)
    request.app.state.doorkeeper.forget_all()
    return Counted(count=ended)


@router.put("/password", status_code=204, operation_id="change_password", summary="Change your own password")
def password(request: Request, visit: Visit, wanted: PasswordChange) -> None:
    """All your sessions end; tokens go on. Wrong ones are counted as at the login."""
    door: Doorkeeper = request.app.state.doorkeeper
    door.change_password(visit.user, client_address(request, door.rules), wanted.old, wanted.new)


@router.get("/tokens", operation_id="list_tokens", summary="List your API tokens", tags=["tokens"])
def tokens(studio: StudioOf, part: PartAsked) -> Page[Token]:
    """Newest first; their words are not kept."""
    return part.page(studio.members.tokens(), lambda one: (one.created_at.isoformat(), one.id), newest_first=True)


@router.post("/tokens", status_code=201, operation_id="create_token", summary="Make an API token", tags=["tokens"])
def add_token(request: Request, response: Response, studio: StudioOf, wanted: TokenWanted) -> NewToken:
    """Its words are shown this once. It may have no scope that who asks lacks; what a token makes ends with it."""
    visitor = request.state.visitor
    for scope in wanted.scopes:
        refuse_without(visitor, scope)
    made = studio.members.add_token(wanted.name, scopes=wanted.scopes, days=wanted.days, until=visitor.until)
    response.headers["Location"] = f"/api/v1/tokens/{made.token.id}"
    response.headers["Cache-Control"] = "no-store"
    return made


@router.get("/tokens/{token}", operation_id="get_token", summary="See an API token", tags=["tokens"])
def token(studio: StudioOf, token: TokenId) -> Token:
    """Without its words."""
    for one in studio.members.tokens():
        if one.id == token:
            return one
    raise NotFound(f"There is no token '{token}'.", remedy="List them: GET /api/v1/tokens.", thing=token)


@router.delete("/tokens/{token}", operation_id="delete_token", summary="Revoke an API token", tags=["tokens"])
def revoke(request: Request, studio: StudioOf, token: TokenId) -> Token:
    """By its id, or a name that only one has."""
    gone = studio.members.remove_token(token)
    request.app.state.doorkeeper.forget_all()
    return gone


def _user(studio: Studio, name: str) -> User:
    for one in studio.members.users():
        if one.name == name:
            return one
    raise NotFound(f"There is no user '{name}'.", remedy="List them: GET /api/v1/users.", thing=name)
