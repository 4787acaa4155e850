"""The home itself by the API: costs, routes, bases, back ends, health, accounts, users and tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from limner.client.connection import Connection
from limner.web.api.schemas.jobs import Job
from limner.web.api.schemas.money import Costs, Decision, Purchase, Route
from limner.web.api.schemas.people import NewToken, NewUser, PasswordChange, Token, TokenWanted, User, UserChange
from limner.web.api.schemas.pictures import Counted
from limner.web.api.schemas.setup import (
    Account,
    BackEnd,
    BackEnds,
    Base,
    Doctor,
    Index,
    VendorToken,
    Verification,
    VerifyWish,
)
from limner.web.api.schemas.webhooks import (
    Delivery,
    NewWebhook,
    SettingChanges,
    Settings,
    Webhook,
    WebhookChange,
    WebhookSecret,
    WebhookTest,
    WebhookWanted,
)

__all__ = ["Accounts", "Money", "Setup", "Tokens", "Users", "Webhooks"]


class Money:
    """``client.money``: what was spent, and what only the user can decide."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def costs(self, subject: str = "", *, vendor: str = "", days: int | None = None) -> Costs:
        """The ledger."""
        return self._connection.get(Costs, "/costs", subject=subject, vendor=vendor, days=days)

    def purchases(self) -> list[Purchase]:
        """Paid calls of which nobody can tell whether they were done."""
        return self._connection.value(list[Purchase], "/purchases")

    def decide(self, tag: str, decision: Literal["again", "drop", "paid"]) -> Purchase:
        """Say what became of one."""
        return self._connection.post(Purchase, f"/purchases/{tag}/decision", Decision(decision=decision))

    def routes(self, *, base: str = "", subject: str = "") -> list[Route]:
        """Every way from photos to pictures."""
        return self._connection.value(list[Route], "/routes", base=base, subject=subject)


class Setup:
    """``client.setup``: what there is."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def index(self) -> Index:
        """The version, and where things are."""
        return self._connection.get(Index, "")

    def bases(self) -> list[Base]:
        """The bases of the catalog."""
        return self._connection.value(list[Base], "/bases")

    def base(self, base: str) -> Base:
        """One of them."""
        return self._connection.get(Base, f"/bases/{base}")

    def back_ends(self) -> dict[str, list[BackEnd]]:
        """Trainers, hubs, generators and captioners."""
        return self._connection.get(BackEnds, "/back-ends").back_ends

    def settings(self) -> Settings:
        """What can be set. For admins."""
        return self._connection.get(Settings, "/settings")

    def change_settings(self, values: Mapping[str, str | None], *, seen: str = "") -> Settings:
        """Change settings, all or none; None for the default. For admins."""
        wanted = SettingChanges(values=dict(values), seen=seen)
        return self._connection.change("PATCH", Settings, "/settings", wanted)

    def log(self, *, lines: int = 200) -> str:
        """The end of the worker's log. For admins."""
        return self._connection.answer("GET", "/system/log", query={"lines": lines}).text

    def doctor(self, *, live: bool = False) -> Doctor:
        """What is installed and what is missing. For admins."""
        return self._connection.get(Doctor, "/doctor", live=live)

    def verify(self, *, remove_stray: bool = False) -> Job:
        """Read every file of the home again; ``verification`` says what was found. For admins."""
        return self._connection.post(Job, "/system/verification", VerifyWish(remove_stray=remove_stray))

    def verification(self) -> Verification:
        """What the last verification found. For admins."""
        return self._connection.get(Verification, "/system/verification")


class Webhooks:
    """``client.webhooks``: addresses that are told of events. For admins."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> list[Webhook]:
        """Oldest first."""
        return self._connection.value(list[Webhook], "/webhooks")

    def create(self, wanted: WebhookWanted) -> NewWebhook:
        """Add an address."""
        return self._connection.post(NewWebhook, "/webhooks", wanted)

    def get(self, webhook: str) -> Webhook:
        """One of them."""
        return self._connection.get(Webhook, f"/webhooks/{webhook}")

    def set_active(self, webhook: str, active: bool) -> Webhook:
        """Switch it off or on."""
        return self._connection.change("PATCH", Webhook, f"/webhooks/{webhook}", WebhookChange(active=active))

    def secret(self, webhook: str) -> str:
        """What its messages are signed with."""
        return self._connection.get(WebhookSecret, f"/webhooks/{webhook}/secret").secret

    def deliveries(self, webhook: str, *, limit: int = 50) -> list[Delivery]:
        """What became of its messages."""
        return self._connection.value(list[Delivery], f"/webhooks/{webhook}/deliveries", limit=limit)

    def again(self, webhook: str, delivery: int) -> Delivery:
        """Deliver a message once more."""
        return self._connection.post(Delivery, f"/webhooks/{webhook}/deliveries/{delivery}/again")

    def test(self, webhook: str) -> WebhookTest:
        """Send a test message."""
        return self._connection.post(WebhookTest, f"/webhooks/{webhook}/test")

    def remove(self, webhook: str) -> Webhook:
        """Forget it."""
        return Webhook.model_validate_json(self._connection.answer("DELETE", f"/webhooks/{webhook}").content)


class Accounts:
    """``client.accounts``: accounts at vendors. For admins."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, live: bool = False) -> list[Account]:
        """Where each token was found."""
        return self._connection.value(list[Account], "/accounts", live=live)

    def get(self, vendor: str) -> Account:
        """One of them."""
        return self._connection.get(Account, f"/accounts/{vendor}")

    def test(self, vendor: str) -> Account:
        """Whether its token is good, and whose it is."""
        return self._connection.post(Account, f"/accounts/{vendor}/test")

    def connect(self, vendor: str, token: str) -> Account:
        """Try a token and keep it."""
        return self._connection.change("PUT", Account, f"/accounts/{vendor}", VendorToken(token=token))

    def disconnect(self, vendor: str) -> Account:
        """Forget a token."""
        return Account.model_validate_json(self._connection.answer("DELETE", f"/accounts/{vendor}").content)


class Users:
    """``client.users``: who may log in. For admins, but for one's own password."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, limit: int | None = None) -> Iterator[User]:
        """By name."""
        return self._connection.pages(User, "/users", limit=limit)

    def create(self, wanted: NewUser) -> User:
        """Add one."""
        return self._connection.post(User, "/users", wanted)

    def get(self, name: str) -> User:
        """One of them."""
        return self._connection.get(User, f"/users/{name}")

    def change(self, name: str, wanted: UserChange) -> User:
        """Change password or rights."""
        return self._connection.change("PATCH", User, f"/users/{name}", wanted)

    def remove(self, name: str, *, give_to: str = "") -> User:
        """Remove one."""
        answer = self._connection.answer("DELETE", f"/users/{name}", query={"give_to": give_to})
        return User.model_validate_json(answer.content)

    def change_password(self, old: str, new: str) -> None:
        """Change your own password; your sessions end."""
        self._connection.answer("PUT", "/password", body=PasswordChange(old=old, new=new))

    def close_sessions(self, name: str) -> Counted:
        """Log one out everywhere."""
        return Counted.model_validate_json(self._connection.answer("DELETE", f"/users/{name}/sessions").content)


class Tokens:
    """``client.tokens``: your API tokens."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, limit: int | None = None) -> Iterator[Token]:
        """Newest first."""
        return self._connection.pages(Token, "/tokens", limit=limit)

    def create(
        self,
        name: str,
        *,
        scopes: Sequence[Literal["read", "write", "spend", "admin"]] = ("read", "write"),
        days: int | None = None,
    ) -> NewToken:
        """Make one; its words are shown this once."""
        return self._connection.post(NewToken, "/tokens", TokenWanted(name=name, scopes=[*scopes], days=days))

    def get(self, token: str) -> Token:
        """One of them."""
        return self._connection.get(Token, f"/tokens/{token}")

    def revoke(self, token: str) -> Token:
        """Revoke one."""
        return Token.model_validate_json(self._connection.answer("DELETE", f"/tokens/{token}").content)
