"""A seeded home on a real server, where everybody has to log in, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fastapi import FastAPI

from limner.client import Client
from limner.client import connection as client_connection
from limner.stand_ins.serving import serve
from limner.web.access import Rules
from limner.web.app import create_app
from tests.web.api.seeded import Seeded, seed


@dataclass(frozen=True, slots=True)
class Served:
    """A server with what is in its home."""

    url: str
    app: FastAPI
    there: Seeded


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as planted:
        # What costs has a price for who has an account; its vendor is never reached.
        planted.setenv("TOGETHER_API_KEY", "together_planted_token")
        yield from _served(tmp_path_factory)


def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    there = seed(tmp_path_factory.mktemp("api") / "home")
    app = create_app(there.settings, rules=Rules(login=True))
    with serve(app) as url:
        yield Served(url, app, there)


@pytest.fixture(scope="module")
def there(served: Served) -> Seeded:
    return served.there


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, token=served.there.token) as made:
        yield made


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(seconds: float) -> None:
        pass

    monkeypatch.setattr("limner.vendors.http.client.pause", at_once)
    monkeypatch.setattr(client_connection, "PAUSES", [0.0, 0.0, 0.0])
    monkeypatch.setattr("limner.client.following.PAUSES", [0.0])
    monkeypatch.setattr("limner.client.uploading.PAUSES", [0.0, 0.0, 0.0])
