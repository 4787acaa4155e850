"""The client of Together AI: what it reads of answers in any form, and the vendor's refusals in our words."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from limner.errors import (
    AccountRefused,
    AnswerLost,
    Cancelled,
    ContentRefused,
    LimnerError,
    NotFound,
    OutOfCredit,
    VendorBusy,
    VendorRefused,
)
from limner.stand_ins.serving import serve
from limner.vendors.http import client as http
from limner.vendors.http import limiter
from limner.vendors.secrets.tokens import Secret
from limner.vendors.together import ModelGone, TogetherClient, _given, _models, refusal

TOKEN = "tgp_planted_token_of_ann"


class Vendor:
    """Answers with whatever is set, and remembers what was asked."""

    def __init__(self) -> None:
        self.answers: list[Response] = []
        self.asked: list[Request] = []
        self.url = ""

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])

    async def _answer(self, request: Request) -> Response:
        await request.body()
        self.asked.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    async def at_once(seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(http, "pause", at_once)
    monkeypatch.setattr(limiter, "_limiters", {})
    made = Vendor()
    with serve(made.app, made):
        yield made


def error(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def generate(vendor: Vendor, before: Any = None) -> Any:
    async def run() -> Any:
        async with TogetherClient(vendor.url, lambda: Secret(TOKEN)) as client:
            return await client.generate({"model": "m", "prompt": "p"}, before=before)

    return asyncio.run(run())


def models(vendor: Vendor) -> Any:
    async def run() -> Any:
        async with TogetherClient(f"{vendor.url}/v1/", lambda: Secret(TOKEN)) as client:
            return await client.models()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (422, error("The image may contain NSFW content"), ContentRefused, "NSFW"),
        (400, error("Your request was flagged by our moderation"), ContentRefused, "flagged"),
        (400, error("refused", "content_policy_violation"), ContentRefused, "refused"),
        (422, error("width must be a multiple of 8"), VendorRefused, "multiple of 8"),
        (400, error("LoRA x has unused keys a.b, c.d"), VendorRefused, "unused keys"),
        (400, error("Failed to download LoRA from https://x"), VendorRefused, "cannot get at the lora"),
        (404, error("Could not fetch lora: 404"), VendorRefused, "cannot get at the lora"),
        (404, error("Unable to access model m.", "model_not_available"), ModelGone, "does not serve"),
        (400, error("Unable to access non-serverless model m. Please create an endpoint"), ModelGone, "does not serve"),
        (404, {}, ModelGone, "404"),
        (401, error("Invalid API key"), AccountRefused, "Invalid API key"),
        (403, error("Not allowed"), AccountRefused, "Not allowed"),
        (402, error("Credit limit exceeded"), OutOfCredit, "Credit limit"),
        (503, error("overloaded"), VendorBusy, "overloaded"),
        (500, error("internal"), AnswerLost, "500"),
        (502, None, AnswerLost, "502"),
        (408, error("timeout"), AnswerLost, "408"),
        (503, None, AnswerLost, "503"),
    ],
)
def test_refusals_in_our_words(vendor: Vendor, status: int, body: Any, kind: type[LimnerError], words: str) -> None:
    page = PlainTextResponse("<html>oops</html>", status, media_type="text/html")
    vendor.answers = [page if body is None else JSONResponse(body, status)]
    with pytest.raises(kind, match=words) as refused:
        generate(vendor)
    assert type(refused.value) is kind
    if kind in (ContentRefused, VendorRefused, ModelGone, OutOfCredit, AccountRefused, AnswerLost):
        assert len(vendor.asked) == 1
    assert TOKEN not in str(refused.value)


def test_a_token_in_the_vendors_words_is_not_repeated(vendor: Vendor) -> None:
    vendor.answers = [JSONResponse(error(f"key {TOKEN} may not use lora download"), 400)]
    with pytest.raises(VendorRefused) as refused:
        generate(vendor)
    assert TOKEN not in str(refused.value)


def test_busy_is_waited_out_and_paid_once(vendor: Vendor) -> None:
    picture = {"id": "o1", "data": [{"b64_json": base64.b64encode(b"png").decode()}]}
    busy = [JSONResponse(error("slow down"), 429, {"x-ratelimit-reset": "0.01"}), JSONResponse(error("busy"), 503)]
    vendor.answers = [*busy, JSONResponse(picture)]
    assert generate(vendor).data == b"png"
    assert len(vendor.asked) == 3
    assert all(one.headers["authorization"] == f"Bearer {TOKEN}" for one in vendor.asked)
    assert all(one.headers["user-agent"].startswith("limner/") for one in vendor.asked)


def test_what_is_stopped_at_its_turn_is_not_sent(vendor: Vendor) -> None:
    async def stop() -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        generate(vendor, before=stop)
    assert vendor.asked == []


def test_the_list_in_either_form(vendor: Vendor) -> None:
    entries = [{"id": "a/b", "type": "image", "pricing": {"base": 0.03, "hourly": None}}, {"name": "no id"}, 7]
    for body in (entries, {"object": "list", "data": entries}, {"models": entries}):
        vendor.answers = [JSONResponse(body)]
        found = models(vendor)
        assert list(found) == ["a/b"]
        assert dict(found["a/b"].pricing) == {"base": 0.03}
    assert vendor.asked[0].url.path == "/v1/models"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "data", "model", "b64_json", "url", "type", "pricing", "error", "message", "code"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(ANYTHING)
@settings(max_examples=300, deadline=None)
def test_any_json_is_survived(body: Any) -> None:
    for model in _models(body):
        assert isinstance(model.id, str)
    try:
        found = _given(body)
        assert found.data or found.url
    except AnswerLost:
        pass
    for status in (400, 403, 404, 422, 429, 500):
        refused = refusal(http.Answer(status, {}, body, b""))
        assert refused is None or isinstance(refused, AccountRefused | ContentRefused | NotFound | VendorRefused)


@given(st.binary(min_size=1, max_size=300), st.booleans(), st.booleans())
def test_pictures_come_back_whole(data: bytes, prefixed: bool, typed: bool) -> None:
    encoded = ("data:image/png;base64," if prefixed else "") + base64.b64encode(data).decode()
    entry = {"index": 0, "b64_json": encoded} | ({"type": "b64_json"} if typed else {})
    assert _given({"data": [entry]}).data == data
