"""limner users and limner tokens."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from limner.cli.main import run
from limner.operations.members import passwords

PASSWORD = "four plain words here"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIMNER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    return tmp_path / "home"


def limner(monkeypatch: pytest.MonkeyPatch, *words: str, stdin: str = "") -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    return run(list(words))


def test_users_from_the_first_to_the_last(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert limner(monkeypatch, "users", "list") == 0
    assert "nobody has to log in" in capsys.readouterr().out
    assert limner(monkeypatch, "subjects", "add", "rex", "--kind", "pet") == 0
    assert limner(monkeypatch, "users", "add", "anna", "--password-from-stdin", stdin=f"{PASSWORD}\n") == 0
    said = capsys.readouterr()
    assert "belongs to anna now" in said.out
    assert limner(monkeypatch, "users", "add", "ben", "--password-from-stdin", "--json", stdin=PASSWORD) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) | {"created_at": ""} == {"name": "ben", "admin": False, "created_at": "", "adopted": 0}
    assert PASSWORD not in said.out + said.err
    assert limner(monkeypatch, "users", "password", "ben", "--password-from-stdin", stdin="short") == 2
    assert limner(monkeypatch, "users", "password", "nobody", "--password-from-stdin", stdin=PASSWORD) == 3
    assert limner(monkeypatch, "users", "remove", "anna") == 4
    assert limner(monkeypatch, "users", "remove", "ben") == 0
    assert limner(monkeypatch, "users", "remove", "anna") == 0
    capsys.readouterr()
    assert limner(monkeypatch, "users", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_password_is_never_asked_for_where_nobody_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert limner(monkeypatch, "users", "add", "anna") == 2
    assert "--password-from-stdin" in capsys.readouterr().err


def test_tokens_are_made_listed_and_revoked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert limner(monkeypatch, "tokens", "add", "script", "--scope", "read", "--days", "30") == 0
    secret = capsys.readouterr().out.strip()
    assert secret.startswith("lim_")
    assert limner(monkeypatch, "tokens", "list") == 0
    listed = capsys.readouterr().out
    assert "script" in listed
    assert secret not in listed
    assert limner(monkeypatch, "tokens", "add", "script", "--scope", "everything") == 2
    assert limner(monkeypatch, "tokens", "remove", "script") == 0
    assert limner(monkeypatch, "tokens", "remove", "script") == 3
    capsys.readouterr()


def test_another_address_is_refused_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert limner(monkeypatch, "serve", "--host", "0.0.0.0", "--no-browser") == 4
    said = " ".join(capsys.readouterr().err.split())
    assert "limner users add NAME; then: limner serve --host 0.0.0.0" in said
