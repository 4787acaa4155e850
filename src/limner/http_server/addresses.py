"""Addresses of who connects: read whatever they look like, and the network that belongs to one household."""

from __future__ import annotations

import ipaddress

__all__ = ["is_loopback", "network_of", "parsed_address"]


def parsed_address(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address; an IPv4 one as itself, though one that listens on both is told of it as an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, ipaddress.IPv6Address) else parsed


def network_of(address: str) -> str:
    """The address, or of an IPv6 one the network that one household has: whoever has one of it has all."""
    parsed = parsed_address(address)
    if parsed is None:
        return address[:64]
    if parsed.version == 6:
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)


def is_loopback(address: str) -> bool:
    """Whether it is one of this machine, or none at all, as that of a socket file."""
    parsed = parsed_address(address)
    return not address if parsed is None else parsed.is_loopback
