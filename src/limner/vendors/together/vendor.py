"""Together AI: what is known of the vendor."""

from __future__ import annotations

from collections.abc import Mapping

from limner.settings import Settings
from limner.vendors.vendor import Request, TokenReport, Vendor, fields

__all__ = ["VENDOR"]


async def _check(request: Request, settings: Settings) -> TokenReport:
    # Older papers give its address with /v1.
    body = (await request("GET", f"{settings.together_url.rstrip('/').removesuffix('/v1')}/v1/models")).json
    models = body.get("data", []) if isinstance(body, Mapping) else body
    count = len(models) if isinstance(models, list) else 0
    # The list names no account.
    return TokenReport(scope=f"{count} models are listed" if count else "no model is listed")


VENDOR = Vendor(
    "together",
    "Together AI",
    variables=("TOGETHER_API_KEY",),
    page="https://api.together.ai/settings/api-keys",
    scope="A key of a project of its own, so that it can be revoked alone; the account is prepaid, which limits what "
    "can be spent.",
    used_for="pictures",
    addresses=fields("together_url"),
    check=_check,
    burst=8,
)
