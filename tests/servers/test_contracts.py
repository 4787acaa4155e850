"""The check against the published descriptions notices what is wrong, and only that."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from limner.stand_ins.serving import serve
from tests.servers.contracts import Validated

TRAIN = "/v1/models/ostris/trainer/versions/abc/trainings"
FILE = {
    "id": "f1",
    "content_type": "application/zip",
    "size": 3,
    "etag": "e",
    "checksums": {"sha256": "0"},
    "metadata": {},
    "created_at": "2026-11-24T00:00:00Z",
    "expires_at": "2026-11-25T00:00:00Z",
    "urls": {"get": "https://api.replicate.com/v1/files/f1"},
}


def vendor(answer: Any, status: int = 200) -> Starlette:
    async def anything(request: Request) -> Response:
        await request.body()
        return JSONResponse(answer, status)

    async def delivery(request: Request) -> Response:
        return PlainTextResponse("bytes")

    methods = ["GET", "POST", "PUT", "DELETE"]
    return Starlette(
        routes=[Route("/delivery/x", delivery), Route("/{path:path}", anything, methods=methods)],
    )


def sent(checked: Validated, method: str, path: str, **more: Any) -> httpx.Response:
    with serve(checked) as url:
        return httpx.request(method, url + path, headers={"authorization": "Bearer x"}, **more)


def test_a_right_request_and_answer_pass() -> None:
    checked = Validated(
        vendor({"type": "user", "username": "me", "name": "Me", "github_url": ""}), "replicate", under="/v1"
    )
    assert sent(checked, "GET", "/v1/account").json()["username"] == "me"
    assert checked.violations == []
    assert checked.seen == [("get", "/v1/account")]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"destination": "me/x", "input": {"steps": 3}}, False),
        ({"input": {"steps": 3}}, True),
        ({"destination": "me/x"}, True),
        ({"destination": "me/x", "input": "steps"}, True),
        ({"destination": "me/x", "input": {}, "webhook_events_filter": ["every"]}, True),
    ],
)
def test_a_training_request(body: dict[str, Any], wrong: bool) -> None:
    checked = Validated(vendor({}, 201), "replicate", under="/v1", answers=False)
    sent(checked, "POST", TRAIN, json=body)
    assert bool(checked.violations) is wrong, checked.violations


def test_an_upload_is_read_as_form_data() -> None:
    checked = Validated(vendor(FILE, 201), "replicate", under="/v1")
    assert (
        sent(checked, "POST", "/v1/files", files={"content": ("a.zip", b"abc", "application/zip")}).json()["id"] == "f1"
    )
    assert checked.violations == []
    sent(checked, "POST", "/v1/files", files={"contents": ("a.zip", b"abc", "application/zip")})
    assert [v.part for v in checked.violations] == ["request"]


def test_a_wrong_answer_is_a_violation_and_an_error_answer_is_not() -> None:
    checked = Validated(vendor({**FILE, "size": "three"}), "replicate", under="/v1")
    sent(checked, "GET", "/v1/files/f1")
    assert [v.part for v in checked.violations] == ["answer"]
    refused = Validated(vendor({"detail": "no"}, 404), "replicate", under="/v1")
    sent(refused, "GET", "/v1/files/f1")
    assert refused.violations == []


def test_an_undeclared_method_or_path_is_unknown() -> None:
    checked = Validated(vendor({}), "replicate", under="/v1")
    sent(checked, "GET", "/delivery/x")
    sent(checked, "PUT", "/v1/account")
    assert checked.unknown == {("get", "/delivery/x"), ("put", "/v1/account")}


def test_the_hub() -> None:
    checked = Validated(vendor({"url": "https://huggingface.co/me/x"}), "huggingface", answers=False)
    sent(checked, "POST", "/api/repos/create", json={"name": "x", "type": "model", "visibility": "private"})
    assert checked.violations == []
    sent(checked, "POST", "/api/repos/create", json={"name": "x", "visibility": "hidden"})
    assert len(checked.violations) == 1
    # a commit's body is NDJSON, which the description does not tell
    header = json.dumps({"key": "header", "value": {"summary": "s"}})
    sent(checked, "POST", "/api/models/me/x/commit/main", content=header)
    assert len(checked.violations) == 1
    assert ("post", "/api/models/me/x/commit/main") in checked.seen


def test_a_known_mistake_of_the_description_can_be_excepted() -> None:
    checked = Validated(vendor({}), "huggingface", answers=False, except_for=["'hidden' is not one of"])
    sent(checked, "POST", "/api/repos/create", json={"name": "x", "visibility": "hidden"})
    assert checked.violations == []
