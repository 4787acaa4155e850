"""The pipeline's part of accounts that the command line cannot show: running inside an event loop, several at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from limner.errors import InputRefused
from limner.operations.home import accounts
from limner.settings import Settings
from limner.vendors.secrets.accounts import VENDOR_ACCOUNTS


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for account in VENDOR_ACCOUNTS.values():
        for name in account.variables:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.chdir(tmp_path)
    return Settings(home=tmp_path / "home")


def test_all_vendors_are_listed_with_what_to_do(settings: Settings) -> None:
    found = accounts.accounts(settings)
    assert [account.vendor for account in found] == list(VENDOR_ACCOUNTS)
    assert all(account.ok is None and not account.where and account.remedy for account in found)
    assert [check.state for check in accounts.checks(settings)] == ["missing"] * 4


def test_a_token_that_cannot_be_one_is_a_problem_without_asking(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_KEY", "paste your key here")
    [fal] = [check for check in accounts.checks(settings) if check.name == "fal"]
    assert fal.state == "problem"
    assert "blanks" in fal.detail
    assert "paste your key" not in fal.detail


def test_it_can_be_asked_from_within_an_event_loop(settings: Settings) -> None:
    async def inside() -> int:
        return len(accounts.accounts(settings, live=True))

    assert asyncio.run(inside()) == 4


def test_unknown_vendors_are_refused(settings: Settings) -> None:
    for ask in (lambda: accounts.login(settings, "acme", "tok_0123456789"), lambda: accounts.logout(settings, "acme")):
        with pytest.raises(InputRefused, match="no vendor 'acme'"):
            ask()
