"""What fal can take of an order: further parameters, seeds, and where loras may be."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from difflib import get_close_matches
from urllib.parse import urlsplit

from limner.catalog.hosted import HostedModel
from limner.findings import refusal
from limner.generation.generator import GenerationOrder
from limner.types import Finding, LoraUse

__all__ = ["order_problems"]

MOST_SEED = 2**53 - 1
"""Larger numbers do not go through every JSON reader unchanged."""
_OURS = ("prompt", "loras", "image_size", "num_inference_steps", "guidance_scale", "seed", "num_images", "sync_mode")


def order_problems(order: GenerationOrder, row: HostedModel, *, loopback: bool) -> Iterator[Finding]:
    """What fal itself forbids. ``loopback``: fal's stand-in runs here, and can reach what is here."""
    for name in order.extra:
        if name in _OURS:
            yield refusal("extra-ours", f"The parameter '{name}' is set by Limner's own options.", "Leave it out.")
        elif name not in row.choices:
            near = get_close_matches(name, row.choices, n=1)
            remedy = f"Did you mean {near[0]}?" if near else f"It takes {', '.join(row.choices) or 'none'}."
            yield refusal("extra-unknown", f"{row.model} takes no parameter '{name}'.", remedy)
    if order.seed + order.count > MOST_SEED:
        yield refusal("seed-out-of-range", f"The seed {order.seed} is too large for fal.", "Use one below 2^53.")
    for use in order.loras:
        yield from _lora(use, loopback)


def _lora(use: LoraUse, loopback: bool) -> Iterator[Finding]:
    if use.url and not _fetchable(use.url, loopback):
        message = f"fal cannot fetch {use.name} from {use.url[:120]}: it takes https addresses that anyone can read."
        yield refusal("lora-out-of-reach", message, f"limner publish {use.name} --public, or leave it to be uploaded.")
    elif not use.url and (use.path is None or not use.path.is_file()):
        message = f"The lora {use.name} is neither on this machine nor at an address that fal can read."
        yield refusal("lora-out-of-reach", message, "Import or publish it first.")


def _fetchable(url: str, loopback: bool) -> bool:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return False
    if not host or parts.username or parts.scheme not in ("https", "http"):
        return False
    return loopback or (parts.scheme == "https" and not is_loopback(host))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, or only reachable from its own network."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local"))
    return not address.is_global
