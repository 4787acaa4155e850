"""Fetching by address: taken up where it broke off, whole or not at all, and the token goes to its own place only."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from limner.errors import AccountRefused, InputRefused, NotFound, StorageFailed, VendorBusy, VendorFailed
from limner.vendors.http import public_web
from limner.vendors.http.public_web import PublicWeb, origin_of
from limner.vendors.secrets.tokens import Secret

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
    monkeypatch.setattr("limner.vendors.http.public_web.PAUSE", lambda seconds: None)
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


# --- servers that hold a line, or answer oddly ----------------------------------------------------------------------


def dripping(until: threading.Event) -> Callable[[BaseHTTPRequestHandler, int], None]:
    """An answer of which a byte comes now and then, for as long as the test lasts."""

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "100000000")
        handler.end_headers()
        with suppress(OSError):
            while not until.wait(0.02):
                handler.wfile.write(b"x")
                handler.wfile.flush()

    return answer


@pytest.fixture
def drip(site: Site) -> Iterator[Site]:
    over = threading.Event()
    site.answer = dripping(over)
    yield site
    over.set()


def test_the_start_of_a_file_ends_however_slowly_its_bytes_come(drip: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_web, "START_SECONDS", 0.3)
    with pytest.raises(VendorFailed, match="too slow"):
        PublicWeb().start(f"{drip.url}/a", 10**6)
    assert len(drip.asked) == 1  # the time is over for all attempts together


def test_a_head_that_never_ends_is_not_waited_for(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        with suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
            while not over.wait(0.02):
                handler.wfile.write(b"x")

    site.answer = answer
    monkeypatch.setattr(public_web, "HEAD_SECONDS", 0.1)
    with pytest.raises(VendorFailed, match="too slow"):
        PublicWeb().download(f"{site.url}/a", tmp_path / "a", most=10**9)
    over.set()
    assert len(site.asked) == 5


def test_a_download_that_drips_is_given_up(drip: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_web, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(VendorFailed, match="too slow"):
        PublicWeb().download(f"{drip.url}/a", tmp_path / "a", most=10**9)
    assert len(drip.asked) == 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "location", ["https://[", "https://a.example/\x7f", "https://\u2603.example/", "http://a:99999/"]
)
def test_a_redirect_to_what_is_no_address_is_told(site: Site, tmp_path: Path, location: str) -> None:
    site.answer = lambda handler, _: status(handler, 302, location=location.encode().decode("latin-1"))
    with pytest.raises(VendorFailed, match="no address"):
        PublicWeb().start(f"{site.url}/a", 10)
    with pytest.raises(VendorFailed, match="no address"):
        PublicWeb().download(f"{site.url}/a", tmp_path / "a", most=10**6)


@pytest.mark.parametrize(
    "url", ["https://[", "https://a.example/\x7f", "https://\u2603.example/", "https://a:99999/", "https:///x"]
)
def test_what_is_no_address_is_told(url: str, tmp_path: Path) -> None:
    web = PublicWeb()
    for ask in (
        lambda: web.start(url, 10),
        lambda: web.download(url, tmp_path / "a", most=10),
        lambda: web.check(url),
        lambda: asyncio.run(web.post(url, b"", {}, seconds=1)),
    ):
        with pytest.raises(InputRefused, match="no address"):
            ask()


@pytest.mark.parametrize("digits", [16, 31, 5000])
def test_a_size_that_no_file_has_is_told(site: Site, tmp_path: Path, digits: int) -> None:
    site.answer = lambda handler, _: status(handler, 206, content_range=f"bytes 0-9/{'1' * digits}")
    with pytest.raises(VendorFailed, match="a size that no file has"):
        PublicWeb().start(f"{site.url}/a", 10)
    with pytest.raises(VendorFailed, match="a size that no file has"):
        PublicWeb().download(f"{site.url}/a", tmp_path / "a", most=10**9)


def test_what_is_said_to_be_too_large_is_not_begun(site: Site) -> None:
    site.answer = lambda handler, _: status(handler, 206, content_range=f"bytes 0-9/{9 * 10**14}")
    with pytest.raises(StorageFailed, match="larger"):
        PublicWeb().start(f"{site.url}/a", 10, most=10**9)


@pytest.mark.parametrize("host", ["b\u00fccher.example", "xn--bcher-kva.example"])
def test_an_international_name_is_asked_as_dns_writes_it(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(name: str, *given: object, **options: object) -> object:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 443))]

    monkeypatch.setattr(public_web.socket, "getaddrinfo", answer)
    headers: dict[str, str] = {}
    target, extensions = PublicWeb()._target(f"https://{host}:8443/\u00fc", False, headers)
    assert (asked, headers["host"]) == (["xn--bcher-kva.example"], "xn--bcher-kva.example:8443")
    assert (target.host, extensions) == ("1.1.1.1", {"sni_hostname": "xn--bcher-kva.example"})


# --- a download that another process goes on with -------------------------------------------------------------------


class Stop(Exception):
    """What a caller raises to end a download."""


def stopped_at(count: int) -> Callable[[int, int], None]:
    def told(have: int, size: int) -> None:
        if have >= count:
            raise Stop

    return told


def test_what_is_kept_is_gone_on_with_by_a_later_call(site: Site, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    site.answer = lambda handler, number: whole(handler, cut=4000) if number == 1 else whole(handler, 4000)
    with pytest.raises(Stop):
        PublicWeb().download(f"{site.url}/a", tmp_path / "a", most=10**6, kept=True, told=stopped_at(4000))
    got = PublicWeb().download(
        f"{site.url}/a", tmp_path / "a", most=10**6, kept=True, told=lambda *now: heard.append(now)
    )
    assert got.read_bytes() == DATA
    assert [one.get("range") for one in site.asked] == [None, "bytes=4000-"]
    assert (heard[0], heard[-1]) == ((4000, len(DATA)), (len(DATA), len(DATA)))
    assert PublicWeb().download(f"{site.url}/a", tmp_path / "a", most=10**6, kept=True).read_bytes() == DATA
    assert len(site.asked) == 2  # it is whole: nothing is asked


def test_what_is_kept_of_another_address_or_without_a_mark_is_begun_again(site: Site, tmp_path: Path) -> None:
    web = PublicWeb()
    for other, etag in (("b", '"one"'), ("a", 'W/"one"')):
        site.answer = lambda handler, number, etag=etag: whole(handler, cut=4000, etag=etag)  # type: ignore[misc]
        with pytest.raises(Stop):
            web.download(f"{site.url}/a", tmp_path / "a", most=10**6, kept=True, told=stopped_at(4000))
        site.answer = lambda handler, number: whole(handler)
        web.download(f"{site.url}/{other}", tmp_path / "a", most=10**6, kept=True)
        assert "range" not in site.asked[-1]
        assert (tmp_path / "a").read_bytes() == DATA
        (tmp_path / "a").unlink()


def test_a_server_without_more_of_a_file_is_asked_for_all_of_it(site: Site, tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        if "range" in site.asked[-1]:
            status(handler, 416)
            return
        handler.send_response(200)
        handler.send_header("etag", '"one"')
        handler.end_headers()
        handler.wfile.write(DATA)

    site.answer = answer
    for _ in range(2):
        got = PublicWeb().download(f"{site.url}/a", tmp_path / "a", most=10**6, kept=True)
        assert got.read_bytes() == DATA
    assert len(site.asked) == 3
