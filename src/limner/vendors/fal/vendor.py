"""fal: what is known of the vendor."""

from __future__ import annotations

from contextlib import suppress

from limner.errors import LimnerError, NotFound, VendorRefused
from limner.settings import Settings
from limner.vendors.http.answers import Answer
from limner.vendors.vendor import Request, TokenReport, Vendor, fields

__all__ = ["VENDOR"]

NOBODY = "00000000-0000-4000-8000-000000000000"
"""The id of a request that there is not."""


async def _check(request: Request, settings: Settings) -> TokenReport:
    """fal tells nobody whose key it is: ask for leave to upload, then for a request that there is not."""
    url = f"{settings.fal_rest_url.rstrip('/')}/storage/auth/token?storage_type=fal-cdn-v3"
    with suppress(NotFound, VendorRefused):
        await request("POST", url, json={}, expect_json=False, describe=_only_keys)
        return TokenReport(scope="requests and uploads")
    with suppress(NotFound, VendorRefused):
        path = f"fal-ai/flux-lora/requests/{NOBODY}/status"
        await request("GET", path, expect_json=False, describe=_only_keys)
    return TokenReport(scope="requests")


def _only_keys(answer: Answer) -> LimnerError | None:
    """A key that is refused and one that is good but may not do this look different."""
    if answer.status == 403 and answer.json is not None:
        return VendorRefused("fal does not let this key upload.", thing="fal")
    return None


VENDOR = Vendor(
    "fal",
    "fal",
    variables=("FAL_KEY",),
    page="https://fal.ai/dashboard/keys",
    scope="A key of scope API; ADMIN is not needed. It has the form id:secret; both parts are wanted.",
    used_for="training, pictures",
    addresses=fields("fal_queue_url", "fal_rest_url", "fal_api_url"),
    check=_check,
    scheme="Key",
    rate=20.0,
    burst=40,
)
