"""What Together AI can take: its further parameters, and the forms of address that it fetches loras from."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import SplitResult, urlsplit

from limner.catalog.hosted import HostedModel
from limner.findings import refusal
from limner.types import Finding, LoraUse, Severity

__all__ = ["EXTRAS", "extra_problems", "is_loopback", "lora_problems"]

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 100


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _picture_address(value: Any) -> bool:
    return isinstance(value, str) and (value.startswith(("https://", "data:image/")))


def _picture_addresses(value: Any) -> bool:
    return isinstance(value, list | tuple) and 1 <= len(value) <= 16 and all(map(_picture_address, value))


EXTRAS: Mapping[str, tuple[Check, str]] = {
    "negative_prompt": (_text, "a text"),
    "guidance": (_number, "a number from 0 to 100"),
    "guidance_scale": (_number, "a number from 0 to 100"),
    "prompt_upsampling": (_flag, "true or false"),
    "aspect_ratio": (lambda value: bool(re.fullmatch(r"[1-9]\d?:[1-9]\d?", str(value))), "two numbers, such as 16:9"),
    "image_url": (_picture_address, "the https address of a picture"),
    "reference_images": (_picture_addresses, "a list of 1 to 16 https addresses of pictures"),
    "output_format": (lambda value: value in ("png", "jpeg"), "png or jpeg"),
    "disable_safety_checker": (_flag, "true or false"),
}
"""The parameters of the vendor's interface that Limner has no word of its own for, and what each must be."""

_OURS = {
    "prompt": "the prompt",
    "model": "--model",
    "width": "--width",
    "height": "--height",
    "steps": "--steps",
    "n": "--count",
    "seed": "--seed",
    "image_loras": "--lora",
    "response_format": "Limner itself",
}


def extra_problems(extra: Mapping[str, Any], row: HostedModel) -> Iterator[Finding]:
    """Further parameters that the vendor does not know, that are no value for them, or that the model may not heed."""
    for name, value in extra.items():
        if name in _OURS:
            yield refusal("extra-ours", f"The parameter '{name}' is set by {_OURS[name]}.", "Leave it out of the rest.")
        elif name not in EXTRAS:
            near = get_close_matches(name, [*EXTRAS, *_OURS], n=1)
            remedy = f"Did you mean {near[0]}?" if near else f"It knows {', '.join(EXTRAS)}."
            yield refusal("extra-unknown", f"Together AI has no parameter '{name}'.", remedy)
        elif not EXTRAS[name][0](value):
            shown = repr(value)[:80]
            yield refusal("extra-value", f"{shown} is no value for '{name}'.", f"It must be {EXTRAS[name][1]}.")
        elif name not in row.choices:
            yield Finding(
                "extra-unheeded",
                Severity.WARNING,
                f"{row.model} is not known to heed '{name}'; it is sent all the same.",
                f"It heeds {', '.join(row.choices)}." if row.choices else "",
            )


def lora_problems(use: LoraUse, row: HostedModel, *, hubs: frozenset[str], loopback: bool) -> Iterator[Finding]:
    """Why the vendor could not use a lora: where it is, how it is named, its scale and its size.

    ``hubs`` are the hosts with the addresses of the Hugging Face Hub. ``loopback``: the vendor is on this machine, so
    it can reach what is here, and over http.
    """
    lowest, highest = row.scales
    if not lowest <= use.scale <= highest:
        message = f"The scale {use.scale:g} of {use.name} is not possible: {row.model} takes {lowest:g} to {highest:g}."
        yield refusal("scale-out-of-range", message, "0.3 to 1.2 is usual.")
    if row.most_lora_bytes and use.byte_size > row.most_lora_bytes:
        message = f"{use.name} has {use.byte_size / 1e9:.1f} GB; {row.model} takes {row.most_lora_bytes / 1e9:.1f} GB."
        yield refusal("lora-too-large", message, "Train one of a lower rank.")
    if use.naming and row.namings and use.naming not in row.namings:
        yield Finding(
            "lora-naming",
            Severity.WARNING,
            f"The tensors of {use.name} are named as {use.naming} does; {row.model} is known to read "
            f"{', '.join(row.namings)} only.",
            "limner loras import converts it to the naming of diffusers; publish that.",
        )
    yield from _address_problems(use, hubs, loopback)


def _address_problems(use: LoraUse, hubs: frozenset[str], loopback: bool) -> Iterator[Finding]:
    mend = f"limner publish {use.name} --public, or --hub s3 to keep it private."
    if not use.url:
        message = f"Together AI fetches loras from an https address that anyone can read, and {use.name} has none."
        yield refusal("lora-out-of-reach", message, mend)
        return
    try:
        parts = urlsplit(use.url)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError:
        yield refusal("lora-address", f"The address of {use.name} is no address: {use.url[:120]}.", mend)
        return
    if parts.scheme not in (("https", "http") if loopback else ("https",)) or not host:
        yield refusal("lora-address", f"Together AI fetches loras over https only, not from {use.url[:120]}.", mend)
    elif parts.username or parts.password:
        message = f"The address of {use.name} holds a name or password, which would be sent to Together AI."
        yield refusal("lora-address", message, "Use an address that anyone can read.")
    elif not loopback and _is_inside(host):
        message = f"{host} is an address inside your own network: Together AI cannot reach {use.name} there."
        yield refusal("lora-out-of-reach", message, mend)
    else:
        yield from _form_problems(use, parts, host, hubs)


def _form_problems(use: LoraUse, parts: SplitResult, host: str, hubs: frozenset[str]) -> Iterator[Finding]:
    """Whether the address has one of the forms that the vendor's papers list."""
    path = parts.path.rstrip("/")
    segments = [segment for segment in path.split("/") if segment]
    port = f":{parts.port}" if parts.port else ""
    if f"{host}{port}" in hubs and not path.endswith(".safetensors") and len(segments) == 2:
        return  # the page of a repo
    if f"{host}{port}" in hubs and len(segments) > 2 and segments[2] in ("blob", "tree"):
        better = use.url.replace(f"/{segments[2]}/", "/resolve/", 1)
        message = f"{use.url[:160]} is a page about the file of {use.name}, not the file."
        yield refusal(
            "lora-address", message, f"Use {better}" if segments[2] == "blob" else "Use the page of the repo."
        )
        return
    civitai = host.removeprefix("www.").startswith("civitai.") and path.startswith("/api/download/models/")
    replicate = host.removeprefix("www.") == "replicate.com" and len(segments) in (2, 4)
    if civitai or replicate:
        return
    if not path.endswith(".safetensors"):
        message = (
            f"Together AI takes the page of a Hub repo or an address that ends in .safetensors, not {use.url[:160]}."
        )
        yield refusal("lora-address", message, f"limner publish {use.name} --public gives one.")
    elif parts.query or parts.fragment:
        yield Finding(
            "lora-address",
            Severity.WARNING,
            f"The address of {use.name} goes on after .safetensors; whether Together AI takes that is not known.",
            "Use an address that ends in .safetensors, such as the hub s3 gives.",
        )


def is_loopback(url: str) -> bool:
    """Whether an address leads to this very machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_inside(host: str) -> bool:
    """Whether a host is one that only this machine or its own network can reach."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan", ".home.arpa", ".localhost"))
