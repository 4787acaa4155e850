"""Answers that are meant to harm, over real sockets: they end in bytes and in time, and are told in one sentence."""

from __future__ import annotations

import asyncio
import gzip
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from limner.errors import AnswerLost, LimnerError, VendorBusy, VendorFailed, VendorRefused
from limner.settings import Settings
from limner.vendors.http import client as http
from limner.vendors.http import decompression_limit as swelling
from limner.vendors.http import download as downloading
from limner.vendors.http import public_web
from limner.vendors.http.client import VendorClient
from limner.vendors.http.public_web import PublicWeb
from limner.vendors.huggingface import hub as huggingface
from limner.vendors.huggingface.hub import HubAccount
from limner.vendors.secrets.redaction import Secret
from limner.vendors.together import client as together
from limner.vendors.vendor import Vendor
from tests.waiting import PATIENCE

Talk = Callable[[asyncio.StreamWriter], Awaitable[None]]
ACME = Vendor("acme", "Acme", rate=1000.0, burst=1000)
MOST = 3_000_000
"""What an answer may have here, instead of hundreds of megabytes."""


def zeros(count: int) -> bytes:
    return bytes(count)


PACKED = gzip.compress(zeros(20 * 2**20), 9)


def whole(body: bytes, *headers: str, kind: str = "application/json") -> Talk:
    async def talk(writer: asyncio.StreamWriter) -> None:
        lines = ["HTTP/1.1 200 OK", f"content-type: {kind}", f"content-length: {len(body)}", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return talk


def endless(start: bytes, piece: bytes, pause: float = 0.0) -> Talk:
    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return talk


JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
HARMFUL: dict[str, Talk] = {
    "a gzip bomb": whole(PACKED, "content-encoding: gzip"),
    "a deflate bomb": whole(zlib.compress(zeros(20 * 2**20), 9), "content-encoding: deflate"),
    "a bomb in a bomb": whole(gzip.compress(PACKED, 9), "content-encoding: gzip, gzip"),
    "five bombs deep": whole(PACKED, "content-encoding: gzip, gzip, gzip, gzip, gzip"),
    "a hundred codings": whole(b"{}", "content-encoding: " + ", ".join(["gzip"] * 100)),
    "gzip that is none": whole(b"\x1f\x8b" + b"\xff" * 100, "content-encoding: gzip"),
    "br that is none": whole(b"\xff" * 100, "content-encoding: br"),
    "zstd that is none": whole(b"\x28\xb5\x2f\xfd" + b"\xff" * 100, "content-encoding: zstd"),
    "a coding nobody knows": whole(b"\xff" * 100, "content-encoding: rot13"),
    "a body without end": endless(JSON + b"\r\n", b" " * 65_536),
    "chunks without end": endless(JSON + b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65_536 + b"\r\n"),
    "a chunk of 10 to the 40": endless(
        JSON + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n", b" " * 65_536
    ),
    "headers without end": endless(JSON, b"x-more: and more\r\n" * 1_000),
    "a header without end": endless(JSON + b"x-more: ", b"a" * 65_536),
    "a status line without end": endless(b"HTTP/1.1 200 ", b"a" * 65_536),
    "informational heads without end": endless(b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 100),
    "a body that drips": endless(JSON + b"content-length: 999999\r\n\r\n", b" ", 0.02),
    "a head that drips": endless(JSON, b"a", 0.02),
    "a length of 10 to the 40": whole(b"{}", "content-length: " + "9" * 40),
    "JSON nested deep": whole(b"[" * 200_000),
    "a number of 100,000 digits": whole(b'{"a": ' + b"9" * 100_000 + b"}"),
    "half a character": whole(b'{"error": "\\ud800"}'),
}


@asynccontextmanager
async def saying(talk: Talk) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await talk(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@contextmanager
def saying_elsewhere(talk: Talk) -> Iterator[str]:
    """The same in a thread, for clients that are not asynchronous."""
    loop, ready, told = asyncio.new_event_loop(), threading.Event(), []
    stop = asyncio.Event()

    async def run() -> None:
        async with saying(talk) as url:
            told.append(url)
            ready.set()
            await stop.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield told[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    """Bounds that are reached in milliseconds."""
    monkeypatch.setattr(http, "MOST_BYTES", MOST)
    monkeypatch.setattr(http, "DEADLINE", 2)
    monkeypatch.setattr(swelling, "FREE", MOST // 3)
    monkeypatch.setattr(swelling, "MOST_READ", MOST)
    monkeypatch.setattr(swelling, "MOST_FILE", MOST)
    monkeypatch.setattr(swelling, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(downloading, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(downloading, "TRIES", 1)
    monkeypatch.setattr(together, "MOST_PICTURE_BYTES", MOST)
    monkeypatch.setattr(together, "PICTURE_SECONDS", 0.4)
    monkeypatch.setattr(together, "LOOKS", ())
    monkeypatch.setattr(public_web, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(public_web, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(public_web, "ATTEMPTS", 1)
    monkeypatch.setattr(public_web, "PAUSE", lambda _: None)
    monkeypatch.setattr(huggingface, "ATTEMPTS", 1)
    monkeypatch.setattr(huggingface, "_TIMEOUT", (1.0, 0.5, 0.5))


def told(failure: LimnerError) -> None:
    assert failure.message and failure.remedy and len(failure.message) < 500
    assert failure.message.isprintable()


UNREAD = ("half a character",)
"""What is answered is harmless: it is read, and means nothing."""


@pytest.mark.parametrize("paid", [False, True], ids=["free", "paid"])
@pytest.mark.parametrize(("name", "talk"), HARMFUL.items(), ids=HARMFUL)
def test_a_vendors_answer_is_bounded(name: str, talk: Talk, paid: bool) -> None:
    async def run() -> Any:
        async with (
            saying(talk) as url,
            VendorClient(ACME, url, lambda: Secret("t"), timeout=0.2, attempts=1) as client,
        ):
            return await client.request("POST", "v1", json={}, paid=paid)

    if name in UNREAD:
        assert asyncio.run(run()).status == 200
        return
    with pytest.raises((AnswerLost,) if paid else (VendorFailed, VendorRefused, VendorBusy)) as failed:
        asyncio.run(run())
    told(failed.value)


def test_the_answer_to_a_large_body_ends_too() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"

    async def run() -> Any:
        async with saying(HARMFUL["a body that drips"]) as url, VendorClient(ACME, url, None, timeout=0.2) as client:
            return await client.request("PUT", "v1", content=pieces())

    with pytest.raises(VendorFailed) as failed:
        asyncio.run(run())
    told(failed.value)


def test_a_bomb_is_asked_for_once(waits: list[float]) -> None:
    asked = []

    async def talk(writer: asyncio.StreamWriter) -> None:
        asked.append(1)
        await HARMFUL["a gzip bomb"](writer)

    async def run() -> Any:
        async with saying(talk) as url, VendorClient(ACME, url, None, timeout=2.0) as client:
            return await client.request("GET", "v1")

    with pytest.raises(VendorRefused, match="far too much"):
        asyncio.run(run())
    assert len(asked) == 1


FILES = {
    name: talk for name, talk in HARMFUL.items() if "JSON" not in name and name not in UNREAD and "digits" not in name
}


@pytest.mark.parametrize(("name", "talk"), FILES.items(), ids=FILES)
def test_a_download_is_bounded(name: str, talk: Talk, tmp_path: Path) -> None:
    async def run() -> Any:
        async with saying(talk) as url, VendorClient(ACME, url, None, timeout=0.4) as client:
            return await client.download(url, tmp_path / "w.bin", most=MOST, sha256="0" * 64)

    with pytest.raises(LimnerError) as failed:
        asyncio.run(run())
    told(failed.value)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * MOST


@pytest.mark.parametrize(("name", "talk"), FILES.items(), ids=FILES)
def test_an_address_of_a_user_is_bounded(name: str, talk: Talk, tmp_path: Path) -> None:
    with saying_elsewhere(talk) as url, pytest.raises(LimnerError) as failed:
        PublicWeb().download(f"{url}/w.safetensors", tmp_path / "w.bin", most=MOST, sha256="0" * 64)
    told(failed.value)
    assert not list(tmp_path.iterdir())


BEYOND_US = ("a head that drips", "informational heads without end")
"""huggingface_hub waits for each byte of a head anew, and has no place to say how long in all."""
OF_THE_HUB = {name: talk for name, talk in HARMFUL.items() if name not in BEYOND_US}


@pytest.mark.parametrize(("name", "talk"), OF_THE_HUB.items(), ids=OF_THE_HUB)
def test_the_hubs_own_client_is_bounded(name: str, talk: Talk, tmp_path: Path) -> None:
    with saying_elsewhere(talk) as url:
        account = HubAccount(Settings(home=tmp_path, huggingface_url=url), anonymous=True)
        with pytest.raises(LimnerError) as failed:
            account.ask(account.api.model_info, "anna/rex")
    told(failed.value)


@pytest.mark.parametrize("name", ["a gzip bomb", "a body without end", "a body that drips", "a head that drips"])
def test_a_picture_is_bounded(name: str) -> None:
    async def run() -> Any:
        async with saying(HARMFUL[name]) as url, together.TogetherClient(url, lambda: Secret("t")) as client:
            return await client.fetch(together.Given("x", "model", url=url))

    with pytest.raises(LimnerError) as failed:
        asyncio.run(run())
    told(failed.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_end(status: int, tmp_path: Path) -> None:
    count = [0]

    async def talk(writer: asyncio.StreamWriter) -> None:
        count[0] += 1
        head = f"HTTP/1.1 {status} Moved\r\nlocation: /{count[0]}{'x' * 2_000}\r\ncontent-length: 0\r\n"
        writer.write(f"{head}connection: close\r\n\r\n".encode())

    async def run() -> None:
        async with saying(talk) as url, VendorClient(ACME, url, None, timeout=1.0, attempts=1) as client:
            with pytest.raises(LimnerError) as failed:
                await client.request("GET", "v1")
            told(failed.value)
            with pytest.raises(LimnerError) as failed:
                await client.download(url, tmp_path / "w.bin")
            told(failed.value)

    asyncio.run(run())
    with saying_elsewhere(talk) as url, pytest.raises(LimnerError) as failed:
        PublicWeb().download(url, tmp_path / "w.bin", most=MOST)
    told(failed.value)
    assert count[0] < 60
