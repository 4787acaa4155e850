"""The client against a server that does everything wrong: what is sent again, what is lost, what the user is told."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from limner.errors import (
    AccountRefused,
    AnswerLost,
    ContentRefused,
    LimnerError,
    NotFound,
    OutOfCredit,
    VendorBusy,
    VendorFailed,
    VendorRefused,
)
from limner.vendors.http import client as http
from limner.vendors.http.client import Answer, VendorClient
from limner.vendors.secrets.redaction import Secret
from limner.vendors.vendor import Vendor
from tests.vendors.scripted import HANG, Reset, Script, answer, json_answer, scripted

ACME = Vendor("acme", "Acme", rate=1000.0, burst=1000, page="https://acme.test/tokens")
TOKEN = "acme-0123456789-secret"
PAGE = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
HALF = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"id": "'


def client(url: str, **more: Any) -> VendorClient:
    return VendorClient(ACME, url, lambda: Secret(TOKEN), **more)


def ask(*replies: Any, method: str = "POST", **more: Any) -> tuple[Answer | LimnerError, Script]:
    """One call against the replies: the answer or the error, and what the server saw."""

    async def run() -> tuple[Answer | LimnerError, Script]:
        async with scripted(*replies) as script, client(script.url, timeout=more.pop("patience", 5.0)) as vendor:
            try:
                return await vendor.request(
                    method, "v1/things", json={"a": 1} if method == "POST" else None, **more
                ), script
            except LimnerError as failure:
                return failure, script

    return asyncio.run(run())


# --- paid calls -----------------------------------------------------------------------------------------------------

LOST = {
    "reset before the answer": Reset(),
    "hung up before the answer": Reset(politely=True),
    "reset in the head": Reset(b"HTTP/1.1 200 OK\r\ncontent-"),
    "reset in the body": Reset(HALF),
    "hung up in the body": Reset(HALF, politely=True),
    "chunks that end early": Reset(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", politely=True
    ),
    "no HTTP at all": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "truncated JSON": answer(200, b'{"id": "abc", "out', kind="application/json"),
    "an HTML page with 200": answer(200, PAGE, kind="text/html"),
    "an HTML page that claims to be JSON": answer(200, PAGE, kind="application/json"),
    "nothing with 200": answer(200, kind="application/json"),
    "no time-out of ours": answer(408, b"{}", kind="application/json"),
    "a gateway's 502": answer(502, PAGE, kind="text/html"),
    "a gateway's 503": answer(503, PAGE, kind="text/html"),
    "a gateway's 504": answer(504, b"", kind="text/plain"),
    "500 in JSON": json_answer(500, {"detail": "Internal error"}),
    "see other": answer(303, headers={"location": "/v1/other"}),
    "damaged compression": answer(200, b"\x00\x01not gzip", {"content-encoding": "gzip"}, kind="application/json"),
}


@pytest.mark.parametrize("reply", LOST.values(), ids=LOST)
def test_a_paid_call_that_may_have_been_taken_is_never_sent_again(reply: Any, waits: list[float]) -> None:
    error, script = ask(reply, paid=True)
    assert isinstance(error, AnswerLost), error
    assert len(script.requests) == 1
    assert "<" not in str(error)
    assert error.remedy


def test_a_paid_call_that_gets_no_answer_in_time_is_lost(waits: list[float]) -> None:
    error, script = ask(HANG, paid=True, patience=0.05)
    assert isinstance(error, AnswerLost)
    assert len(script.requests) == 1


def test_an_answer_that_drips_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    monkeypatch.setattr(http, "DEADLINE", 2)

    async def run() -> float:
        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n")
            while True:
                writer.write(b" ")
                await asyncio.sleep(0.02)

        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        began = time.monotonic()
        async with client(url, timeout=0.2) as vendor:
            with pytest.raises(AnswerLost):
                await vendor.request("POST", "x", json={}, paid=True)
        server.close()
        return time.monotonic() - began

    assert asyncio.run(run()) < 60  # the body drips for three minutes


SURELY_NOT = {
    "the vendor's 429": json_answer(429, {"detail": "Slow down"}),
    "a gateway's 429": answer(429, PAGE, kind="text/html"),
    "the vendor's 503": json_answer(503, {"error": {"message": "overloaded"}}),
}


@pytest.mark.parametrize("reply", SURELY_NOT.values(), ids=SURELY_NOT)
def test_a_paid_call_that_was_surely_refused_is_sent_again(reply: Any, waits: list[float]) -> None:
    got, script = ask(reply, reply, json_answer(201, {"id": "x"}), paid=True)
    assert isinstance(got, Answer), got
    assert got.json == {"id": "x"}
    assert len(script.requests) == 3


def test_a_paid_call_is_sent_again_where_nobody_listened(waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    async def run() -> LimnerError:
        async with client(f"http://127.0.0.1:{port}") as vendor:
            with pytest.raises(VendorFailed) as caught:
                await vendor.request("POST", "x", json={}, paid=True)
            return caught.value

    error = asyncio.run(run())
    assert "nobody listens there" in error.message
    assert len(waits) == ACME.attempts - 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (json_answer(401, {"detail": "Unauthenticated"}), AccountRefused),
        (json_answer(402, {"error": {"message": "no credit"}}), OutOfCredit),
        (json_answer(403, {"detail": "no"}), AccountRefused),
        (json_answer(404, {"detail": "The specified training destination does not exist", "status": 404}), NotFound),
        (json_answer(422, {"detail": [{"loc": ["body", "prompt"], "msg": "field required"}]}), VendorRefused),
        (answer(413, PAGE, kind="text/html"), NotFound),
        (answer(307, headers={"location": "https://elsewhere.test/?token=abc"}), VendorFailed),
    ],
)
@pytest.mark.parametrize("paid", [True, False])
def test_a_refusal_is_told_in_one_sentence_with_its_remedy(
    reply: bytes, kind: type[LimnerError], paid: bool, waits: list[float]
) -> None:
    error, script = ask(reply, paid=paid)
    assert type(error) is kind
    assert error.remedy
    assert "<" not in str(error)
    assert "token=abc" not in str(error)
    assert "\n" not in error.message
    assert len(script.requests) == (1 if kind is not VendorFailed else ACME.attempts)


# --- free calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply", [Reset(), Reset(HALF), answer(502, PAGE, kind="text/html"), LOST["truncated JSON"], json_answer(500, {})]
)
def test_a_free_call_is_sent_again(reply: Any, waits: list[float]) -> None:
    got, script = ask(reply, reply, json_answer(200, {"fine": True}), method="GET")
    assert isinstance(got, Answer), got
    assert got.json == {"fine": True}
    assert len(script.requests) == 3
    assert all(0 < wait < 2 for wait in waits)


def test_a_free_call_ends_with_the_reason(waits: list[float]) -> None:
    error, script = ask(answer(502, PAGE, kind="text/html"), method="GET")
    assert isinstance(error, VendorFailed)
    assert str(error) == (
        "A gateway of Acme answered with an error page (status 502). "
        "Try again in a few minutes; the vendor may have a disturbance."
    )
    assert len(script.requests) == ACME.attempts


def test_a_wrong_content_type_does_not_hide_json(waits: list[float]) -> None:
    got, _ = ask(answer(200, b'{"id": 7}', kind="text/plain"), paid=True)
    assert isinstance(got, Answer)
    assert got.json == {"id": 7}


def test_something_else_than_json_is_named(waits: list[float]) -> None:
    error, _ = ask(answer(200, b"\x89PNG....", kind="image/png"), method="GET")
    assert "with image/png where JSON was expected" in str(error)


def test_no_content_and_unexpected_json_are_taken(waits: list[float]) -> None:
    got, _ = ask(answer(204), method="DELETE")
    assert isinstance(got, Answer)
    assert got.status == 204
    got, _ = ask(answer(200, b"words"), method="GET", expect_json=False)
    assert isinstance(got, Answer)
    assert got.content == b"words"


def test_redirects_are_followed_and_the_token_stays_at_its_host(waits: list[float]) -> None:
    async def run() -> tuple[list[str | None], Any]:
        async with scripted(json_answer(200, {"there": True})) as other:
            there = answer(302, headers={"location": other.url + "/moved"})
            here = answer(307, headers={"location": "/v1/renamed"})
            async with scripted(here, there) as first, client(first.url) as vendor:
                got = await vendor.request("GET", "v1/old")
                seen = [request.headers.get("authorization") for request in (*first.requests, *other.requests)]
                return seen, got.json

    seen, got = asyncio.run(run())
    assert seen == [f"Bearer {TOKEN}", f"Bearer {TOKEN}", None]
    assert got == {"there": True}


def test_a_circle_of_redirects_ends(waits: list[float]) -> None:
    error, script = ask(answer(302, headers={"location": "/v1/things"}), method="GET")
    assert isinstance(error, VendorFailed)
    assert len(script.requests) == http.REDIRECTS * ACME.attempts


# --- waiting --------------------------------------------------------------------------------------------------------


def test_what_the_vendor_says_is_waited_for(waits: list[float]) -> None:
    got, _ = ask(json_answer(503, {}, {"retry-after": "7"}), json_answer(200, {}), method="GET")
    assert isinstance(got, Answer)
    assert 7 <= waits[0] < 8


def test_a_rate_limit_is_waited_for_in_the_vendors_words(waits: list[float]) -> None:
    busy = json_answer(429, {"detail": "Request was throttled. Your rate limit resets in ~30s."})
    got, script = ask(busy, json_answer(200, {}), paid=True)
    assert isinstance(got, Answer)
    assert len(script.requests) == 2
    assert 29 <= max(waits) <= 31


def test_many_refusals_for_the_rate_are_not_counted_as_failures(waits: list[float]) -> None:
    busy = json_answer(429, {}, {"retry-after": "1"})
    got, script = ask(*[busy] * 12, json_answer(200, {"done": 1}), paid=True)
    assert isinstance(got, Answer), got
    assert len(script.requests) == 13


def test_a_rate_limit_for_ever_ends(waits: list[float]) -> None:
    error, _ = ask(json_answer(429, {"detail": "no"}), paid=True)
    assert isinstance(error, VendorBusy)
    assert http.PATIENCE - 60 < sum(waits) < 4 * http.PATIENCE


def test_a_wait_that_is_too_long_is_told_instead(waits: list[float]) -> None:
    error, script = ask(json_answer(429, {}, {"retry-after": "1800"}), method="GET")
    assert isinstance(error, VendorBusy)
    assert "30 minutes" in error.message
    assert len(script.requests) == 1


def test_a_long_pause_holds_for_the_next_call_too(waits: list[float]) -> None:
    async def run() -> int:
        async with scripted(json_answer(429, {}, {"retry-after": "1800"})) as script, client(script.url) as vendor:
            for _ in range(3):
                with pytest.raises(VendorBusy, match="minutes"):
                    await vendor.request("GET", "x")
            return len(script.requests)

    assert asyncio.run(run()) == 1


def test_cancelling_passes_through_at_once() -> None:
    async def run() -> float:
        async with scripted(HANG) as script, client(script.url) as vendor:
            task = asyncio.create_task(vendor.request("POST", "x", json={}, paid=True))
            while not script.requests:
                await asyncio.sleep(0.005)
            began = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return time.monotonic() - began

    assert asyncio.run(run()) < 60


# --- bodies, tokens, words ------------------------------------------------------------------------------------------


def test_a_body_that_comes_in_pieces_is_sent_again_only_if_it_can_be_made_again(waits: list[float]) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async def run(content: Any) -> tuple[object, list[bytes]]:
        async with scripted(json_answer(500, {}), json_answer(200, {})) as script, client(script.url) as vendor:
            try:
                got: object = (await vendor.request("PUT", "x", content=content)).status
            except VendorFailed as failure:
                got = failure
            return got, [request.body for request in script.requests]

    got, bodies = asyncio.run(run(pieces))
    assert (got, bodies) == (200, [b"onetwo", b"onetwo"])
    got, bodies = asyncio.run(run(pieces()))
    assert isinstance(got, VendorFailed)
    assert bodies == [b"onetwo"]


def test_files_are_sent_whole_each_time(tmp_path: Any, waits: list[float]) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK" * 5000)

    async def run() -> list[bytes]:
        async with scripted(json_answer(500, {}), json_answer(201, {})) as script, client(script.url) as vendor:
            with (tmp_path / "a.zip").open("rb") as source:
                await vendor.request("POST", "v1/files", files={"content": ("a.zip", source, "application/zip")})
            return [request.body for request in script.requests]

    first, second = asyncio.run(run())
    assert b"PK" * 5000 in first
    assert b"PK" * 5000 in second


def test_the_token_is_in_no_error(waits: list[float]) -> None:
    for reply in (json_answer(401, {"detail": f"Token {TOKEN} is bad"}), json_answer(422, {"detail": [TOKEN]})):
        error, script = ask(reply)
        assert isinstance(error, LimnerError)
        assert script.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in str(error) + repr(error) + str(error.as_problem())
        assert "[secret]" in str(error)


def test_a_client_without_a_token_and_a_call_without_it_send_none(waits: list[float]) -> None:
    _, script = ask(json_answer(200, {}), authorised=False)
    assert "authorization" not in script.requests[0].headers


def test_the_caller_may_describe_a_refusal(waits: list[float]) -> None:
    def describe(got: Answer) -> LimnerError | None:
        return ContentRefused("The prompt was refused.") if "NSFW" in str(got.json) else None

    error, _ = ask(json_answer(422, {"detail": "NSFW"}), paid=True, describe=describe)
    assert isinstance(error, ContentRefused)
    error, _ = ask(json_answer(422, {"detail": "odd"}), paid=True, describe=describe)
    assert isinstance(error, VendorRefused)


def test_an_address_that_is_none_is_told(waits: list[float]) -> None:
    async def run(url: str) -> LimnerError:
        async with client(url) as vendor:
            with pytest.raises(LimnerError) as caught:
                await vendor.request("GET", "x")
            return caught.value

    for url in ("http://[broken", "gopher://old.test", "http://"):
        assert asyncio.run(run(url)).remedy


def test_one_client_serves_many_tasks(waits: list[float]) -> None:
    async def run() -> int:
        async with scripted(json_answer(200, {"n": 1})) as script, client(script.url) as vendor:
            got = await asyncio.gather(*(vendor.request("GET", f"things/{n}") for n in range(200)))
            assert all(one.json == {"n": 1} for one in got)
            return len(script.requests)

    assert asyncio.run(run()) == 200


def test_pause_may_be_any_coroutine(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def wait(seconds: float) -> Awaitable[None]:
        seen.append(seconds)
        return asyncio.sleep(0)

    checked: Callable[[float], Awaitable[None]] = wait
    monkeypatch.setattr(http, "pause", checked)
    ask(json_answer(500, {}), json_answer(200, {}), method="GET")
    assert len(seen) == 1
