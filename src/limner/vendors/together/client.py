"""Together AI: its list of models and its pictures. Its answers are read leniently: their forms have changed before.

The vendor's own SDK is not used: it sends a paid call again after its own time-out, and pays twice.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from limner.errors import (
    AccountRefused,
    AnswerLost,
    ContentRefused,
    LimnerError,
    NotFound,
    VendorFailed,
    VendorRefused,
)
from limner.vendors.http.client import Answer, VendorClient, message_of
from limner.vendors.http.decompression_limit import refuse_swelling
from limner.vendors.secrets.tokens import Secret, redact
from limner.vendors.together.vendor import VENDOR

__all__ = ["Given", "ListedModel", "ModelGone", "TogetherClient"]

MOST_PICTURE_BYTES = 200_000_000
PICTURE_SECONDS = 300.0
LOOKS = (0.5, 2.0, 5.0)
"""Seconds before each further try to fetch a picture that is paid for."""
_CONTENT = re.compile(
    r"nsfw|not safe for work|safety (?:checker|filter|system)|content[ _-]?(?:policy|filter|moderation)|moderat|"
    r"flagged|inappropriate|prohibited content|violat\w* .{0,40}polic",
    re.IGNORECASE,
)
_MODEL_GONE = re.compile(
    r"model_not_available|model_not_found|unable to access (?:non-serverless )?model|"
    r"model .{0,120}(?:not found|does not exist|not available|no longer|deprecated)|(?:unknown|invalid) model",
    re.IGNORECASE,
)
_UNUSED_KEYS = re.compile(r"unused keys|missing keys|unexpected keys", re.IGNORECASE)
_UNREACHED = re.compile(
    r"(?:lora|adapter|safetensors).{0,200}(?:download|fetch|access|reach|not found|40[134])|"
    r"(?:download|fetch|access|reach|find).{0,80}(?:lora|adapter|safetensors)",
    re.IGNORECASE | re.DOTALL,
)


class ModelGone(NotFound):
    """The vendor does not serve a model of this name (any more)."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model of the vendor's live list. ``pricing`` is as the vendor gives it; its units differ by kind of model."""

    id: str
    kind: str = ""
    pricing: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Given:
    """What the vendor gave for one picture: its id for the request, and the bytes or the address to fetch them from."""

    id: str
    model: str
    data: bytes = field(default=b"", repr=False)
    url: str = ""


class TogetherClient:
    """Talks to Together AI with one token. Open it with ``async with``."""

    def __init__(self, base_url: str, token: Callable[[], Secret] | None) -> None:
        # Its own SDK wants the host without /v1, older papers give it with: both work here.
        self._client = VendorClient(VENDOR, base_url.rstrip("/").removesuffix("/v1"), token)

    async def __aenter__(self) -> TogetherClient:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._client.__aexit__(*failure)

    async def models(self) -> dict[str, ListedModel]:
        """What the vendor serves today, by its names. Free; also shows whether the token is good."""
        answer = await self._client.request("GET", "v1/models")
        return {model.id: model for model in _models(answer.json)}

    async def generate(self, body: Mapping[str, Any], *, before: Callable[[], Awaitable[None]] | None = None) -> Given:
        """Ask for one picture. Paid, and never sent again where it may have been taken.

        ``before`` is called when its turn has come, right before each sending; what it raises keeps it from being sent.
        ContentRefused: the content filter said no; ModelGone; VendorRefused: a lora or a value cannot be used;
        AnswerLost: it may have been drawn, and paid.
        """
        answer = await self._client.request(
            "POST",
            "v1/images/generations",
            json=dict(body),
            paid=True,
            timeout=PICTURE_SECONDS,
            describe=refusal,
            before=before,
        )
        return _given(answer.json)

    async def fetch(self, given: Given) -> bytes:
        """The bytes of a picture, fetched where the vendor gave an address. The token is not sent there.

        VendorFailed: it cannot be had, though it is paid for; its address is named.
        """
        if given.data:
            return given.data
        failure = ""
        for wait in (0.0, *LOOKS):
            await asyncio.sleep(wait)
            try:
                return await self._download(given.url)
            except (httpx2.HTTPError, OSError, ValueError) as problem:
                failure = f"{type(problem).__name__}: {problem}"[:200]
        raise VendorFailed(
            f"A picture was drawn and paid for, but cannot be fetched from {given.url} ({redact(failure)}).",
            remedy="Save it from that address by hand before it expires.",
            thing=given.id,
        )

    async def look(self, url: str) -> int:
        """The status that anyone gets at an address, without its contents."""
        async with self._client.stream(url, headers={"range": "bytes=0-0"}) as response:
            return response.status_code

    async def _download(self, url: str) -> bytes:
        data = bytearray()
        async with asyncio.timeout(PICTURE_SECONDS), self._client.stream(url) as response:
            if response.status_code >= 400:
                raise ValueError(f"status {response.status_code}")
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MOST_PICTURE_BYTES:
                    raise ValueError("it is far too large for a picture")
                refuse_swelling(response, len(data))
        if not data:
            raise ValueError("the answer is empty")
        return bytes(data)


def _models(body: Any) -> list[ListedModel]:
    """The list in either of its two forms; entries that are not understood are passed over."""
    entries = body.get("data", body.get("models", [])) if isinstance(body, Mapping) else body
    found = []
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, str):
            found.append(ListedModel(entry))
        elif isinstance(entry, Mapping) and isinstance(entry.get("id"), str):
            raw = entry.get("pricing")
            pricing = raw.items() if isinstance(raw, Mapping) else ()
            numbers = {str(name): float(value) for name, value in pricing if type(value) in (int, float)}
            found.append(ListedModel(entry["id"], str(entry.get("type") or ""), numbers))
    return found


def _given(body: Any) -> Given:
    """The first picture of an answer, by which of its fields are there: ``type`` and ``object`` are often left out."""
    entries = body.get("data") if isinstance(body, Mapping) else None
    first = entries[0] if isinstance(entries, list) and entries else None
    if not isinstance(first, Mapping):
        raise _no_picture(body, "it holds no picture")
    reference, model = str(body.get("id") or ""), str(body.get("model") or "")
    encoded, url = first.get("b64_json"), first.get("url")
    if isinstance(encoded, str) and encoded:
        try:
            data = base64.b64decode(encoded.partition("base64,")[2] or encoded, validate=True)
        except (binascii.Error, ValueError):
            raise _no_picture(body, "its picture is no base64") from None
        return Given(reference, model, data=data)
    if isinstance(url, str) and url.startswith(("https://", "http://")):
        return Given(reference, model, url=url)
    raise _no_picture(body, "it holds neither a picture nor an address")


def _no_picture(body: Any, why: str) -> LimnerError:
    """An answer of status 200 without a picture. The call was taken, so it may have been paid."""
    said = redact(message_of(body.get("error"))) if isinstance(body, Mapping) else ""
    return AnswerLost(
        f"{VENDOR.title} answered a paid call, but {why}{f' ({said})' if said else ''}.",
        remedy="Look at your account there whether it was charged.",
        thing=VENDOR.name,
    )


def refusal(answer: Answer) -> LimnerError | None:
    """A refusal of a picture in our words; None where the client's own words do."""
    said = redact(message_of(answer.json))
    code = _code(answer.json)
    title, thing = VENDOR.title, VENDOR.name
    if answer.status not in (400, 403, 404, 422) or answer.json is None:
        return None
    if _CONTENT.search(f"{said} {code}"):
        return ContentRefused(
            f"{title}'s content filter refused the picture: {said}",
            remedy="Change the prompt or the seed; nothing was drawn.",
            thing=thing,
        )
    if _UNUSED_KEYS.search(said):
        return VendorRefused(
            f"{title} cannot use the lora: {said}",
            remedy="Its tensors are of another base or naming: take it in with limner loras import, which says which "
            "base it fits and converts it to the naming of diffusers, and publish that.",
            thing=thing,
        )
    if _MODEL_GONE.search(f"{said} {code}") or (answer.status == 404 and not _UNREACHED.search(said)):
        return ModelGone(f"{title} does not serve this model: {said or answer.status}", thing=thing)
    if _UNREACHED.search(said):
        return VendorRefused(
            f"{title} cannot get at the lora: {said}",
            remedy="It must be readable by anyone, at its https address. Look whether it is: limner loras show.",
            thing=thing,
        )
    if answer.status == 403:
        return AccountRefused(
            f"{title} does not let this account do that: {said}",
            remedy=f"See {VENDOR.page}, and limner accounts.",
            thing=thing,
        )
    return None


def _code(body: Any) -> str:
    error = body.get("error") if isinstance(body, Mapping) else None
    source = error if isinstance(error, Mapping) else body
    if not isinstance(source, Mapping):
        return ""
    return " ".join(str(source.get(name) or "") for name in ("code", "type", "error_type"))
