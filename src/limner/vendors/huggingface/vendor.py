"""Hugging Face: what is known of the vendor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from limner.settings import Settings
from limner.vendors.http.answers import as_mapping
from limner.vendors.vendor import Request, TokenReport, Vendor, fields, word

__all__ = ["VENDOR"]

PAGE = "https://huggingface.co/settings/tokens"
SCOPE = (
    "A fine-grained token with 'Write access to contents/settings of all repos under your personal namespace' "
    "and, for FLUX.1-dev and other gated bases, 'Read access to contents of all public gated repos you can "
    "access'; for pictures by Inference Providers also 'Make calls to Inference Providers'."
)


async def _check(request: Request, settings: Settings) -> TokenReport:  # noqa: ARG001
    body = (await request("GET", "api/whoami-v2")).object
    token = as_mapping(as_mapping(body.get("auth")).get("accessToken"))
    role, who, remedy = word(token, "role"), word(body, "name"), f"Make one at {PAGE}: {SCOPE}"
    if role in ("write", "god"):
        return TokenReport(who, "write: all repos of the account")
    if role == "read":
        return TokenReport(
            who, "read only", "The token may read and not write: loras cannot be published with it.", remedy
        )
    if role != "fineGrained":
        return TokenReport(who, role or "not told")
    allowed = as_mapping(token.get("fineGrained"))
    writes = sorted(_writable(allowed.get("scoped"), who))
    gated = "and gated bases" if allowed.get("canReadGatedRepos") else "but no gated bases"
    if writes:
        return TokenReport(who, f"fine-grained: writes to {', '.join(writes[:4])}; {gated}")
    return TokenReport(who, f"fine-grained: reads only, {gated}", "The token may not write to any repo.", remedy)


def _writable(scoped: Any, who: str) -> set[str]:
    """The namespaces and repos to which a fine-grained token may write."""
    found = set()
    for entry in scoped if isinstance(scoped, list) else []:
        rights = as_mapping(entry).get("permissions")
        if isinstance(rights, list) and any(right in ("repo.write", "repo.content.write") for right in rights):
            entity = as_mapping(as_mapping(entry).get("entity"))
            found.add(word(entity, "name") or (who if word(entity, "type") == "user" else "an organisation"))
    return found


def _token_file() -> Path:
    """Where the Hub's own command line keeps its token."""
    if named := os.environ.get("HF_TOKEN_PATH"):
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{cache}/huggingface").expanduser() / "token"


VENDOR = Vendor(
    "huggingface",
    "Hugging Face",
    variables=("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    page=PAGE,
    scope=SCOPE,
    used_for="publishing loras, gated bases, Inference Providers",
    addresses=fields("huggingface_url"),
    check=_check,
    rate=3.0,
    burst=6,
    token_file=_token_file,
)
