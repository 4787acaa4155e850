"""Which addresses the whole internet may see; everything else is refused, however it is written."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from limner.errors import InputRefused, VendorFailed
from limner.vendors.http import public_web
from limner.vendors.http.public_web import PublicWeb

INSIDE = (
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2001::1",
    "fe80::1",
    "fec0::1",
    "fd00:ec2::254",
    "ff02::1",
)
OUTSIDE = ("1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101")


def answers(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    found = [(socket.AF_INET6 if ":" in one else socket.AF_INET, 1, 6, "", (one, 443)) for one in addresses]
    monkeypatch.setattr(public_web.socket, "getaddrinfo", lambda *a, **k: found)


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_that_leads_inside_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, address)
    with pytest.raises(InputRefused, match="inside a network"):
        PublicWeb(loopback=False).check("https://example.org/x")
    answers(monkeypatch, "1.1.1.1", address)  # one good address makes no good host
    with pytest.raises(InputRefused, match="inside a network"):
        PublicWeb().check("https://example.org/x")


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_one_is_not(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, address)
    PublicWeb(loopback=False).check("https://example.org/x")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"],
)
def test_loopback_in_every_writing_is_refused(host: str) -> None:
    with pytest.raises((InputRefused, VendorFailed)):
        PublicWeb(loopback=False).check(f"https://{host}/x")
    with pytest.raises((InputRefused, VendorFailed)):
        asyncio.run(PublicWeb(loopback=False).post(f"https://{host}/x", b"", {}, seconds=2))


def test_loopback_may_be_allowed_but_not_by_a_name_that_leads_there(monkeypatch: pytest.MonkeyPatch) -> None:
    PublicWeb(loopback=True).check("http://127.0.0.1:8000/x")
    answers(monkeypatch, "127.0.0.1")
    with pytest.raises(InputRefused):
        PublicWeb(loopback=True).check("https://rebind.example/x")
    with pytest.raises(InputRefused, match="not https"):
        PublicWeb(loopback=True).check("http://rebind.example/x")


def test_a_message_goes_to_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name is asked for once, and the connection is to that very answer, not to the name."""
    asked: list[Any] = []
    monkeypatch.setattr(
        public_web.socket,
        "getaddrinfo",
        lambda host, *a, **k: (
            asked.append(host) or [(2, 1, 6, "", ("1.1.1.1" if len(asked) == 1 else "127.0.0.1", 443))]
        ),
    )
    import httpx2

    targets: list[str] = []

    def stream(self: Any, method: str, url: Any, **options: Any) -> Any:
        targets.append(f"{method} {url.host} {options['headers']['host']} {options['extensions']['sni_hostname']}")
        raise httpx2.ConnectError("far enough")

    monkeypatch.setattr(httpx2.AsyncClient, "stream", stream)
    with pytest.raises(VendorFailed):
        asyncio.run(PublicWeb(loopback=False).post("https://rebind.example/x", b"{}", {}, seconds=5))
    assert targets == ["POST 1.1.1.1 rebind.example rebind.example"]
    assert asked == ["rebind.example"]
