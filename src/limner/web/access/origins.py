"""From where a request comes: the name by which the server was called, and the page that made the browser call it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from limner.errors import AccessRefused, InputRefused
from limner.web.access.rules import Rules

__all__ = ["SAFE_METHODS", "host_name", "refuse_foreign_host", "refuse_foreign_page"]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PORTS = {"http": 80, "https": 443}


def host_name(netloc: str) -> str:
    """The name in ``name:port``, in small letters; an IPv6 address keeps its brackets."""
    name, _, port = netloc.lower().rpartition(":")
    return name if name and port.isdecimal() else netloc.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def refuse_foreign_host(headers: Headers, rules: Rules) -> None:
    """Refuse a name that is not ours: a foreign page whose name was led to this machine would come by one.

    The port is not looked at, because a tunnel or proxy may have another.
    """
    given = headers.getlist("host")
    if len(given) != 1 or not given[0]:
        raise InputRefused("The request names no host, or several.", remedy="Send one Host header.", thing="host")
    name = host_name(given[0])
    if name in rules.hosts or (rules.addresses and _is_address(name)):
        return
    raise AccessRefused(
        f"This server is not called '{name[:100]}'.",
        remedy="Call it by the address that it printed; other names are allowed with the setting hosts (LIMNER_HOSTS).",
        thing="host",
    )


def _same_place(address: str, host: str, scheme: str) -> bool:
    try:
        parts = urlsplit(address)
        if not parts.hostname:
            return False
        there = (parts.hostname, parts.port or PORTS.get(parts.scheme))
        here = urlsplit(f"//{host}")
        # Behind a proxy that speaks https our own scheme is http, so a missing port is that of the page's scheme.
        return there == (here.hostname, here.port or PORTS.get(parts.scheme) or PORTS.get(scheme))
    except ValueError:
        return False


def refuse_foreign_page(method: str, headers: Headers, scheme: str, *, api: bool) -> None:
    """Refuse what a foreign page makes the browser ask for, except to follow a link to a page of ours.

    Browsers say where a request comes from; programs say nothing and are not driven by pages.
    """
    site = headers.get("sec-fetch-site", "")
    origin = headers.get("origin")
    if origin is not None and not _same_place(origin, headers.get("host", ""), scheme):
        foreign = True
    else:
        foreign = site in ("cross-site", "same-site") and not (
            method in ("GET", "HEAD")
            and not api
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest", "document") == "document"
        )
    if foreign:
        raise AccessRefused(
            "Another page asked your browser for this, so nothing was done.",
            remedy="Open Limner itself and do it there; programs use an API token.",
            thing="origin",
        )
