"""Whether an account works: one call to each vendor that costs nothing."""

from __future__ import annotations

from limner.errors import AccountRefused, LimnerError
from limner.records import Account
from limner.settings import Settings
from limner.vendors.http.client import VendorClient
from limner.vendors.secrets.redaction import Secret
from limner.vendors.secrets.tokens import find_token, where
from limner.vendors.vendor import TokenReport, find_vendor

__all__ = ["ask", "check"]

SECONDS = 15.0


async def check(name: str, settings: Settings) -> Account:
    """Ask the vendor whose token this is. Never raises for what the vendor says: the account does. InputRefused."""
    vendor, place = find_vendor(name), where(name, settings)
    try:
        secret = find_token(name, settings)
    except AccountRefused as missing:
        ok = False if place else None
        return Account(name, vendor.title, place, ok, problem=missing.message, remedy=missing.remedy)
    try:
        return Account(name, vendor.title, place, True, *await ask(name, settings, secret))
    except LimnerError as failure:
        return Account(name, vendor.title, place, False, problem=failure.message, remedy=failure.remedy)


async def ask(name: str, settings: Settings, token: Secret) -> TokenReport:
    """What the vendor says of a token. AccountRefused: it does not accept it; LimnerError: it cannot be asked."""
    vendor = find_vendor(name)
    async with VendorClient(vendor, vendor.address(settings), lambda: token, timeout=SECONDS, attempts=2) as client:
        return await vendor.check(client.request, settings)
