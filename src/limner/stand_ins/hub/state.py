"""The state of the Hub stand-in, and what a request may see of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.requests import Request

from limner.stand_ins.counting import Paid
from limner.stand_ins.engine import Engine
from limner.stand_ins.hub.answers import refusal
from limner.stand_ins.hub.repos import HubRepo

__all__ = ["HubState"]


class HubState:
    """Repos, contents and accounts; what the attributes mean stands at ``HuggingFaceStandIn``."""

    def __init__(self, engine: Engine, *, tokens: Mapping[str, str] | None = None) -> None:
        self.engine = engine
        self.tokens = dict(tokens or {"token": "account name"})
        self.url = ""
        self.repos: dict[str, HubRepo] = {}
        self.contents: dict[str, bytes] = {}
        self.paid: list[Paid] = []
        self.ignore_private = False
        self.quota: int | None = None
        self.read_only: set[str] = set()
        self.revoked: set[str] = set()
        self.granted: set[tuple[str, str]] = set()
        self.before_commit: Callable[[HubRepo], None] = lambda _: None

    # --- who asks -----------------------------------------------------------------------------------------------

    def account(self, request: Request) -> str:
        """The account of the request's token, "" without one; Refused where the token is none of ours."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            return ""
        if scheme.lower() != "bearer" or token not in self.tokens or token in self.revoked:
            raise refusal(401, "Invalid credentials in Authorization header")
        return self.tokens[token]

    def writer(self, request: Request, owner: str) -> str:
        """The account, which must be allowed to write to the owner's repos."""
        account = self.account(request)
        token = request.headers.get("authorization", "").partition(" ")[2]
        if not account:
            raise refusal(401, "Invalid username or password.")
        if token in self.read_only or account != owner:
            raise refusal(403, f'You don\'t have the rights to create a model under the namespace "{owner}"')
        return account

    def repo(self, request: Request, *, content: bool = False) -> HubRepo:
        """The repo of the path as far as the request may see it; ``content``: may it read gated files, too."""
        account = self.account(request)
        name = f"{request.path_params['owner']}/{request.path_params['name']}"
        known = self.repos.get(name.lower())
        if known is None or (known.private and known.owner != account):
            raise refusal(404 if account else 401, "Repository not found", code="RepoNotFound")
        if known.disabled:
            raise refusal(403, "Access to this resource is disabled.")
        if content and known.gated and known.owner != account and (known.id, account) not in self.granted:
            message = f"Access to model {known.id} is restricted and you are not in the authorized list."
            raise refusal(403 if account else 401, message, code="GatedRepo")
        return known

    def writable(self, request: Request) -> HubRepo:
        """The repo of the path, which the request must be allowed to change."""
        repo = self.repo(request)
        self.writer(request, repo.owner)
        return repo
