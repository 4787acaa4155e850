"""The vendors' accounts: which tokens there are, whether they are good, and keeping and forgetting them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TypeVar

from limner.blocking import run_now
from limner.catalog import hosted
from limner.errors import AccountRefused, Conflict, LimnerError, VendorFailed
from limner.operations.home.facet import Facet
from limner.records import (
    Account,
    Check,
)
from limner.settings import Settings
from limner.vendors.secrets.tokens import as_token, find_token, forget_token, keep_token, where
from limner.vendors.vendor import find_vendor, vendors

__all__ = ["Accounts", "accounts", "checks", "login", "logout"]

T = TypeVar("T")


def accounts(settings: Settings, *, live: bool = False) -> list[Account]:
    """All vendors: where the token is, and with ``live`` what the vendor says of it. Costs nothing."""
    if live:
        return run_now(_check_all(settings))
    return [_unasked(name, settings) for name in vendors()]


def login(settings: Settings, vendor: str, token: str) -> Account:
    """Check a token by a call that costs nothing, then keep it.

    InputRefused: no such vendor, or no token at all. AccountRefused: the vendor does not accept it. VendorFailed: the
    vendor cannot be asked, so nothing was kept. StorageFailed: it can be kept nowhere.
    """
    from limner.vendors.account_check import ask

    secret, title = as_token(vendor, token), find_vendor(vendor).title
    try:
        finding = run_now(ask(vendor, settings, secret))
    except LimnerError as failure:
        kind = AccountRefused if isinstance(failure, AccountRefused) else VendorFailed
        raise kind(f"{failure.message} Nothing was kept.", remedy=failure.remedy, thing=vendor) from failure
    place = keep_token(vendor, secret.reveal(), settings)
    used = where(vendor, settings)
    kept = Account(vendor, title, place, True, *finding)
    if find_token(vendor, settings) != secret:
        return replace(
            kept,
            problem=f"The token was kept in {place}, but another one goes before it: {used}.",
            remedy="Take that one away to use the new one.",
        )
    return kept


def logout(settings: Settings, vendor: str) -> Account:
    """Forget the token that ``login`` kept. Conflict: there is one, but where only the user can take it away."""
    account = find_vendor(vendor)
    gone = forget_token(vendor, settings)
    left = where(vendor, settings)
    if not gone:
        if left:
            raise Conflict(
                f"Limner keeps no token for {account.title}; it uses {left}.",
                remedy=f"Take it away there. To revoke it: {account.page}",
                thing=vendor,
            )
        raise Conflict(f"There is no token for {account.title}.", remedy="Nothing needs to be done.", thing=vendor)
    problem = f"Another token is still used: {left}." if left else ""
    return Account(
        vendor,
        account.title,
        left,
        problem=problem,
        remedy=f"It still works for whoever has it; to revoke it: {account.page}",
    )


def checks(settings: Settings, live: bool = False) -> list[Check]:
    """The doctor's lines about accounts; a missing token is no problem, one that does not work is."""
    lines = [_line(account, live) for account in accounts(settings, live=live)]
    strange = sorted({row.vendor for row in hosted().values()} - set(vendors()))
    detail = "hosted.toml names this vendor, and nobody declares it"
    return lines + [Check("accounts", name, "problem", detail, "Correct that row.") for name in strange]


def _line(account: Account, live: bool) -> Check:
    if not account.where:
        about = vendors()[account.vendor]
        return Check("accounts", account.title, "missing", f"no token ({about.used_for})", account.remedy)
    if account.ok is False:
        return Check("accounts", account.title, "problem", f"{account.where}: {account.problem}", account.remedy)
    told = "; ".join(word for word in (account.who, account.scope) if word)
    detail = f"{account.where}; {told or 'accepted'}" if live else account.where
    if account.problem:
        return Check("accounts", account.title, "missing", f"{detail}. {account.problem}", account.remedy)
    return Check("accounts", account.title, "ok", detail)


def _unasked(vendor: str, settings: Settings) -> Account:
    title, place = vendors()[vendor].title, where(vendor, settings)
    try:
        find_token(vendor, settings)
    except LimnerError as failure:
        ok = False if place else None
        return Account(vendor, title, place, ok, problem=failure.message, remedy=failure.remedy)
    return Account(vendor, title, place)


async def _check_all(settings: Settings) -> list[Account]:
    from limner.vendors.account_check import check

    return list(await asyncio.gather(*(check(name, settings) for name in vendors())))


class Accounts(Facet):
    """``studio.accounts``: the vendors' accounts."""

    def all(self, *, live: bool = False) -> list[Account]:
        """The vendors' accounts: where each token was found; with ``live`` also whether it is good, and whose it is."""
        return accounts(self._workspace.settings, live=live)

    def login(self, vendor: str, token: str) -> Account:
        """Check a token by a call that costs nothing, and keep it in the system's keyring. AccountRefused."""
        return login(self._workspace.settings, vendor, token)

    def logout(self, vendor: str) -> Account:
        """Forget a token that ``login`` kept; one in the environment stays."""
        return logout(self._workspace.settings, vendor)
