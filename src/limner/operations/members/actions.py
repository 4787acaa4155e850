"""Members: who may use the home through the web. Of passwords, sessions and tokens only hashes are kept."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session as DatabaseSession

from limner.errors import AccessRefused, Conflict, InputRefused, NameRefused, NotFound
from limner.operations.home import signing_key
from limner.operations.home.facet import Facet
from limner.operations.home.ownership import OWNED
from limner.operations.home.workspace import Workspace
from limner.plain_text import plain_name
from limner.records import NewToken, Session, Token, User
from limner.store.models import GenerationRow, SubjectRow, now
from limner.store.web_models import AnswerRow, SessionRow, TokenRow, UserRow, WebhookRow

__all__ = ["SCOPES", "SESSION_DAYS", "Members", "manages"]

SCOPES = ("read", "write", "spend", "admin")
"""What a token may do: look; change and make; start what costs; manage users and settings."""
TOKEN_MARK = "lim_"  # noqa: S105 - the start of every token, no token
SESSION_DAYS = 14
RENEW_AFTER = timedelta(hours=1)
"""A session that is used lives on; its row is written at most so often."""
USED_AGAIN = timedelta(minutes=1)
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def manages(workspace: Workspace) -> bool:
    """Whether this is the home's own workspace, or that of an admin."""
    if workspace.owner is None:
        return True
    with workspace.everyone.database.read() as session:
        return bool(session.scalar(select(UserRow.admin).where(UserRow.name == workspace.owner)))


class Members(Facet):
    """The users of a home, their sessions and tokens: ``studio.members``.

    As a user sees it (``studio.owned_by``) only an admin manages others: AccessRefused for everybody else.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._all = workspace.everyone.database

    # --- users --------------------------------------------------------------------------------------------------

    def users(self) -> list[User]:
        """The users, by name; who is no admin sees only themselves."""
        database = self._all if self._manages() else self._workspace.database
        with database.read() as session:
            return [_user(row) for row in session.scalars(select(UserRow).order_by(UserRow.name))]

    def add(self, name: str, password: str, *, admin: bool = False) -> User:
        """Add a user. The first is an admin, and what was in the home so far becomes theirs.

        NameRefused, InputRefused: the name or password cannot be used. Conflict: the name is taken.
        """
        from limner.operations.members import passwords

        self._refuse_others()
        if not NAME.fullmatch(name):
            raise NameRefused(
                f"'{name[:80]}' cannot be the name of a user.",
                remedy="Use up to 64 small letters, digits, dots, dashes and underscores, such as anna.",
                thing="name",
            )
        kept = passwords.hashed(password)
        with self._all.write() as session:
            if session.get(UserRow, name) is not None:
                raise Conflict(f"There is a user '{name}' already.", remedy="Choose another name.", thing=name)
            first = session.scalar(select(func.count()).select_from(UserRow)) == 0
            row = UserRow(name=name, password=kept, admin=admin or first)
            session.add(row)
            session.flush()
            adopted = _hand_over(session, None, name) if first else 0
            return _user(row, adopted)

    def set_password(self, name: str, password: str) -> User:
        """Give a user another password, and end all their sessions; tokens go on."""
        return self.change(name, password=password)

    def set_admin(self, name: str, admin: bool) -> User:
        """Make a user an admin, or no longer one. Conflict: nobody else is one."""
        return self.change(name, admin=admin)

    def change(self, name: str, *, password: str | None = None, admin: bool | None = None) -> User:
        """Change a user's password, right, or both at once or neither. Errors of ``set_password`` and ``set_admin``."""
        from limner.operations.members import passwords

        if admin is not None:
            self._refuse_others()
        elif not self._manages() and name != self._workspace.owner:
            raise _no_user(name)
        kept = None if password is None else passwords.hashed(password)
        with self._all.write() as session:
            row = _row_of(session, name)
            if admin is not None:
                if not admin:
                    _refuse_last_admin(session, row)
                row.admin = admin
            if kept is not None:
                row.password = kept
                _end_sessions(session, name)
            return _user(row)

    def remove(self, name: str, *, give_to: str = "") -> User:
        """Remove a user with their sessions, tokens and webhooks; what they own goes to ``give_to``.

        Conflict: they own something and nobody is named, or they are the last admin while there are other users.
        When the last user goes, everything belongs to nobody again, and nobody has to log in.
        """
        self._refuse_others()
        with self._all.write() as session:
            row = _row_of(session, name)
            others = session.scalar(select(func.count()).select_from(UserRow).where(UserRow.name != name))
            if others:
                _refuse_last_admin(session, row)
            if give_to:
                if give_to == name:
                    raise InputRefused("That is the user who goes.", remedy="Name another user.", thing="give_to")
                _row_of(session, give_to)
            elif others and _owns(session, name):
                raise Conflict(
                    f"'{name}' owns subjects or pictures.",
                    remedy="Say who gets them: --give-to NAME; or erase them first.",
                    thing=name,
                )
            for token in session.scalars(select(TokenRow).where(TokenRow.owner == name)):
                session.delete(token)
            # Its server is theirs, and knows the secret: the new owner's events are none of its business.
            session.execute(delete(WebhookRow).where(WebhookRow.owner == name))
            _end_sessions(session, name)
            session.flush()
            gone = _user(row)
            session.delete(row)
            session.flush()
            # What is left must not become that of a later user of this name.
            _hand_over(session, name, give_to or _first_admin(session))
        return gone

    def check_password(self, name: str, password: str) -> User | None:
        """The user of a name and password, or None; it takes as long for a name that is not there."""
        from limner.operations.members import passwords

        with self._all.read() as session:
            row = session.get(UserRow, name)
        if not passwords.is_right(password, row.password if row else None) or row is None:
            return None
        if passwords.outdated(row.password):
            renewed = passwords.hashed(password)
            with self._all.write() as session:
                session.execute(update(UserRow).where(UserRow.name == name).values(password=renewed))
        return _user(row)

    # --- sessions -----------------------------------------------------------------------------------------------

    def open_session(self, name: str) -> str:
        """Begin a session; give what its cookie holds, of which only the SHA-256 is kept."""
        secret = secrets.token_urlsafe(32)
        with self._all.write() as session:
            _row_of(session, name)
            for old in session.scalars(select(SessionRow).where(SessionRow.expires_at < now())):
                session.delete(old)
            session.add(SessionRow(digest=_digest(secret), user=name, expires_at=now() + timedelta(days=SESSION_DAYS)))
        return secret

    def session(self, secret: str) -> Session | None:
        """The session of a cookie, None if it has ended. One that is used goes on for another two weeks."""
        digest = _digest(secret)
        with self._all.read() as session:
            found = session.execute(
                select(SessionRow, UserRow)
                .join(UserRow, UserRow.name == SessionRow.user)
                .where(SessionRow.digest == digest, SessionRow.expires_at > now())
            ).first()
        if found is None:
            return None
        row, user = found
        until = now() + timedelta(days=SESSION_DAYS)
        if until - row.expires_at > RENEW_AFTER:
            with self._all.write() as session:
                session.execute(update(SessionRow).where(SessionRow.digest == digest).values(expires_at=until))
        else:
            until = row.expires_at
        return Session(digest, user.name, user.admin, row.created_at, until)

    def close_session(self, secret: str) -> None:
        """End one session."""
        with self._all.write() as session:
            row = session.get(SessionRow, _digest(secret))
            if row is not None:
                session.delete(row)

    def close_sessions(self, name: str) -> int:
        """End all sessions of a user; how many there were."""
        if not self._manages() and name != self._workspace.owner:
            raise _no_user(name)
        with self._all.write() as session:
            return _end_sessions(session, name)

    # --- tokens -------------------------------------------------------------------------------------------------

    def tokens(self) -> list[Token]:
        """The API tokens, newest first: a user's own, or all."""
        with self._workspace.database.read() as session:
            rows = session.scalars(select(TokenRow).order_by(TokenRow.created_at.desc(), TokenRow.id))
            return [_token(row) for row in rows]

    def add_token(
        self,
        name: str,
        *,
        scopes: Iterable[str] = ("read", "write"),
        days: int | None = None,
        owner: str = "",
        until: datetime | None = None,
    ) -> NewToken:
        """Make an API token; its words are given once. ``days``: it expires then; ``owner``: whose it is.

        ``until``: it expires by then at the latest.

        InputRefused: unknown scopes, or no name. AccessRefused: somebody else's, or admin by who is none.
        """
        wanted = tuple(scope for scope in SCOPES if scope in set(scopes))
        unknown = sorted(set(scopes) - set(SCOPES))
        name = plain_name(name, "name of the token", longest=100)
        if not wanted or unknown:
            raise InputRefused(
                f"'{', '.join(unknown)}' is no scope." if unknown else "A token needs a scope.",
                remedy=f"Choose from: {', '.join(SCOPES)}.",
                thing="scopes",
            )
        if not name:
            raise InputRefused(
                "A token needs a name of up to 100 characters.", remedy="Say what it is for.", thing="name"
            )
        if days is not None and not 1 <= days <= 3_650:
            raise InputRefused(f"A token cannot expire in {days} days.", remedy="Say 1 to 3650 days.", thing="days")
        if owner and owner != self._workspace.owner:
            self._refuse_others()
        ends = [end for end in (until, None if days is None else now() + timedelta(days=days)) if end is not None]
        secret = TOKEN_MARK + secrets.token_urlsafe(32)
        row = TokenRow(
            id=f"token_{secrets.token_hex(8)}",
            name=name,
            digest=_digest(secret),
            scopes=list(wanted),
            expires_at=min(ends, default=None),
        )
        with self._all.write() as session:
            row.owner = owner or self._workspace.owner or _first_admin(session)
            if row.owner and not _row_of(session, row.owner).admin and "admin" in wanted:
                raise AccessRefused(
                    f"'{row.owner}' is no admin, so no token of theirs is.", remedy="Leave admin out.", thing="scopes"
                )
            session.add(row)
            session.flush()
            return NewToken(_token(row), secret)

    def remove_token(self, token: str) -> Token:
        """Revoke a token by its id or name. NotFound, or Conflict where several have the name."""
        with self._workspace.database.write() as session:
            row = session.get(TokenRow, token)
            named = [row] if row else session.scalars(select(TokenRow).where(TokenRow.name == token)).all()
            if not named:
                raise NotFound(
                    f"There is no token '{token[:120]}'.", remedy="List them: limner tokens list", thing=token
                )
            if len(named) > 1:
                raise Conflict(f"{len(named)} tokens have this name.", remedy="Give the id of one.", thing=token)
            gone = _token(named[0])
            session.delete(named[0])
            return gone

    def token(self, secret: str) -> tuple[Token, bool] | None:
        """The token of these words and whether its owner is an admin; None if it is unknown, revoked or expired."""
        with self._all.read() as session:
            row = session.scalars(select(TokenRow).where(TokenRow.digest == _digest(secret))).one_or_none()
            if row is None or (row.expires_at is not None and row.expires_at <= now()):
                return None
            user = session.get(UserRow, row.owner) if row.owner else None
            if row.owner and user is None:
                return None
        if row.last_used_at is None or now() - row.last_used_at > USED_AGAIN:
            with self._all.write() as session:
                session.execute(update(TokenRow).where(TokenRow.id == row.id).values(last_used_at=now()))
        return _token(row), user.admin if user else True

    # --- secrets ------------------------------------------------------------------------------------------------

    def secret_for(self, purpose: str, name: str) -> bytes:
        """32 bytes of this home for a purpose and a name: always the same ones, and nobody else can make them."""
        return signing_key.derived(self._key, purpose, name)

    @cached_property
    def _key(self) -> bytes:
        return signing_key.home_key(self._workspace.home)

    # --- who may ------------------------------------------------------------------------------------------------

    def _manages(self) -> bool:
        return manages(self._workspace)

    def _refuse_others(self) -> None:
        if not self._manages():
            raise AccessRefused("Only an admin manages users.", remedy="Ask an admin of this Limner.", thing="users")


def _user(row: UserRow, adopted: int = 0) -> User:
    return User(row.name, row.admin, row.created_at, adopted)


def _token(row: TokenRow) -> Token:
    return Token(row.id, row.name, row.owner or "", tuple(row.scopes), row.created_at, row.last_used_at, row.expires_at)


def _no_user(name: str) -> NotFound:
    return NotFound(f"There is no user '{name[:80]}'.", remedy="List them: limner users list", thing=name[:80])


def _row_of(session: DatabaseSession, name: str) -> UserRow:
    row = session.get(UserRow, name)
    if row is None:
        raise _no_user(name)
    return row


def _owns(session: DatabaseSession, name: str) -> bool:
    kinds = (SubjectRow, GenerationRow)
    return any(session.scalar(select(kind.owner).where(kind.owner == name).limit(1)) for kind in kinds)


def _first_admin(session: DatabaseSession) -> str | None:
    order = select(UserRow.name).where(UserRow.admin).order_by(UserRow.created_at, UserRow.name)
    return session.scalar(order.limit(1))


def _refuse_last_admin(session: DatabaseSession, row: UserRow) -> None:
    other = session.scalar(select(UserRow.name).where(UserRow.admin, UserRow.name != row.name).limit(1))
    if other is None:
        raise Conflict(f"'{row.name}' is the only admin.", remedy="Make another user an admin first.", thing=row.name)


def _end_sessions(session: DatabaseSession, name: str) -> int:
    rows = session.scalars(select(SessionRow).where(SessionRow.user == name)).all()
    for row in rows:
        session.delete(row)
    return len(rows)


def _hand_over(session: DatabaseSession, giver: str | None, taker: str | None) -> int:
    """Give all that one owns, or that belongs to nobody, to another; how many things it was."""
    moved = 0
    for kind in OWNED:
        owner = kind.owner  # type: ignore[attr-defined]
        belongs = owner.is_(None) if giver is None else owner == giver
        found = session.execute(update(kind).where(belongs).values(owner=taker))
        moved += found.rowcount  # type: ignore[attr-defined]
    # What was answered once may be asked for again by the new owner only if no key of theirs is the same.
    for answer in session.scalars(select(AnswerRow).where(AnswerRow.owner == (giver or ""))):
        session.delete(answer)
    return moved
