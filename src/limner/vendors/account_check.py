"""Whether an account works: one call to each vendor that costs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from limner.errors import AccountRefused, LimnerError, NotFound, VendorRefused
from limner.settings import Settings
from limner.vendors.http.answers import Answer
from limner.vendors.http.client import VendorClient, VendorFacts
from limner.vendors.secrets.accounts import AccountReport, vendor_account
from limner.vendors.secrets.redaction import Secret
from limner.vendors.secrets.tokens import find_token, where

__all__ = ["check"]

SECONDS = 15.0
NOBODY = "00000000-0000-4000-8000-000000000000"
"""The id of a request that there is not."""

Finding = tuple[str, str, str, str]
"""Who, scope, problem, remedy."""


async def check(vendor: str, settings: Settings, token: Secret | None = None) -> AccountReport:
    """Ask the vendor whose token this is. Never raises for what the vendor says: the report does.

    ``token``: this one instead of the one that is kept. InputRefused: there is no such vendor.
    """
    account = vendor_account(vendor)
    place = "given now" if token is not None else where(vendor, settings)
    try:
        secret = token if token is not None else find_token(vendor, settings)
    except AccountRefused as missing:
        return AccountReport(
            vendor, account.title, place, False if place else None, problem=missing.message, remedy=missing.remedy
        )
    base, scheme, ask = _ASKING[vendor](settings)
    facts = VendorFacts(vendor, account.title, scheme=scheme, rate=2.0, burst=8, token_page=account.page)
    try:
        async with VendorClient(facts, base, lambda: secret, timeout=SECONDS, attempts=2) as client:
            who, scope, problem, remedy = await ask(client)
    except LimnerError as failure:
        return AccountReport(
            vendor,
            account.title,
            place,
            False,
            problem=failure.message,
            remedy=failure.remedy,
            refused=isinstance(failure, AccountRefused),
        )
    return AccountReport(vendor, account.title, place, True, who, scope, problem, remedy)


async def _replicate(client: VendorClient) -> Finding:
    body = _mapping((await client.request("GET", "v1/account")).json)
    who = _word(body, "username") or _word(body, "name")
    kind = _word(body, "type")
    return who, f"all that the {kind or 'account'} may", "", ""


async def _together(client: VendorClient) -> Finding:
    body = (await client.request("GET", "v1/models")).json
    models = body.get("data", []) if isinstance(body, Mapping) else body
    count = len(models) if isinstance(models, list) else 0
    # The list names no account.
    return "", f"{count} models are listed" if count else "no model is listed", "", ""


async def _huggingface(client: VendorClient) -> Finding:
    body = _mapping((await client.request("GET", "api/whoami-v2")).json)
    token = _mapping(_mapping(body.get("auth")).get("accessToken"))
    role = _word(token, "role")
    who = _word(body, "name")
    if role in ("write", "god"):
        return who, "write: all repos of the account", "", ""
    account = vendor_account("huggingface")
    remedy = f"Make one at {account.page}: {account.scope}"
    if role == "read":
        return who, "read only", "The token may read and not write: loras cannot be published with it.", remedy
    if role == "fineGrained":
        allowed = _mapping(token.get("fineGrained"))
        writes = sorted(_writable(allowed.get("scoped"), who))
        gated = "and gated bases" if allowed.get("canReadGatedRepos") else "but no gated bases"
        if writes:
            return who, f"fine-grained: writes to {', '.join(writes[:4])}; {gated}", "", ""
        return who, f"fine-grained: reads only, {gated}", "The token may not write to any repo.", remedy
    return who, role or "not told", "", ""


def _writable(scoped: Any, who: str) -> set[str]:
    """The namespaces and repos to which a fine-grained token may write."""
    found = set()
    for entry in scoped if isinstance(scoped, list) else []:
        rights = _mapping(entry).get("permissions")
        if isinstance(rights, list) and any(right in ("repo.write", "repo.content.write") for right in rights):
            entity = _mapping(_mapping(entry).get("entity"))
            found.add(_word(entity, "name") or (who if _word(entity, "type") == "user" else "an organisation"))
    return found


def _fal(rest_url: str) -> Callable[[VendorClient], Awaitable[Finding]]:
    async def ask(client: VendorClient) -> Finding:
        """fal tells nobody whose key it is: ask for leave to upload, then for a request that there is not."""
        url = f"{rest_url.rstrip('/')}/storage/auth/token?storage_type=fal-cdn-v3"
        try:
            await client.request("POST", url, json={}, expect_json=False, describe=_only_keys)
            return "", "requests and uploads", "", ""
        except (NotFound, VendorRefused):
            pass
        with suppress(NotFound, VendorRefused):
            await client.request(
                "GET", f"fal-ai/flux-lora/requests/{NOBODY}/status", expect_json=False, describe=_only_keys
            )
        return "", "requests", "", ""

    return ask


def _only_keys(answer: Answer) -> LimnerError | None:
    """A key that is refused and one that is good but may not do this look different."""
    if answer.status == 403 and answer.json is not None:
        return VendorRefused("fal does not let this key upload.", thing="fal")
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _word(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return " ".join(value.split())[:100] if isinstance(value, str) else ""


_Asking = tuple[str, str, Callable[[VendorClient], Awaitable[Finding]]]
_ASKING: dict[str, Callable[[Settings], _Asking]] = {
    "replicate": lambda settings: (settings.replicate_url, "Bearer", _replicate),
    "huggingface": lambda settings: (settings.huggingface_url, "Bearer", _huggingface),
    "together": lambda settings: (settings.together_url.rstrip("/").removesuffix("/v1"), "Bearer", _together),
    "fal": lambda settings: (settings.fal_queue_url, "Key", _fal(settings.fal_rest_url)),
}
