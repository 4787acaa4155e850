"""The page for people: every operation of the description is on it."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.testclient import TestClient

from limner.settings import Settings
from limner.web.access import Rules
from limner.web.app import create_app


def test_every_operation_is_on_the_page(app: FastAPI) -> None:
    with TestClient(app, base_url="http://localhost") as browser:
        page = browser.get("/api")
    assert page.status_code == 200
    paths = app.openapi()["paths"]
    missing = [
        one["operationId"]
        for at in paths.values()
        for one in at.values()
        if f'id="{one["operationId"]}"' not in page.text
    ]
    assert not missing
    assert "``" not in page.text
    assert " style=" not in page.text and "<script>" not in page.text


def test_who_has_to_log_in_is_led_there(home_settings: Settings) -> None:
    with TestClient(create_app(home_settings, rules=Rules(login=True)), base_url="http://localhost") as stranger:
        answer = stranger.get("/api", follow_redirects=False)
        assert answer.status_code == 303 and answer.headers["location"] == "/login?next=/api"
        assert stranger.get("/api/v1/openapi.json").status_code == 401
