"""How the Together stand-in gets loras: over HTTP, without a token, and refused where they do not fit the model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from limner.catalog.bases import bases
from limner.catalog.hosted import HostedModel
from limner.errors import LimnerError
from limner.loras.checks.fitting import misfits
from limner.loras.checks.inspection import inspect_closely
from limner.stand_ins.random_flux2 import FLUX2_RANDOM

__all__ = ["LoraProblem", "fetch_lora", "fitting_lora"]

MOST_BYTES = 2 * 10**9


class LoraProblem(Exception):
    """What the vendor would say of a lora that it cannot use."""


async def fetch_lora(path: str) -> bytes:
    """The bytes at an address: a page of a Hub repo with one safetensors file, or a ``.safetensors`` address."""
    parts = urlsplit(path)
    segments = [segment for segment in parts.path.split("/") if segment]
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise LoraProblem(f"Invalid LoRA path {path}: a full URL is required")
    if "blob" in segments[2:3]:
        raise LoraProblem(f"Invalid LoRA path {path}: blob pages are not supported, use a resolve URL")
    async with httpx2.AsyncClient(timeout=60, follow_redirects=True) as client:
        try:
            if parts.path.endswith(".safetensors"):
                return await _download(client, path, path)
            if len(segments) == 2:
                return await _from_page(client, f"{parts.scheme}://{parts.netloc}", "/".join(segments), path)
        except httpx2.HTTPError as failure:
            raise LoraProblem(f"Failed to download LoRA from {path}: {type(failure).__name__}") from failure
    raise LoraProblem(f"Invalid LoRA path {path}: it must end with .safetensors")


async def _from_page(client: httpx2.AsyncClient, hub: str, repo: str, path: str) -> bytes:
    answer = await client.get(f"{hub}/api/models/{repo}")
    if answer.status_code >= 400:
        raise LoraProblem(f"Failed to download LoRA from {path}: status {answer.status_code}")
    names = [str(entry.get("rfilename")) for entry in answer.json().get("siblings", [])]
    weights = [name for name in names if name.endswith(".safetensors")]
    if len(weights) != 1:
        raise LoraProblem(f"Failed to download LoRA from {path}: it has {len(weights)} safetensors files, not one")
    return await _download(client, f"{hub}/{repo}/resolve/main/{weights[0]}", path)


async def _download(client: httpx2.AsyncClient, url: str, path: str) -> bytes:
    async with client.stream("GET", url) as answer:
        if answer.status_code >= 400:
            raise LoraProblem(f"Failed to download LoRA from {path}: status {answer.status_code}")
        data = bytearray()
        async for chunk in answer.aiter_bytes():
            data += chunk
            if len(data) > MOST_BYTES:
                raise LoraProblem(f"LoRA at {path} is too large")
    return bytes(data)


def fitting_lora(data: bytes, path: str, row: HostedModel) -> bytes:
    """The same bytes, if their tensors are of the row's base and in a naming that it reads."""
    base = bases().get(row.base, FLUX2_RANDOM)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lora.safetensors"
        file.write_bytes(data)
        try:
            found = inspect_closely(file)
        except LimnerError as refused:
            raise LoraProblem(f"LoRA {path} is not a valid Flux LoRA: {refused.message}") from refused
    names = list(found.header.tensors)
    wrong = list(misfits(found.header, found.index, base)) if found.index.family is base.family else names
    if not wrong and row.namings and found.facts.naming not in row.namings:
        wrong = names
    if wrong:
        raise LoraProblem(f"LoRA {path} has unused keys {', '.join(word.partition(':')[0] for word in wrong[:3])}")
    return data
