"""A server with users, and browsers that visit it as browsers do: with cookies, an Origin and what forms hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from limner.operations.members import passwords
from limner.settings import Settings
from limner.studio import Studio
from limner.web.access import Rules
from limner.web.app import create_app

HOME = "http://localhost"
PASSWORDS = {"anna": "annas long password", "ben": "bens long password"}


class Forms(HTMLParser):
    """The forms of a page: their action and fields."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append((told.get("action", ""), {}))
        elif tag == "input" and self.found and "name" in told and told.get("type") != "checkbox":
            self.found[-1][1][told["name"]] = told.get("value", "")


def form(html: str, action: str) -> dict[str, str]:
    """The fields of the form with this action."""
    return next(fields for where, fields in Forms(html).found if where == action)


def csrf(html: str) -> str:
    """The token that the page's forms carry."""
    return re.search(r'<meta name="csrf-token" content="([^"]*)"', html)[1]  # type: ignore[index]


class Person(TestClient):
    """A browser of somebody: it sends an Origin with what it posts, and nothing that the page did not give."""

    def request(self, method: str, url: Any, **options: Any) -> Any:
        if method.upper() not in ("GET", "HEAD"):
            options["headers"] = {"Origin": HOME, **(options.get("headers") or {})}
        return super().request(method, url, **options)

    def log_in(self, name: str, next_page: str = "/") -> Any:
        page = self.get("/login", params={"next": next_page})
        fields = form(page.text, "/login") | {"name": name, "password": PASSWORDS[name]}
        return self.post("/login", data=fields)


@contextmanager
def visiting(app: FastAPI, **options: Any) -> Iterator[Person]:
    """A new browser, with no cookies."""
    with Person(app, base_url=HOME, follow_redirects=False, **options) as made:
        yield made


@pytest.fixture
def members(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Anna, an admin, and Ben, in the home of ``studio``. Hashing is made cheap: its cost is the library's matter."""
    from argon2 import PasswordHasher

    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords._nobodys.cache_clear()
    made = studio.members
    for name, password in PASSWORDS.items():
        made.add(name, password)
    yield made
    passwords._nobodys.cache_clear()


@pytest.fixture
def guarded(home_settings: Settings, members: Any) -> FastAPI:
    """The same home, where everybody has to log in."""
    return create_app(home_settings, rules=Rules(login=True))
