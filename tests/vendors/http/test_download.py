"""Downloads over lines that break: whole and right, or not at all, and never the token to another host."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import re
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limner.errors import LimnerError, NotFound, StorageFailed, VendorBusy, VendorFailed
from limner.vendors.http import client as http
from limner.vendors.http import download as downloading
from limner.vendors.http.client import VendorClient
from limner.vendors.secrets.redaction import Secret
from limner.vendors.vendor import Vendor
from tests.vendors.scripted import Request, Reset, Script, answer, scripted

ACME = Vendor("acme", "Acme", rate=1000, burst=1000)
TOKEN = "acme-0123456789-secret"
DATA = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(DATA).hexdigest()
TAG = {"etag": '"v1"'}


class Files:
    """A file server as it should be, which breaks off the first answers after so many bytes."""

    def __init__(
        self, data: bytes = DATA, *, breaks: tuple[int, ...] = (), ranges: bool = True, tag: str = '"v1"'
    ) -> None:
        self.data, self.breaks, self.ranges, self.tag = data, list(breaks), ranges, tag

    def __call__(self, request: Request) -> Any:
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        same = request.headers.get("if-range", self.tag) == self.tag
        if asked and self.ranges and same:
            start = int(asked[1])
            if start >= len(self.data):
                return answer(416, headers={"content-range": f"bytes */{len(self.data)}"})
        part = self.data[start:]
        headers = {"etag": self.tag} if self.tag else {}
        if start:
            headers["content-range"] = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        whole = answer(206 if start else 200, part, headers, kind="application/octet-stream")
        if self.breaks:
            cut = self.breaks.pop(0)
            head = len(whole) - len(part)
            return Reset(whole[: head + min(cut, len(part))], politely=bool(cut % 2))
        return whole


def fetch(into: Path, *replies: Any, path: str = "/f/w.bin?X-Signature=topsecret", **more: Any) -> tuple[Any, Script]:
    async def run() -> tuple[Any, Script]:
        async with scripted(*replies) as script:
            vendor = VendorClient(ACME, script.url, lambda: Secret(TOKEN), timeout=2.0)
            async with vendor:
                try:
                    return await vendor.download(script.url + path, into, **more), script
                except LimnerError as failure:
                    return failure, script

    return asyncio.run(run())


def clean(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_comes_whole(tmp_path: Path, waits: list[float]) -> None:
    into = tmp_path / "new" / "w.bin"
    got, script = fetch(into, Files(), size=len(DATA), sha256=DIGEST.upper())
    assert got == into
    assert into.read_bytes() == DATA
    assert [path.name for path in into.parent.iterdir()] == ["w.bin"]
    assert "authorization" not in script.requests[0].headers


def test_it_goes_on_where_it_broke_off(tmp_path: Path, waits: list[float]) -> None:
    got, script = fetch(tmp_path / "w.bin", Files(breaks=(300_000, 200_001, 0, 1)))
    assert got == tmp_path / "w.bin"
    assert got.read_bytes() == DATA
    starts = [int(request.headers.get("range", "bytes=0-")[6:-1]) for request in script.requests]
    assert len(starts) == 5
    assert starts == sorted(starts)
    assert starts[-1] > 200_000
    assert all(request.headers["if-range"] == '"v1"' for request in script.requests[1:] if "range" in request.headers)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    breaks=st.lists(st.integers(0, 40_000), max_size=5),
    ranges=st.booleans(),
    tag=st.sampled_from(['"v1"', 'W/"weak"', ""]),
    size=st.integers(0, 60_000),
    known=st.booleans(),
)
def test_however_it_breaks_the_file_is_right(
    breaks: list[int], ranges: bool, tag: str, size: int, known: bool, tmp_path: Path, waits: list[float]
) -> None:
    data = DATA[:size]
    into = tmp_path / "w.bin"
    into.unlink(missing_ok=True)
    digest = hashlib.sha256(data).hexdigest() if known else ""
    got, _ = fetch(into, Files(data, breaks=tuple(breaks), ranges=ranges, tag=tag), sha256=digest)
    assert got == into, got
    assert into.read_bytes() == data


def test_a_file_that_changes_while_it_is_fetched_is_fetched_anew(tmp_path: Path, waits: list[float]) -> None:
    other = bytes(reversed(DATA))
    old, new = Files(breaks=(400_000,)), Files(other, tag='"v2"')
    got, script = fetch(tmp_path / "w.bin", old, new)
    assert got.read_bytes() == other
    assert script.requests[1].headers["if-range"] == '"v1"'


def test_parts_of_two_versions_do_not_make_one_file(tmp_path: Path, waits: list[float]) -> None:
    # Without a tag only the digest can tell.
    first = Files(bytes(len(DATA)), breaks=(400_000,), tag="")
    got, script = fetch(tmp_path / "w.bin", first, Files(tag=""), sha256=DIGEST)
    assert got.read_bytes() == DATA
    assert len(script.requests) == 3


def test_a_wrong_digest_is_refused_and_leaves_nothing(tmp_path: Path, waits: list[float]) -> None:
    error, script = fetch(tmp_path / "w.bin", Files(), sha256="0" * 64)
    assert isinstance(error, VendorFailed)
    assert "digest" in error.message
    assert clean(tmp_path)
    assert len(script.requests) == 1


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_a_wrong_size_is_refused(size: int, tmp_path: Path, waits: list[float]) -> None:
    error, _ = fetch(tmp_path / "w.bin", Files(), size=size)
    assert isinstance(error, VendorFailed)
    assert str(size) in error.message
    assert clean(tmp_path)


def test_a_cut_is_noticed_without_a_length_where_the_size_is_known(tmp_path: Path, waits: list[float]) -> None:
    short = answer(200, DATA[:1000], TAG, length=None, kind="application/octet-stream")
    error, script = fetch(tmp_path / "w.bin", short, size=len(DATA))
    assert isinstance(error, VendorFailed)
    assert "breaks off after" in error.message
    assert clean(tmp_path)
    assert len(script.requests) > downloading.TRIES
    got, _ = fetch(tmp_path / "w.bin", short, Files(), size=len(DATA))
    assert got.read_bytes() == DATA


def test_more_than_expected_is_refused(tmp_path: Path, waits: list[float]) -> None:
    endless = answer(200, DATA, length=None, kind="application/octet-stream")
    error, _ = fetch(tmp_path / "w.bin", endless, size=1000)
    assert isinstance(error, VendorFailed)
    for reply in (endless, Files()):
        error, _ = fetch(tmp_path / "w.bin", reply, most=5000)
        assert "larger than" in str(error)
    assert clean(tmp_path)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_an_expired_address_is_told(status: int, tmp_path: Path, waits: list[float]) -> None:
    error, script = fetch(tmp_path / "w.bin", answer(status, b"<Error>ExpiredToken</Error>", kind="application/xml"))
    assert isinstance(error, NotFound)
    assert "expire" in error.message
    assert "again" in error.remedy
    assert "topsecret" not in str(error)
    assert len(script.requests) == 1


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_no_file(kind: str, tmp_path: Path, waits: list[float]) -> None:
    page = answer(200, b"\n<!doctype HTML><html><body>Sign in</body></html>", kind=kind)
    error, _ = fetch(tmp_path / "w.bin", page)
    assert isinstance(error, VendorFailed)
    assert "web page" in error.message
    assert clean(tmp_path)
    got, _ = fetch(tmp_path / "w.bin", page, Files())
    assert got.read_bytes() == DATA


def test_a_busy_server_is_waited_for(tmp_path: Path, waits: list[float]) -> None:
    got, _ = fetch(tmp_path / "w.bin", answer(503, headers={"retry-after": "9"}), answer(429), answer(500), Files())
    assert got.read_bytes() == DATA
    assert waits[0] >= 9
    error, _ = fetch(tmp_path / "w.bin", answer(503))
    assert isinstance(error, VendorBusy)
    error, _ = fetch(tmp_path / "w.bin", answer(503, headers={"retry-after": "4000"}))
    assert isinstance(error, VendorBusy)


def test_a_server_that_sends_another_part_is_not_believed(tmp_path: Path, waits: list[float]) -> None:
    odd = answer(206, DATA[:10], {"content-range": f"bytes 0-9/{len(DATA)}"}, kind="application/octet-stream")
    broken = Files(breaks=(400_001,))
    got, script = fetch(tmp_path / "w.bin", broken, odd, Files())
    assert got.read_bytes() == DATA
    assert "range" not in script.requests[2].headers


def test_compression_that_was_not_asked_for_is_undone(tmp_path: Path, waits: list[float]) -> None:
    import gzip

    packed = answer(200, gzip.compress(DATA), {"content-encoding": "gzip", **TAG}, kind="application/octet-stream")
    got, script = fetch(tmp_path / "w.bin", packed, sha256=DIGEST, size=len(DATA))
    assert got.read_bytes() == DATA
    assert script.requests[0].headers["accept-encoding"] == "identity"


def test_the_token_goes_to_the_vendors_host_only(tmp_path: Path, waits: list[float]) -> None:
    async def run() -> list[list[str | None]]:
        seen: list[list[str | None]] = []
        async with scripted(Files()) as store:
            redirect = answer(302, headers={"location": store.url + "/real"})
            async with scripted(redirect) as api, VendorClient(ACME, api.url, lambda: Secret(TOKEN)) as vendor:
                await vendor.download(api.url + "/f", tmp_path / "a", authorised=True)
                seen.append([r.headers.get("authorization") for r in (*api.requests, *store.requests)])
                store.requests.clear()
                await vendor.download(store.url + "/f", tmp_path / "b", authorised=True)
                seen.append([r.headers.get("authorization") for r in store.requests])
                api.requests.clear()
                await vendor.download(api.url + "/f", tmp_path / "c")
                seen.append([r.headers.get("authorization") for r in api.requests])
        return seen

    assert asyncio.run(run()) == [[f"Bearer {TOKEN}", None], [None], [None]]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[bad", "/f/w.bin"])
def test_redirects_to_nowhere_end(location: str, tmp_path: Path, waits: list[float]) -> None:
    error, _ = fetch(tmp_path / "w.bin", answer(302, headers={"location": location}))
    assert isinstance(error, VendorFailed)
    assert error.remedy
    assert clean(tmp_path)


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(downloading._Progress, "write", full)
        error, _ = fetch(tmp_path / "w.bin", Files())
    assert isinstance(error, StorageFailed)
    assert "Free some space" in error.remedy
    assert clean(tmp_path)

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 10))
    error, _ = fetch(tmp_path / "w.bin", Files())
    assert isinstance(error, StorageFailed)
    assert clean(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, waits: list[float]) -> None:
    (tmp_path / "file").write_text("x")
    error, _ = fetch(tmp_path / "file" / "w.bin", Files())
    assert isinstance(error, StorageFailed)


def test_what_an_earlier_run_left_is_used_where_the_digest_proves_it(tmp_path: Path, waits: list[float]) -> None:
    left = tmp_path / "w.bin.partial"
    left.write_bytes(DATA[:500_000])
    got, script = fetch(tmp_path / "w.bin", Files(), sha256=DIGEST)
    assert got.read_bytes() == DATA
    assert script.requests[0].headers["range"] == "bytes=500000-"
    # Something else was left there: once more from the start.
    left.write_bytes(b"z" * 500_000)
    got, script = fetch(tmp_path / "w.bin", Files(), sha256=DIGEST)
    assert got.read_bytes() == DATA
    assert len(script.requests) == 2
    # All of it was left.
    left.write_bytes(DATA)
    got, _ = fetch(tmp_path / "w.bin", Files(), sha256=DIGEST)
    assert got.read_bytes() == DATA
    # No digest, no trust.
    left.write_bytes(b"z" * 10)
    got, script = fetch(tmp_path / "w.bin", Files())
    assert got.read_bytes() == DATA
    assert "range" not in script.requests[0].headers


def test_a_download_that_is_given_up_can_be_taken_up_later(tmp_path: Path, waits: list[float]) -> None:
    error, _ = fetch(tmp_path / "w.bin", Files(breaks=(400_000,)), Reset(), sha256=DIGEST)
    assert isinstance(error, VendorFailed)
    assert not (tmp_path / "w.bin").exists()
    got, script = fetch(tmp_path / "w.bin", Files(), sha256=DIGEST)
    assert got.read_bytes() == DATA
    assert "range" in script.requests[0].headers


def test_cancelling_passes_through_and_leaves_no_half(tmp_path: Path) -> None:
    async def run() -> None:
        slow = Reset(answer(200, DATA[:5000], length=len(DATA), kind="application/octet-stream"))
        begun = asyncio.Event()

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(slow.sent)
            begun.set()
            await asyncio.sleep(60)

        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with VendorClient(ACME, url, None) as vendor:
            task = asyncio.create_task(vendor.download(url + "/f", tmp_path / "w.bin"))
            await begun.wait()
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        server.close()

    asyncio.run(run())
    assert clean(tmp_path)


def test_nobody_there_is_told_without_the_address(tmp_path: Path, waits: list[float]) -> None:
    async def run() -> LimnerError:
        async with VendorClient(ACME, "http://127.0.0.1:9", None) as vendor:
            with pytest.raises(VendorFailed) as caught:
                await vendor.download("http://127.0.0.1:9/f?sig=topsecret", tmp_path / "w.bin")
            return caught.value

    error = asyncio.run(run())
    assert "cannot be reached at 127.0.0.1:9" in error.message
    assert "topsecret" not in str(error)


def test_the_hosts_are_compared_with_their_ports() -> None:
    same = http._same_host
    assert same("https://api.acme.test", "https://api.acme.test:443/x")
    assert not same("https://api.acme.test", "http://api.acme.test/x")
    assert not same("https://api.acme.test", "https://api.acme.test.evil.test/x")
    assert not same("https://api.acme.test", "https://evil.test/?https://api.acme.test")
    assert not same("https://api.acme.test", "https://api.acme.test@evil.test/x")
    assert not same("https://api.acme.test", "https://[bad")
