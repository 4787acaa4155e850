"""The doorkeeper: knows by its cookies or token who asks, and makes the tokens of forms."""

from __future__ import annotations

import base64
import hmac
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from anyio import to_thread
from starlette.datastructures import Headers

from limner.errors import AccessRefused, Conflict, LoginNeeded
from limner.records import Session, Token
from limner.studio import Studio
from limner.web.access.cookies import GUEST_SECONDS, CookieNames, cookie_words, new_guest, read_cookies
from limner.web.access.identity import ALL_SCOPES, STRANGER, Visitor
from limner.web.access.rules import Rules
from limner.web.access.throttle import Throttle

__all__ = ["Caller", "Doorkeeper"]

KNOWN_SECONDS = 2.0
"""For so long a session or token is not looked up again: a page asks for dozens of things at once."""
MOST_KNOWN = 4_096
SESSION_SECONDS = 14 * 24 * 3600

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, how that is known, and the cookies that the answer has to set."""

    visitor: Visitor
    bearer: bool = False
    cookies: tuple[str, ...] = ()


class Doorkeeper:
    """One for an app: ``app.state.doorkeeper``."""

    def __init__(self, studio: Studio, rules: Rules) -> None:
        self.rules = rules
        self.login = rules.login
        """Whether everybody has to log in: as the rules say, or since there are users. It never becomes False again."""
        self._users_sought = -math.inf
        self.members = studio.members
        self.throttle = Throttle()
        self.names = CookieNames.of(self.members.secret_for("cookies", "")[:4].hex(), secure=rules.secure)
        self._forms = self.members.secret_for("forms", "")
        self._known: dict[tuple[str, str], tuple[float, object]] = {}

    # --- who asks -----------------------------------------------------------------------------------------------

    async def caller(self, headers: Headers, *, page: bool) -> Caller:
        """Who asks; ``page``: a guest gets a cookie, for the forms of the page. LoginNeeded: the token is no good."""
        kind, _, words = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            found = await self._look_up("token", words.strip(), self.members.token)
            if found is None:
                raise LoginNeeded(
                    "This token is unknown, or has ended.", remedy="Make another: limner tokens add.", thing="token"
                )
            return Caller(self._by_token(*found, words.strip()), bearer=True)
        guest, secret = read_cookies(headers, self.names)
        if not self.login:
            await self._look_for_users()
        if self.login and secret:
            known = ("session", secret) in self._known
            session = await self._look_up("session", secret, self.members.session)
            if session is not None:
                # Its end was put off: the browser is told, though not with a picture, which may be kept in a cache.
                again = (self.session_cookie(secret),) if page and not known else ()
                return Caller(self._logged_in(session, secret), cookies=again)
        cookies = []
        if not guest and page:
            guest = new_guest()
            cookies.append(self._cookie(self.names.guest, guest, seconds=GUEST_SECONDS))
        csrf = self.form_token(guest) if guest else ""
        if not self.login:
            return Caller(Visitor(csrf=csrf), cookies=tuple(cookies))
        stranger = Visitor(owner=STRANGER.owner, admin=False, scopes=STRANGER.scopes, csrf=csrf)
        return Caller(stranger, cookies=tuple(cookies))

    async def _look_for_users(self) -> None:
        """Whoever adds the first user shall be able to trust in it, though the server runs already."""
        if time.monotonic() - self._users_sought < KNOWN_SECONDS:
            return
        self._users_sought = time.monotonic()
        if await to_thread.run_sync(self.members.users):
            self.login = True

    async def still(self, headers: Headers, visitor: Visitor) -> bool:
        """Whether who asked with these headers would be the same visitor now: for answers that go on for long."""
        try:
            now = (await self.caller(headers, page=False)).visitor
        except LoginNeeded:
            return False
        return replace(now, csrf="") == replace(visitor, csrf="")

    def _by_token(self, token: Token, admin: bool, secret: str) -> Visitor:
        scopes = frozenset(token.scopes) & ALL_SCOPES
        admin = admin and "admin" in scopes
        return Visitor(token.owner, token.owner or None, admin, scopes, self.form_token(secret), token.expires_at)

    def _logged_in(self, session: Session, secret: str) -> Visitor:
        scopes = ALL_SCOPES if session.admin else ALL_SCOPES - {"admin"}
        return Visitor(session.user, session.user, session.admin, scopes, self.form_token(secret))

    async def _look_up(self, kind: str, secret: str, find: Callable[[str], Found | None]) -> Found | None:
        # By its kind too: the secret of a session is no token, and has something else to be found.
        held = self._known.pop((kind, secret), None)
        if held is not None and time.monotonic() - held[0] < KNOWN_SECONDS:
            self._known[kind, secret] = held
            return cast(Found, held[1])
        found = await to_thread.run_sync(find, secret)
        if found is None:
            return None
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[kind, secret] = (time.monotonic(), found)
        return found

    def forget_all(self) -> None:
        """Look everybody up again: somebody's rights have changed."""
        self._users_sought = -math.inf
        self._known.clear()

    def change_password(self, user: str, address: str, old: str, new: str) -> None:
        """Give who asks another password; every session of theirs ends.

        Conflict: nobody has to log in. AccessRefused: ``old`` is wrong, TooManyTries: so often. InputRefused: ``new``
        cannot be used.
        """
        if not user:
            raise Conflict("Nobody has to log in here, so there is no password.", remedy="limner users add NAME")
        self.throttle.begin(user, address)
        if self.members.check_password(user, old) is None:
            raise AccessRefused("The old password is wrong.", remedy="Type it again.", thing="old")
        self.throttle.good(user, address)
        self.members.set_password(user, new)
        self.forget_all()

    # --- logging in and out -------------------------------------------------------------------------------------

    def log_in(self, name: str, password: str, address: str) -> str | None:
        """A new session's secret, or None. TooManyTries: wait first. The name that is not there is answered alike."""
        name = name.strip().lower()
        self.throttle.begin(name, address)
        user = self.members.check_password(name, password)
        if user is None:
            return None
        self.throttle.good(name, address)
        return self.members.open_session(user.name)

    def visitor_after(self, secret: str) -> Visitor:
        """Who has just logged in, for a page that is shown at once."""
        session = self.members.session(secret)
        return STRANGER if session is None else self._logged_in(session, secret)

    def session_cookie(self, secret: str) -> str:
        """The Set-Cookie words of who has just logged in."""
        return self._cookie(self.names.session, secret, seconds=SESSION_SECONDS)

    def no_session_cookie(self) -> str:
        """The Set-Cookie words of who has logged out."""
        return self._cookie(self.names.session, "", seconds=0)

    def session_secret(self, headers: Headers) -> str:
        """What the session's cookie holds, "" if there is none."""
        return read_cookies(headers, self.names)[1]

    def _cookie(self, name: str, value: str, *, seconds: int) -> str:
        return cookie_words(name, value, seconds=seconds, secure=self.rules.secure)

    # --- the tokens of forms ------------------------------------------------------------------------------------

    def form_token(self, secret: str) -> str:
        """The token of the forms of a guest or session: nobody else can make it, and it tells nothing of the secret."""
        made = hmac.digest(self._forms, secret.encode(), "sha256")
        return base64.urlsafe_b64encode(made).decode().rstrip("=")

    def is_form_token(self, token: str, visitor: Visitor) -> bool:
        """Whether a form was ours, and this visitor's."""
        return bool(visitor.csrf) and hmac.compare_digest(token.encode(), visitor.csrf.encode())
