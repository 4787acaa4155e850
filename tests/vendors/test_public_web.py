"""Fetching by address: taken up where it broke off, whole or not at all, and the token goes to its own place only."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from limner.errors import AccountRefused, NotFound, StorageFailed, VendorBusy, VendorFailed
from limner.vendors.credentials import Secret
from limner.vendors.public_web import PublicWeb, origin_of

DATA = bytes(range(256)) * 40
TOKEN = "hf_planted_token_of_ann"


class Site:
    """A server whose answers a test writes; ``asked`` are the headers of each request."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.answer: Callable[[BaseHTTPRequestHandler, int], None] = lambda handler, number: whole(handler)
        self.url = ""


def whole(handler: BaseHTTPRequestHandler, begin: int = 0, *, cut: int = 0, etag: str = '"one"') -> None:
    handler.send_response(206 if begin else 200)
    if begin:
        handler.send_header("content-range", f"bytes {begin}-{len(DATA) - 1}/{len(DATA)}")
    handler.send_header("content-length", str(len(DATA) - begin))
    handler.send_header("etag", etag)
    handler.end_headers()
    handler.wfile.write(DATA[begin : cut or len(DATA)])


def status(handler: BaseHTTPRequestHandler, code: int, **headers: str) -> None:
    handler.send_response(code)
    for name, value in {"content-length": "0", **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append({name.lower(): value for name, value in self.headers.items()})
            site.answer(self, len(site.asked))

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("limner.vendors.public_web.PAUSE", lambda seconds: None)
    with serving() as made:
        yield made


def test_a_download_is_taken_up_where_it_broke_off(site: Site, tmp_path: Path) -> None:
    site.answer = lambda handler, number: whole(handler, cut=4000) if number == 1 else whole(handler, 4000)
    digest = hashlib.sha256(DATA).hexdigest()
    path = PublicWeb().download(f"{site.url}/a", tmp_path / "a", most=10**6, sha256=digest)
    assert path.read_bytes() == DATA
    assert [(one.get("range"), one.get("if-range")) for one in site.asked] == [(None, None), ("bytes=4000-", '"one"')]


def test_a_file_that_changed_meanwhile_is_begun_again(site: Site, tmp_path: Path) -> None:
    site.answer = lambda handler, number: whole(handler, cut=4000) if number == 1 else whole(handler, etag='"two"')
    assert PublicWeb().download(f"{site.url}/a", tmp_path / "a", most=10**6).read_bytes() == DATA


def test_what_never_comes_whole_leaves_nothing(site: Site, tmp_path: Path) -> None:
    site.answer = lambda handler, _: whole(handler, cut=100)
    with pytest.raises(VendorFailed, match="cannot be read"):
        PublicWeb().download(f"{site.url}/a", tmp_path / "a", most=10**6)
    site.answer = lambda handler, _: whole(handler)
    with pytest.raises(StorageFailed, match="digest"):
        PublicWeb().download(f"{site.url}/a", tmp_path / "a", most=10**6, sha256="0" * 64)
    with pytest.raises(StorageFailed, match="larger"):
        PublicWeb().download(f"{site.url}/a", tmp_path / "a", most=1000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "error", "times"),
    [(404, NotFound, 1), (410, NotFound, 1), (401, AccountRefused, 1), (403, AccountRefused, 1), (429, VendorBusy, 5),
     (503, VendorBusy, 5), (500, VendorFailed, 5), (418, VendorFailed, 1)],
)  # fmt: skip
def test_refusals(site: Site, code: int, error: type[Exception], times: int) -> None:
    site.answer = lambda handler, _: status(handler, code)
    with pytest.raises(error) as raised:
        PublicWeb().start(f"{site.url}/a?signature=abc", 10)
    assert len(site.asked) == times
    assert raised.value.remedy  # type: ignore[attr-defined]


def test_a_long_wait_is_told_and_not_kept(site: Site) -> None:
    site.answer = lambda handler, _: status(handler, 429, retry_after="4000")
    with pytest.raises(VendorBusy):
        PublicWeb().start(f"{site.url}/a", 10)
    assert len(site.asked) == 1


def test_the_token_goes_to_its_own_place_only(site: Site) -> None:
    with serving() as elsewhere:
        web = PublicWeb({origin_of(site.url): Secret(TOKEN)})
        site.answer = lambda handler, _: status(handler, 302, location=f"{elsewhere.url}/a")
        assert web.start(f"{site.url}/a", 10).data == DATA[:10]
        assert site.asked[0]["authorization"] == f"Bearer {TOKEN}"
        assert "authorization" not in elsewhere.asked[0]
        elsewhere.answer = lambda handler, _: status(handler, 302, location=f"{site.url}/a")
        site.answer = lambda handler, _: whole(handler)
        web.start(f"{elsewhere.url}/a", 10)
        assert "authorization" not in site.asked[-1]


def test_redirects_end(site: Site) -> None:
    site.answer = lambda handler, _: status(handler, 302, location=f"{site.url}/a")
    with pytest.raises(VendorFailed, match="without end"):
        PublicWeb().start(f"{site.url}/a", 10)
    assert len(site.asked) == 8
