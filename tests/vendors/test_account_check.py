"""Each account is asked for by one call that costs nothing; what the vendor says becomes words."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest

from limner.errors import InputRefused
from limner.records import Account
from limner.settings import Settings
from limner.vendors import account_check as checking
from limner.vendors.account_check import check
from limner.vendors.secrets.redaction import Secret
from tests.vendors.scripted import Request, Reset, answer, json_answer, scripted

TOKEN = "tok_0123456789abcdef"
URLS = ("replicate_url", "together_url", "huggingface_url", "fal_queue_url", "fal_rest_url")


def ask(vendor: str, *replies: Any, token: str | None = TOKEN, home: Any = None) -> tuple[Account, list[Request]]:
    async def run() -> tuple[Account, list[Request]]:
        async with scripted(*replies) as script:
            settings = Settings(home=home or "/nowhere", **dict.fromkeys(URLS, script.url))
            if token is None:
                return await check(vendor, settings), script.requests
            with mock.patch.multiple(checking, find_token=lambda *_: Secret(token), where=lambda *_: "a test"):
                return await check(vendor, settings), script.requests

    return asyncio.run(run())


def test_replicate(waits: list[float]) -> None:
    report, [request] = ask("replicate", json_answer(200, {"type": "organization", "username": "acme", "name": "Acme"}))
    assert (report.ok, report.who, report.problem) == (True, "acme", "")
    assert (request.method, request.path) == ("GET", "/v1/account")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


def test_together(waits: list[float]) -> None:
    for body in ([{"id": "a"}, {"id": "b"}], {"object": "list", "data": [{"id": "a"}, {"id": "b"}]}):
        report, [request] = ask("together", json_answer(200, body))
        assert report.ok
        assert report.scope == "2 models are listed"
        assert request.path == "/v1/models"


def whoami(**token: Any) -> bytes:
    return json_answer(200, {"type": "user", "name": "ann", "auth": {"type": "access_token", "accessToken": token}})


def scoped(*permissions: str) -> dict[str, Any]:
    entity = {"_id": "0" * 24, "type": "user", "name": "ann"}
    return {"scoped": [{"entity": entity, "permissions": list(permissions)}], "canReadGatedRepos": True}


@pytest.mark.parametrize(
    ("token", "writes", "scope"),
    [
        ({"role": "write"}, True, "write"),
        ({"role": "god"}, True, "write"),
        ({"role": "read"}, False, "read only"),
        ({"role": "fineGrained", "fineGrained": scoped("repo.write", "repo.content.read")}, True, "writes to ann"),
        ({"role": "fineGrained", "fineGrained": scoped("repo.content.write")}, True, "gated bases"),
        ({"role": "fineGrained", "fineGrained": scoped("repo.content.read")}, False, "reads only"),
        ({"role": "fineGrained", "fineGrained": {"scoped": "odd"}}, False, "reads only"),
        ({"role": "somethingNew"}, True, "somethingNew"),
        ({}, True, "not told"),
    ],
)
def test_hugging_face_tells_what_the_token_may_do(
    token: dict[str, Any], writes: bool, scope: str, waits: list[float]
) -> None:
    report, [request] = ask("huggingface", whoami(**token))
    assert request.path == "/api/whoami-v2"
    assert report.ok
    assert report.who == "ann"
    assert scope in report.scope
    assert bool(report.problem) is not writes
    assert bool(report.remedy) is not writes


def test_fal_is_asked_for_leave_to_upload(waits: list[float]) -> None:
    report, [request] = ask("fal", json_answer(200, {"token": "x", "base_url": "https://cdn"}))
    assert report.ok
    assert request.headers["authorization"] == f"Key {TOKEN}"
    assert request.path.startswith("/storage/auth/token")


def test_fal_is_asked_for_a_request_that_there_is_not_if_uploads_say_nothing(waits: list[float]) -> None:
    for uploads in (404, 403, 405, 422):
        report, requests = ask("fal", json_answer(uploads, {"detail": "no"}), json_answer(404, {"detail": "not found"}))
        assert report.ok
        assert requests[1].method == "GET"
        assert requests[1].path.endswith("/status")


@pytest.mark.parametrize("vendor", ["replicate", "together", "huggingface", "fal"])
def test_a_refused_token_is_told_with_the_page_where_one_is_made(vendor: str, waits: list[float]) -> None:
    report, _ = ask(vendor, json_answer(401, {"detail": f"bad token {TOKEN}"}))
    assert report.ok is False
    assert f"limner login {vendor}" in report.remedy
    assert "https://" in report.remedy
    assert TOKEN not in str(report)


@pytest.mark.parametrize("vendor", ["replicate", "together", "huggingface", "fal"])
@pytest.mark.parametrize("reply", [Reset(), answer(502, b"<html>", kind="text/html"), json_answer(500, {})])
def test_a_vendor_that_cannot_be_asked_is_no_refusal(vendor: str, reply: Any, waits: list[float]) -> None:
    report, _ = ask(vendor, reply)
    assert report.ok is False
    assert report.problem
    assert report.remedy


@pytest.mark.parametrize("vendor", ["replicate", "together", "huggingface", "fal"])
@pytest.mark.parametrize("body", [[], {}, {"name": 5, "auth": []}, {"data": None}, "words", 5])
def test_answers_of_any_form_are_survived(vendor: str, body: Any, waits: list[float]) -> None:
    report, _ = ask(vendor, json_answer(200, body))
    assert report.ok is True


def test_without_a_token_nobody_is_asked(nobody: Settings, waits: list[float]) -> None:
    report, requests = ask("replicate", json_answer(200, {}), token=None, home=nobody.home)
    assert report.ok is None
    assert not requests
    assert "limner login replicate" in report.remedy
    with pytest.raises(InputRefused):
        asyncio.run(check("acme", nobody))
