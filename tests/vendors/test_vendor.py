"""One declaration makes a vendor: in a package of somebody else's, with no line of ours changed."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.errors import AccountRefused, LimnerError, NotFound, VendorFailed
from limner.operations.home import accounts
from limner.settings import Settings, read_settings
from limner.vendors.account_check import check
from limner.vendors.http.client import VendorClient
from limner.vendors.secrets.tokens import find_token, keep_token
from limner.vendors.vendor import find_vendor, vendors
from tests.vendors.scripted import answer, json_answer, scripted

TOKEN = "acme_0123456789"
DECLARED = """
from limner.vendors.vendor import TokenReport, Vendor


async def check(request, settings):
    return TokenReport((await request("GET", "me")).json["name"], "pictures")


ACME = Vendor(
    "acme", "Acme", variables=("ACME_TOKEN",), page="https://acme.test/tokens", used_for="pictures",
    addresses={"acme_url": "https://api.acme.test"}, check=check, scheme="Key",
)
"""


@pytest.fixture
def acme(tmp_path: Path, nobody: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A package that declares a vendor, and nothing else."""
    about = tmp_path / "site/acme-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[limner.vendors]\nacme = acme_vendor:ACME\nbroken = acme_nowhere:NO\nfal = acme_vendor:ACME\n"
    )
    (tmp_path / "site/acme_vendor.py").write_text(DECLARED)
    monkeypatch.syspath_prepend(tmp_path / "site")
    vendors.cache_clear()
    yield nobody
    vendors.cache_clear()


def test_it_is_listed_and_said_how_to_connect(acme: Settings) -> None:
    [found] = [one for one in accounts.accounts(acme) if one.vendor == "acme"]
    assert (found.title, found.where, found.ok) == ("Acme", "", None)
    assert "limner login acme" in found.remedy
    assert "ACME_TOKEN" in found.remedy
    [line] = [one for one in accounts.checks(acme) if one.name == "Acme"]
    assert (line.state, line.detail) == ("missing", "no token (pictures)")


def test_one_that_is_broken_hides_no_other_and_nobody_takes_the_place_of_ours(acme: Settings) -> None:
    assert list(vendors()) == ["fal", "huggingface", "replicate", "together", "acme"]
    assert find_vendor("fal").variables == ("FAL_KEY",)


def test_its_account_is_checked_at_the_address_of_the_settings(
    acme: Settings, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)

    async def run() -> None:
        async with scripted(json_answer(200, {"name": "ann"})) as script:
            settings = Settings(home=acme.home, vendor_urls={"acme_url": script.url})
            account = await check("acme", settings)
            assert (account.ok, account.who, account.scope) == (True, "ann", "pictures")
            assert script.requests[0].headers["authorization"] == f"Key {TOKEN}"

    asyncio.run(run())


def test_its_address_comes_from_the_file_or_the_environment(acme: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = find_vendor("acme")
    assert vendor.address(acme) == "https://api.acme.test"
    acme.home.mkdir()
    (acme.home / "limner.toml").write_text('[vendor_urls]\nacme_url = "https://file.test"\n')
    assert vendor.address(read_settings(acme.home)) == "https://file.test"
    monkeypatch.setenv("LIMNER_VENDOR_URLS__ACME_URL", "https://environment.test")
    assert vendor.address(read_settings(acme.home)) == "https://environment.test"


def test_what_is_kept_for_it_is_not_sent_where_the_environment_says(
    acme: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_token("acme", TOKEN, acme)
    assert find_token("acme", Settings(home=acme.home)).reveal() == TOKEN
    for variable in ("LIMNER_VENDOR_URLS__ACME_URL", "limner_vendor_urls__acme_url"):
        with monkeypatch.context() as environment:
            environment.setenv(variable, "https://elsewhere.test")
            with pytest.raises(AccountRefused, match=r"is not sent to https://elsewhere\.test"):
                find_token("acme", Settings(home=acme.home))
    told = Settings(home=acme.home, vendor_urls={"acme_url": "https://own.test"})
    assert find_token("acme", told).reveal() == TOKEN


@pytest.mark.parametrize("variable", ["LIMNER_REPLICATE_URL", "limner_replicate_url"])
def test_the_case_of_a_variable_opens_no_way_to_a_token(
    variable: str, nobody: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_token("replicate", TOKEN, nobody)
    monkeypatch.setenv(variable, "https://elsewhere.test")
    with pytest.raises(AccountRefused, match="is not sent to"):
        find_token("replicate", Settings(home=nobody.home))


@pytest.mark.parametrize(
    ("reply", "kind", "remedy"),
    [
        (json_answer(401, {}), AccountRefused, "https://acme.test/tokens"),
        (answer(200, b"<html>", kind="text/html"), VendorFailed, "LIMNER_VENDOR_URLS__ACME_URL"),
        (answer(404, b"<html>", kind="text/html"), NotFound, "LIMNER_VENDOR_URLS__ACME_URL"),
    ],
)
def test_its_refusals_say_what_to_do(
    reply: bytes, kind: type[LimnerError], remedy: str, acme: Settings, waits: list[float]
) -> None:
    async def run() -> None:
        async with (
            scripted(reply) as script,
            VendorClient(find_vendor("acme"), script.url, None, attempts=1) as client,
        ):
            await client.request("GET", "me")

    with pytest.raises(kind) as caught:
        asyncio.run(run())
    assert remedy in caught.value.remedy
    assert "Acme" in caught.value.message


def test_every_room_declares_a_whole_vendor() -> None:
    for name, vendor in vendors().items():
        assert name == vendor.name
        empty = {field.name for field in dataclasses.fields(vendor) if getattr(vendor, field.name) in ("", (), {})}
        assert not empty
