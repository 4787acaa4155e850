"""limner login, logout, accounts and doctor --live, against vendors on this machine that know one token each."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from limner.stand_ins.serving import serve
from limner.vendors.secrets import tokens as credentials
from limner.vendors.vendor import vendors as all_vendors
from tests.waiting import PATIENCE, until

from .conftest import Outcome, Shell

GOOD = "tok_good_0123456789abcdef"
BAD = "tok_bad_0123456789abcdefgh"


def _vendors() -> Starlette:
    def known(request: Request) -> bool:
        return request.headers.get("authorization", "").endswith(f" {GOOD}")

    async def replicate(request: Request) -> JSONResponse:
        return JSONResponse({"username": "ann"} if known(request) else {"detail": "no"}, 200 if known(request) else 401)

    async def hub(request: Request) -> JSONResponse:
        if not known(request):
            return JSONResponse({"error": "Invalid user token."}, 401)
        return JSONResponse({"name": "ann", "auth": {"accessToken": {"role": "read", "displayName": "x"}}})

    async def together(request: Request) -> JSONResponse:
        return JSONResponse(
            [{"id": "m"}] if known(request) else {"error": {"message": "no"}}, 200 if known(request) else 401
        )

    async def fal(request: Request) -> JSONResponse:
        return JSONResponse({"token": "x"} if known(request) else {"detail": "no"}, 200 if known(request) else 401)

    return Starlette(
        routes=[
            Route("/v1/account", replicate),
            Route("/api/whoami-v2", hub),
            Route("/v1/models", together),
            Route("/storage/auth/token", fal, methods=["POST"]),
        ]
    )


@pytest.fixture(scope="module")
def vendors() -> Iterator[dict[str, str]]:
    """The settings that lead to vendors which accept GOOD."""
    with serve(_vendors()) as url:
        names = ("REPLICATE", "TOGETHER", "HUGGINGFACE", "FAL_QUEUE", "FAL_REST")
        yield {f"LIMNER_{name}_URL": url for name in names}


@pytest.fixture
def bare(limner: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell without any token and without a keyring."""
    for account in all_vendors().values():
        for name in account.variables:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())
    credentials._keyring_said.clear()
    yield limner
    keyring.set_keyring(before)


@contextmanager
def typed(text: str) -> Iterator[None]:
    with mock.patch.object(sys, "stdin", io.StringIO(text)):
        yield


def login(limner: Shell, vendor: str, token: str, vendors: Mapping[str, str], *more: str) -> Outcome:
    with typed(f"{token}\n"):
        return limner("login", vendor, "--token-from-stdin", *more, env=vendors)


@pytest.mark.parametrize("vendor", all_vendors())
def test_login_checks_keeps_and_logout_forgets(vendor: str, bare: Shell, vendors: dict[str, str]) -> None:
    done = login(bare, vendor, GOOD, vendors)
    assert done.code == 0, done.err
    assert "Logged in to" in done.out
    assert str(bare.home / ".env") in done.out
    assert GOOD not in done.out + done.err
    [found] = [row for row in bare("accounts", "--live", "--json", env=vendors).json if row["vendor"] == vendor]
    assert found["ok"] is True
    assert bare("logout", vendor).code == 0
    again = bare("logout", vendor, "--json")
    assert again.code == 4
    assert "no token" in again.problem["detail"]


def test_a_refused_token_is_not_kept(bare: Shell, vendors: dict[str, str]) -> None:
    done = login(bare, "replicate", BAD, vendors, "--json")
    assert done.code == 5
    assert "Nothing was kept." in done.problem["detail"]
    assert "replicate.com/account/api-tokens" in done.problem["remedy"]
    assert BAD not in done.out + done.err
    assert not (bare.home / ".env").exists()


@pytest.mark.parametrize("token", ["", "abc", "two words"])
def test_what_is_no_token_is_sent_nowhere(token: str, bare: Shell) -> None:
    done = login(bare, "replicate", token, {"LIMNER_REPLICATE_URL": "http://127.0.0.1:9"}, "--json")
    assert done.code in (2, 5)
    assert "token" in done.problem["detail"]
    assert done.problem["remedy"]


def test_a_token_that_may_only_read_is_kept_with_a_warning(bare: Shell, vendors: dict[str, str]) -> None:
    done = login(bare, "huggingface", GOOD, vendors)
    assert done.code == 0
    assert "cannot be published" in done.err
    assert "huggingface.co/settings/tokens" in done.err


def test_another_token_that_goes_first_is_named(bare: Shell, vendors: dict[str, str]) -> None:
    done = login(bare, "fal", GOOD, {**vendors, "FAL_KEY": BAD})
    assert done.code == 0
    assert "FAL_KEY in the environment" in done.err
    done = bare("logout", "fal", env={"FAL_KEY": BAD})
    assert done.code == 0
    assert "FAL_KEY in the environment" in done.err
    assert bare("logout", "fal", "--json", env={"FAL_KEY": BAD}).code == 4


def test_an_unknown_vendor_and_a_missing_terminal(bare: Shell) -> None:
    assert bare("login", "acme", "--token-from-stdin", "--json").code == 2
    with typed(""):
        done = bare("login", "replicate", "--json")
    assert done.code == 2
    assert "--token-from-stdin" in done.err


def test_the_list_says_where_each_token_is(bare: Shell, vendors: dict[str, str]) -> None:
    done = bare("accounts", env={"TOGETHER_API_KEY": GOOD})
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines()}
    assert "TOGETHER_API_KEY in the environment" in lines["together"]
    assert "no token" in lines["fal"]
    assert GOOD not in done.out + done.err
    done = bare("accounts", "--live", env={**vendors, "TOGETHER_API_KEY": GOOD, "REPLICATE_API_TOKEN": BAD})
    assert done.code == 1
    assert "does not accept the token" in done.out
    assert "1 models are listed" in done.out or "1 model is listed" in done.out
    assert "limner login replicate" in done.err


def test_the_doctor_asks_the_vendors_when_told(bare: Shell, vendors: dict[str, str]) -> None:
    env = {**vendors, "REPLICATE_API_TOKEN": BAD, "TOGETHER_API_KEY": GOOD, "HF_TOKEN": GOOD}

    def states(*words: str) -> dict[str, str]:
        checks = bare("doctor", "--json", *words, env=env).json["checks"]
        return {check["name"]: check["state"] for check in checks if check["area"] == "accounts"}

    assert states() == {"Hugging Face": "ok", "Replicate": "ok", "fal": "missing", "Together AI": "ok"}
    assert states("--live") == {
        "Hugging Face": "missing",
        "Replicate": "problem",
        "fal": "missing",
        "Together AI": "ok",
    }
    shown = bare("doctor", "--live", env=env)
    assert shown.code == 1
    assert BAD not in shown.out + shown.err
    assert GOOD not in shown.out + shown.err


def test_in_a_terminal_the_token_is_asked_for_and_not_shown(bare: Shell, vendors: dict[str, str]) -> None:
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "limner", "login", "replicate"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**bare.environment, **vendors},
        start_new_session=True,
        preexec_fn=_own_terminal,
    )
    os.close(follower)
    shown = _read_until(leader, b"(not shown)")
    # What is typed before the echo is off is thrown away.
    until(lambda: not termios.tcgetattr(leader)[3] & termios.ECHO)
    os.write(leader, f"{GOOD}\n".encode())
    shown += _read_until(leader, b"is kept in", b"\xe2\x9c\x97")
    assert child.wait(PATIENCE) == 0, shown.decode()
    os.close(leader)
    text = shown.decode().replace("\r\n", " ")
    assert GOOD not in text
    assert "https://replicate.com/account/api-tokens" in text
    assert "Logged in to Replicate as ann" in text
    assert f"REPLICATE_API_TOKEN={GOOD}" in (bare.home / ".env").read_text()


def _own_terminal() -> None:
    import fcntl

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read_until(leader: int, *marks: bytes) -> bytes:
    text, end = b"", time.monotonic() + PATIENCE
    while not any(mark in text for mark in marks) and time.monotonic() < end:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                text += os.read(leader, 4096)
            except OSError:
                break
    return text
