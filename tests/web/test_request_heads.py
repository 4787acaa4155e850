"""Heads of requests over a real socket: a long one is served or refused, an endless one never kept."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from limner.http_server.request_heads import LONGEST_HEAD, BoundedHeads
from tests.waiting import PATIENCE


async def told_back(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(scope['headers'])} headers, {len(body)} bytes")(scope, receive, send)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(told_back, http=BoundedHeads, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()
    server.should_exit = True
    thread.join()
    listening.close()


def asked(address: tuple[str, int], *pieces: bytes) -> bytes:
    """The first answer to what is sent, as far as the server takes it."""
    with socket.create_connection(address, timeout=PATIENCE) as line:
        try:
            for piece in pieces:
                line.sendall(piece)
        except ConnectionError:
            pass
        answer = b""
        try:
            while not answer.endswith((b" bytes", b"too long.")):
                part = line.recv(65_536)
                if not part:
                    break
                answer += part
        except ConnectionError:
            pass
        return answer


def test_a_usual_request_is_answered(address: tuple[str, int]) -> None:
    assert asked(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"1 headers, 0 bytes")


def test_a_body_may_be_longer_than_a_head(address: tuple[str, int]) -> None:
    size = 20 * LONGEST_HEAD
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    assert asked(address, head, b"x" * size).endswith(b"2 headers, %d bytes" % size)


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", b"GET /"], ids=["header", "path"])
def test_a_head_that_does_not_end_is_cut_off(address: tuple[str, int], start: bytes) -> None:
    answer = asked(address, start, *[b"a" * 65_536] * 64)
    # A reset may overtake the words; what counts is that nobody is served and the line is cut.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


def test_many_small_headers_are_cut_off_too(address: tuple[str, int]) -> None:
    answer = asked(address, b"GET / HTTP/1.1\r\nHost: x\r\n", *[b"X-A: 1\r\n" * 4_000] * 64, b"\r\n")
    assert b"200 OK" not in answer


def test_a_body_that_hides_an_endless_trailer_is_cut_off(address: tuple[str, int]) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Trailer: "
    assert asked(address, head, *[b"a" * 65_536] * 64, b"\r\n\r\n") == b""
