"""Replicate: what is known of the vendor."""

from __future__ import annotations

from limner.settings import Settings
from limner.vendors.vendor import Request, TokenReport, Vendor, fields, word

__all__ = ["VENDOR"]


async def _check(request: Request, settings: Settings) -> TokenReport:  # noqa: ARG001
    body = (await request("GET", "v1/account")).object
    return TokenReport(
        word(body, "username") or word(body, "name"), f"all that the {word(body, 'type') or 'account'} may"
    )


VENDOR = Vendor(
    "replicate",
    "Replicate",
    variables=("REPLICATE_API_TOKEN",),
    page="https://replicate.com/account/api-tokens",
    scope="Tokens there may do all that the account may. Make one for Limner alone, so that it can be revoked alone, "
    "and set a spending limit for the account.",
    used_for="training, pictures",
    addresses=fields("replicate_url"),
    check=_check,
    rate=40.0,
    burst=40,
)
