"""Waits that take no time, and accounts that are nobody's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring

from limner.settings import Settings
from limner.vendors.http import client as http
from limner.vendors.secrets import tokens as credentials
from limner.vendors.secrets.accounts import VENDOR_ACCOUNTS


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the client would have waited."""
    waited: list[float] = []

    async def skip(seconds: float) -> None:
        waited.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(http, "pause", skip)
    return waited


class DictKeyring(KeyringBackend):
    """A keyring that works, in memory."""

    priority = 1.0

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a home without any token: none in the environment, no keyring, no file of the Hub's."""
    for account in VENDOR_ACCOUNTS.values():
        for name in account.variables:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HF_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())
    credentials._keyring_said.clear()
    yield Settings(home=tmp_path / "home")
    keyring.set_keyring(before)
    credentials._keyring_said.clear()


@pytest.fixture
def ring(nobody: Settings) -> DictKeyring:
    """A keyring that works."""
    backend = DictKeyring()
    keyring.set_keyring(backend)
    return backend
