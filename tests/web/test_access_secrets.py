"""Passwords, sessions' cookies, API tokens and forms' tokens, looked for in everything that is kept and logged."""

from __future__ import annotations

import base64
import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from starlette.requests import Request

from .access_bench import PASSWORDS, csrf, form, guarded, members, visiting  # noqa: F401

WRONG = "a wrong password 7f2c"


def written(home: Path, log: str, database: Path) -> dict[str, bytes]:
    """All files of the home but the key, the rows as text, and what was logged."""
    found = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file() and path.name != "web.key"}
    with contextlib.closing(sqlite3.connect(database)) as connection:
        found["rows"] = "\n".join(connection.iterdump()).encode()
    return {**found, "log": log.encode()}


def holding(found: dict[str, bytes], secrets: dict[str, str]) -> list[tuple[str, str]]:
    forms = {
        name: {secret.encode(), quote(secret).encode(), base64.b64encode(secret.encode())}
        for name, secret in secrets.items()
    }
    return [
        (name, place) for name, every in forms.items() for place, data in found.items() if any(f in data for f in every)
    ]


def test_no_secret_gets_anywhere(guarded: FastAPI, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    async def fail(request: Request) -> Any:
        raise RuntimeError("a mistake")

    guarded.router.add_route("/fail", fail, methods=["GET", "POST"])
    caplog.set_level(logging.DEBUG)
    secrets = {**{f"password of {name}": words for name, words in PASSWORDS.items()}, "wrong password": WRONG}
    answers = []
    door = guarded.state.doorkeeper
    with visiting(guarded) as client:
        page = client.get("/login")
        fields = form(page.text, "/login")
        secrets["guest"] = client.cookies.get(door.names.guest)
        secrets["guest's form"] = fields["csrf_token"]
        answers.append(client.post("/login", data=fields | {"name": "anna", "password": WRONG}))
        client.log_in("anna")
        secrets["session"] = client.cookies.get(door.names.session)
        page = client.get("/settings/tokens")
        secrets["form"] = csrf(page.text)
        made = client.post(
            "/settings/tokens", data={"csrf_token": secrets["form"], "name": "script", "scopes": ["read"], "days": ""}
        )
        secrets["token"] = made.text.split('id="new-token" readonly value="')[1].split('"')[0]
        bearer = {"Authorization": f"Bearer {secrets['token']}"}
        for headers in ({}, bearer, {"Authorization": f"Bearer {secrets['token']}x"}):
            for method, path in (
                ("GET", "/fail"),
                ("POST", "/fail"),
                ("GET", "/api/v1/nowhere"),
                ("GET", "/settings/users"),
            ):
                answers.append(client.request(method, path, headers=headers, params={"csrf_token": secrets["form"]}))
        answers.append(client.post("/settings/users", data={"csrf_token": "forged", "name": "x", "password": WRONG}))
        door.members.close_sessions("anna")
        door.forget_all()
        answers.append(
            client.post("/settings/users", data={"csrf_token": secrets["form"], "name": "x", "password": WRONG})
        )
        assert answers[-1].status_code == 401
    home = guarded.state.settings.home
    # What the browser of this test logs of its own requests is no log of ours.
    logged = "\n".join(
        caplog.handler.format(one)
        for one in caplog.records
        if one.name.partition(".")[0] not in ("httpx2", "httpcore2")
    )
    found = written(home, logged, home / "limner.db")
    assert len(found["log"]) > 100
    assert "a mistake" in logged
    assert holding(found, secrets) == []
    clear = {name: secret for name, secret in secrets.items() if name not in ("form", "guest's form")}
    said = {f"answer {n} {one.request.method} {one.request.url.path}": one.content for n, one in enumerate(answers)}
    assert holding(said, clear) == []
    key = (home / "run" / "web.key").read_bytes()
    assert not [place for place, data in found.items() if key in data or key.hex().encode() in data]


def test_the_search_finds_what_is_planted(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as database:
        database.execute("CREATE TABLE t (a TEXT)")
        database.execute("INSERT INTO t VALUES ('lim_planted/secret')")
        database.commit()
    (tmp_path / "a.log").write_text(f"?token={quote('lim_planted/secret')}")
    found = written(tmp_path, "lim_planted/secret", tmp_path / "x.db")
    assert {place.rpartition("/")[2] for _, place in holding(found, {"it": "lim_planted/secret"})} == {
        "rows",
        "x.db",
        "a.log",
        "log",
    }


def test_what_holds_a_secret_does_not_show_it(guarded: FastAPI, members: Any) -> None:  # noqa: F811
    door = guarded.state.doorkeeper
    made = members.add_token("script")
    secret = members.open_session("anna")
    session = members.session(secret)
    for shown in (repr(made), repr(session), repr(door.visitor_after(secret))):
        for hidden in (made.secret, secret, session.digest, door.form_token(secret)):
            assert hidden not in shown


def test_more_days_than_a_number_can_have_are_refused(guarded: FastAPI) -> None:  # noqa: F811
    with visiting(guarded) as client:
        client.log_in("anna")
        token = csrf(client.get("/settings/tokens").text)
        fields = {"csrf_token": token, "name": "script", "scopes": ["read"], "days": "9" * 5_000}
        assert client.post("/settings/tokens", data=fields).status_code == 422
