"""What fal's models can take of an order: further parameters, steps, sizes, scales, and where loras may be."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from difflib import get_close_matches
from urllib.parse import urlsplit

from limner.catalog.hosted import HostedModel
from limner.findings import refusal
from limner.generation.alternatives import elsewhere
from limner.generation.generator import GenerationOrder
from limner.types import Finding, LoraUse, Severity

__all__ = ["row_problems"]

MOST_SEED = 2**53 - 1
"""Larger numbers do not go through every JSON reader unchanged."""
_OURS = ("prompt", "loras", "image_size", "num_inference_steps", "guidance_scale", "seed", "num_images", "sync_mode")


def row_problems(order: GenerationOrder, row: HostedModel, *, loopback: bool) -> Iterator[Finding]:
    """Why a model could not draw the order. ``loopback``: fal's stand-in runs here, and can reach what is here."""
    if row.withdrawn:
        message = f"fal took {row.model} off its list on {row.withdrawn}."
        yield refusal("model-withdrawn", message, elsewhere(order.base, besides="fal", model=row.model))
    for name in order.extra:
        if name in _OURS:
            yield refusal("extra-ours", f"The parameter '{name}' is set by Limner's own options.", "Leave it out.")
        elif name not in row.choices:
            near = get_close_matches(name, row.choices, n=1)
            remedy = f"Did you mean {near[0]}?" if near else f"It takes {', '.join(row.choices) or 'none'}."
            yield refusal("extra-unknown", f"{row.model} takes no parameter '{name}'.", remedy)
    if row.most_steps and order.steps > row.most_steps:
        message = f"{order.steps} steps are not possible: {row.model} takes up to {row.most_steps}."
        yield refusal("steps-out-of-range", message, f"{row.steps} are usual.")
    yield from _size(order, row)
    if order.seed + order.count > MOST_SEED:
        yield refusal("seed-out-of-range", f"The seed {order.seed} is too large for fal.", "Use one below 2^53.")
    total = sum(use.byte_size for use in order.loras)
    if row.most_lora_bytes and total > row.most_lora_bytes:
        message = f"The loras have {total / 1e9:.1f} GB; {row.model} takes {row.most_lora_bytes / 1e9:.0f} GB in all."
        yield refusal("lora-too-large", message, "Leave one out, or train one of a lower rank.")
    for use in order.loras:
        yield from _lora(use, row, loopback)


def _size(order: GenerationOrder, row: HostedModel) -> Iterator[Finding]:
    lowest, highest, multiple = row.sizes
    for name, size in (("width", order.width), ("height", order.height)):
        if size % multiple or not lowest <= size <= highest:
            near = min(max(round(size / multiple) * multiple, lowest), highest)
            message = f"The {name} {size} is not possible: {row.model} draws {lowest} to {highest} pixels"
            yield refusal(f"{name}-not-possible", f"{message}, in multiples of {multiple}.", f"The nearest is {near}.")


def _lora(use: LoraUse, row: HostedModel, loopback: bool) -> Iterator[Finding]:
    lowest, highest = row.scales
    if not lowest <= use.scale <= highest:
        message = f"The scale {use.scale:g} of {use.name} is not possible: {row.model} takes {lowest:g} to {highest:g}."
        yield refusal("scale-out-of-range", message, "0.3 to 1.2 is usual.")
    naming = getattr(use, "naming", "")
    if naming and row.namings and naming not in row.namings:
        message = f"The tensors of {use.name} are named as {naming} does; {row.model} reads {', '.join(row.namings)}."
        yield Finding("lora-naming", Severity.WARNING, message, "limner loras import converts it.")
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
