"""An app of its own a test: a home in a temporary folder, no worker, asked from this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from limner.settings import Settings
from limner.studio import Studio
from limner.web.access.cookies import new_guest
from limner.web.access.origins import SAFE_METHODS
from limner.web.app import create_app


@pytest.fixture
def home_settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", start_worker=False)


@pytest.fixture
def studio(home_settings: Settings) -> Iterator[Studio]:
    with Studio(settings=home_settings) as made:
        yield made


@pytest.fixture
def app(studio: Studio, home_settings: Settings) -> FastAPI:
    return create_app(home_settings)


class Browser(TestClient):
    """A client that does as our pages do: what changes something carries the token of the page."""

    def form_token(self) -> str:
        """The token that the forms of this client's pages have."""
        door = self.app.state.doorkeeper  # type: ignore[attr-defined]
        kept = {cookie.name: cookie.value or "" for cookie in self.cookies.jar}
        secret = kept.get(door.names.session) or kept.get(door.names.guest)
        if not secret:
            secret = new_guest()
            self.cookies.set(door.names.guest, secret)
        return str(door.form_token(secret))

    def request(self, method: str, url: Any, **options: Any) -> Any:
        if method.upper() not in SAFE_METHODS:
            options["headers"] = {"X-CSRF-Token": self.form_token(), **(options.get("headers") or {})}
        return super().request(method, url, **options)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with Browser(app, base_url="http://localhost", follow_redirects=False) as made:
        yield made
