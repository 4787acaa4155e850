"""Logging in and out, the users of this Limner, and a user's password and API tokens."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response

from limner.errors import AccessRefused, Conflict, InputRefused, LimnerError, TooManyTries
from limner.records import NewToken
from limner.studio import Studio
from limner.web.access.doorkeeper import Doorkeeper
from limner.web.access.identity import require, visitor_of
from limner.web.access.refusing import form_again, local_path, login_page
from limner.web.access.throttle import client_address
from limner.web.visit import Notice, StudioOf, Visit, back, page

__all__ = ["router"]

router = APIRouter()

Text = Annotated[str, Form()]
SCOPE_WORDS = (
    ("read", "Read", "Look at everything, and download it."),
    ("write", "Write", "Add, change and delete; start work that costs nothing."),
    ("spend", "Spend", "Start work that a vendor is paid for."),
    ("admin", "Admin", "Manage users, accounts and settings."),
)
DAYS = (("30", "in 30 days"), ("90", "in 90 days"), ("365", "in a year"), ("", "never"))


def _door(request: Request) -> Doorkeeper:
    door: Doorkeeper = request.app.state.doorkeeper
    return door


Door = Annotated[Doorkeeper, Depends(_door)]


# --- logging in and out ---------------------------------------------------------------------------------------------


@router.get("/login")
def login(request: Request, visit: Visit, door: Door, next: str = "/") -> Response:  # noqa: A002
    if visit.user or not door.login:
        return back(local_path(next))
    return login_page(request, next_page=local_path(next))


@router.post("/login")
def log_in(
    request: Request,
    door: Door,
    name: Text = "",
    password: Text = "",
    next: Text = "/",  # noqa: A002
    kept: Text = "",
    kept_to: Text = "",
) -> Response:
    place = local_path(next)
    if not door.login:
        return back(place)
    failure: LimnerError | None = None
    secret = None
    try:
        secret = door.log_in(name, password, client_address(request, door.rules))
    except TooManyTries as refused:
        failure = refused
    if secret is None:
        failure = failure or AccessRefused("The name or the password is wrong.", remedy="Check both, then try again.")
        made = login_page(
            request,
            status=failure.status,
            next_page=place,
            ended=bool(kept),
            kept=kept,
            kept_to=local_path(kept_to),
            name=name[:64],
            failure=failure,
        )
        if isinstance(failure, TooManyTries):
            made.headers["Retry-After"] = failure.thing
        return made
    old = door.session_secret(request.headers)
    if old:
        door.members.close_session(old)
    door.forget_all()
    fields = _fields(kept)
    if fields:
        answer = form_again(request, door.visitor_after(secret), local_path(kept_to), fields, status=200)
    else:
        answer = back(place)
    answer.headers.append("set-cookie", door.session_cookie(secret))
    return answer


def _fields(kept: str) -> list[tuple[str, str]]:
    try:
        return [(str(name), str(value)) for name, value in json.loads(kept)] if kept else []
    except (ValueError, TypeError):
        return []


@router.post("/logout")
def log_out(request: Request, visit: Visit, door: Door, everywhere: Text = "") -> Response:
    secret = door.session_secret(request.headers)
    if secret:
        door.members.close_session(secret)
    if everywhere and visit.user:
        door.members.close_sessions(visit.user)
    door.forget_all()
    words = "You are logged out everywhere." if everywhere else "You are logged out."
    answer = back("/login" if door.login else "/", Notice("note", words))
    answer.headers.append("set-cookie", door.no_session_cookie())
    return answer


# --- users ----------------------------------------------------------------------------------------------------------


def _users_page(
    request: Request,
    studio: Studio,
    *,
    status: int = 200,
    name: str = "",
    error: LimnerError | None = None,
) -> Response:
    return page(request, "pages/users.html", status=status, users=studio.members.users(), name=name, error=error)


@router.get("/settings/users", dependencies=[Depends(require("admin"))])
def users(request: Request, studio: StudioOf) -> Response:
    return _users_page(request, studio)


@router.post("/settings/users", dependencies=[Depends(require("admin"))])
def add_user(
    request: Request,
    studio: StudioOf,
    door: Door,
    name: Text = "",
    password: Text = "",
    admin: Text = "",
) -> Response:
    try:
        made = studio.members.add(name.strip(), password, admin=bool(admin))
    except (InputRefused, Conflict) as refused:
        return _users_page(request, studio, status=refused.status, name=name, error=refused)
    door.forget_all()
    return back("/settings/users", Notice("note", f"Added the user {made.name}."))


@router.post("/settings/users/{name}/{action}", dependencies=[Depends(require("admin"))])
def change_user(
    studio: StudioOf,
    door: Door,
    name: str,
    action: str,
    password: Text = "",
    give_to: Text = "",
) -> Response:
    members = studio.members
    try:
        if action == "remove":
            members.remove(name, give_to=give_to)
            words = f"Removed the user {name}."
        elif action == "password":
            members.set_password(name, password)
            words = f"{name} has another password, and is logged out everywhere."
        elif action in ("admin", "no-admin"):
            members.set_admin(name, action == "admin")
            words = f"{name} is an admin now." if action == "admin" else f"{name} is no admin any more."
        else:
            raise InputRefused(f"'{action[:40]}' cannot be done with a user.", remedy="Go back.")
    except (Conflict, InputRefused) as refused:
        return back("/settings/users", Notice("refusal", refused.message, refused.remedy))
    door.forget_all()
    return back("/settings/users", Notice("note", words))


# --- one's own password and tokens ----------------------------------------------------------------------------------


@router.post("/settings/password")
def change_password(request: Request, visit: Visit, door: Door, old: Text = "", password: Text = "") -> Response:
    try:
        door.change_password(visit.user, client_address(request, door.rules), old, password)
    except (AccessRefused, InputRefused) as refused:
        return back("/settings/tokens", Notice("refusal", refused.message, refused.remedy))
    answer = back("/settings/tokens", Notice("note", "You have another password. Other browsers were logged out."))
    answer.headers.append("set-cookie", door.session_cookie(door.members.open_session(visit.user)))
    return answer


def _tokens_page(
    request: Request,
    studio: Studio,
    *,
    status: int = 200,
    made: NewToken | None = None,
    name: str = "",
    chosen: list[str] | None = None,
    days: str = "90",
    error: LimnerError | None = None,
) -> Response:
    return page(
        request,
        "pages/tokens.html",
        status=status,
        tokens=studio.members.tokens(),
        made=made,
        scopes=[entry for entry in SCOPE_WORDS if entry[0] in visitor_of(request).scopes],
        chosen=["read", "write"] if chosen is None else chosen,
        name=name,
        days=days,
        day_choices=DAYS,
        error=error,
    )


@router.get("/settings/tokens")
def tokens(request: Request, studio: StudioOf) -> Response:
    return _tokens_page(request, studio)


@router.post("/settings/tokens")
def add_token(
    request: Request,
    visit: Visit,
    studio: StudioOf,
    name: Text = "",
    scopes: Annotated[list[str] | None, Form()] = None,
    days: Text = "",
) -> Response:
    wanted = scopes or []
    if not set(wanted) <= visit.scopes:
        # A token that may write must not make itself one that may spend.
        raise AccessRefused("A token cannot have more scopes than you.", remedy="Leave them out.", thing="scopes")
    try:
        if days and not (days.isdecimal() and len(days) < 10):
            raise InputRefused("That is no number of days.", remedy="Choose when it expires.", thing="days")
        made = studio.members.add_token(name, scopes=wanted, days=int(days) if days else None)
    except InputRefused as refused:
        return _tokens_page(request, studio, status=refused.status, name=name, chosen=wanted, days=days, error=refused)
    # Shown by the answer itself, not after a redirect: then its words would have to be kept somewhere.
    return _tokens_page(request, studio, status=201, made=made)


@router.post("/settings/tokens/{token}/remove")
def remove_token(studio: StudioOf, door: Door, token: str) -> Response:
    gone = studio.members.remove_token(token)
    door.forget_all()
    return back("/settings/tokens", Notice("note", f"The token {gone.name} was revoked."))
