"""The Hub's router to inference providers: who serves a repo, and one picture of it, paid at the provider's price.

The Hub's own client for this is not used: it waits without end, tells no more than "timed out", and sends no scale.
"""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from limner.errors import AnswerLost, ContentRefused, LimnerError, VendorRefused, WorkFailed
from limner.vendors.http.answers import as_mapping
from limner.vendors.http.client import Answer, VendorClient, message_of
from limner.vendors.huggingface.vendor import VENDOR
from limner.vendors.secrets.tokens import Secret, redact

__all__ = ["PROVIDERS", "Given", "RouterClient", "Served", "Standing", "call_of", "weights_field"]

PROVIDERS = ("fal-ai", "replicate")
"""The providers whose way of taking a lora is known here, the preferred first."""
PICTURE_SECONDS = 180.0
_CONTENT = re.compile(
    r"nsfw|content[ _-]?(?:policy|filter|moderation)|safety (?:checker|filter)|flagged", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Served:
    """A provider that draws with a repo: its own name of the model, and which file of the repo it takes."""

    provider: str
    model: str
    weights: str
    status: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A repo on the hub as providers meet it: at main, with the SHA-256 of its large files by path."""

    repo: str
    revision: str
    public: bool
    files: Mapping[str, str]
    served: tuple[Served, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """Where a picture can be fetched; ``flagged``: the provider's filter blacked it out, though it is paid."""

    url: str
    flagged: bool = False


class RouterClient:
    """Talks to the hub and its router with one token. Open it with ``async with``."""

    def __init__(self, hub_url: str, router_url: str, token: Callable[[], Secret] | None) -> None:
        self._hub = VendorClient(VENDOR, hub_url.rstrip("/"), token)
        self._router = VendorClient(VENDOR, router_url.rstrip("/"), token)

    async def __aenter__(self) -> RouterClient:
        await self._hub.__aenter__()
        await self._router.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._router.__aexit__(*failure)
        await self._hub.__aexit__(*failure)

    async def standing(self, repo: str) -> Standing:
        """Look a repo up. Free. NotFound: there is none that this token may see."""
        path = f"api/models/{quote(repo)}"
        files = (await self._hub.request("GET", path, params={"blobs": "true"})).object
        mapped = (await self._hub.request("GET", path, params={"expand": "inferenceProviderMapping"})).object
        return Standing(
            repo=str(files.get("id") or repo),
            revision=str(files.get("sha") or ""),
            public=not files.get("private") and not files.get("gated"),
            files=_digests(files.get("siblings")),
            served=_served(mapped.get("inferenceProviderMapping")),
        )

    async def draw(self, served: Served, body: Mapping[str, Any], *, before: Callable[[], Awaitable[None]]) -> Given:
        """Ask for one picture. Paid, and never sent again where it may have been taken.

        ContentRefused, VendorRefused, AccountRefused, OutOfCredit: it was not drawn. AnswerLost: it may have been.
        """
        answer = await self._router.request(
            "POST",
            call_of(served),
            json=dict(body),
            headers={"prefer": "wait"} if served.provider == "replicate" else {},
            paid=True,
            timeout=PICTURE_SECONDS,
            describe=_refusal,
            before=before,
        )
        return _given(answer.json, served)

    async def fetch(self, url: str) -> bytes:
        """The bytes of a picture. The token is not sent there. NotFound: the provider does not keep it any longer."""
        if url.startswith("data:"):
            try:
                return base64.b64decode(url.partition(",")[2], validate=True)
            except (binascii.Error, ValueError) as failure:
                raise WorkFailed("The provider's picture is no base64.", remedy="Ask again.") from failure
        with tempfile.TemporaryDirectory(prefix="limner-") as folder:
            path = await self._router.download(url, Path(folder) / "picture", most=200_000_000)
            return path.read_bytes()


def call_of(served: Served) -> str:
    """The path below the router."""
    if served.provider != "replicate":
        return f"{served.provider}/{served.model}"
    return "replicate/v1/predictions" if ":" in served.model else f"replicate/v1/models/{served.model}/predictions"


def weights_field(served: Served, hub_url: str, repo: str, scale: float) -> dict[str, Any]:
    """How a provider is told of a lora, under Limner's words for the fields: always what is at main."""
    if served.provider == "replicate":
        return {"lora": f"{hub_url}/{repo}", "scale": scale}
    return {"loras": [{"path": f"{hub_url}/{repo}/resolve/main/{quote(served.weights)}", "scale": scale}]}


def _digests(siblings: Any) -> dict[str, str]:
    found = {}
    for one in siblings if isinstance(siblings, list) else []:
        lfs = one.get("lfs") if isinstance(one, Mapping) else None
        if isinstance(one, Mapping) and isinstance(one.get("rfilename"), str):
            found[one["rfilename"]] = str(lfs.get("sha256") or "") if isinstance(lfs, Mapping) else ""
    return found


def _served(mapping: Any) -> tuple[Served, ...]:
    """From either form in which the hub gives it: by provider, or as a list."""
    if isinstance(mapping, Mapping):
        entries = [{**one, "provider": name} for name, one in mapping.items() if isinstance(one, Mapping)]
    else:
        entries = [dict(one) for one in mapping if isinstance(one, Mapping)] if isinstance(mapping, list) else []
    return tuple(
        Served(str(one["provider"]), str(one["providerId"]), str(one["adapterWeightsPath"]), str(one.get("status")))
        for one in entries
        if one.get("task") == "text-to-image" and one.get("providerId") and one.get("adapterWeightsPath")
    )


def _refusal(answer: Answer) -> LimnerError | None:
    """What the client cannot tell by the status alone."""
    said = redact(message_of(answer.json))
    if answer.status in (400, 403, 422) and _CONTENT.search(said):
        return ContentRefused(
            f"The provider's content filter refused the picture: {said}.",
            remedy="Change the prompt.",
            thing="prompt",
        )
    return None


def _given(body: Any, served: Served) -> Given:
    """The picture of an answer. AnswerLost: the answer holds none, though it may have been drawn and paid."""
    body = as_mapping(body)
    if body.get("status") in ("failed", "canceled", "aborted"):
        said = redact(" ".join(str(body.get("error") or "no reason is given").split())[:300])
        kind = ContentRefused if _CONTENT.search(said) else VendorRefused
        raise kind(f"{served.provider} did not draw the picture: {said}.", remedy="Change the request.", thing="prompt")
    found = body.get("images") or body.get("output") or body.get("image")
    found = found[0] if isinstance(found, list) and found else found
    url = found.get("url") if isinstance(found, Mapping) else found
    if not isinstance(url, str) or not url.startswith(("https://", "http://", "data:image/")):
        raise AnswerLost(
            f"{served.provider} took the request and gave no picture in time.",
            remedy="It may have been paid; look at your account there.",
            thing=VENDOR.name,
        )
    flagged = body.get("has_nsfw_concepts")
    return Given(url, isinstance(flagged, list) and any(flag is True for flag in flagged))
