"""What no browser of a user would send, sent to the real server: foreign hosts, and forms of foreign pages."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from limner.settings import Settings
from limner.studio import Studio

from .server import Server


class Caller:
    """Sends requests as they are written, with one connection for all."""

    def __init__(self, server: Server) -> None:
        self.host = urlsplit(server.url).netloc
        self._connection = http.client.HTTPConnection(self.host, timeout=60)
        self.cookie = ""

    def close(self) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, bytes, dict[str, str]]:
        self._connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        given = {"Host": self.host, **({"Cookie": self.cookie} if self.cookie else {}), **headers}
        if body:
            given = {"Content-Type": "application/x-www-form-urlencoded", **given}
        for name, value in given.items():
            self._connection.putheader(name.replace("_", "-"), value)
        self._connection.putheader("Content-Length", str(len(body.encode())))
        self._connection.endheaders(body.encode())
        answer = self._connection.getresponse()
        stream = answer.headers.get_content_type() == "text/event-stream"
        data = b"" if stream else answer.read()
        if stream:
            self._connection.close()
        return answer.status, data, {name.lower(): value for name, value in answer.getheaders()}


def token_of(page: bytes) -> str:
    found = re.search(rb'name="csrf-token" content="([^"]+)"', page)
    assert found
    return found[1].decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("forged") / "home"
    started = Server(home, environment={"LIMNER_START_WORKER": "false"}).start()
    yield started
    started.stop()


@pytest.fixture
def caller(server: Server) -> Iterator[Caller]:
    with closing(Caller(server)) as made:
        yield made


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8712", "169.254.169.254", "127.0.0.1.evil.example", "[::ffff:1.2.3.4]", ""]
)
def test_a_foreign_name_gets_nothing(caller: Caller, host: str) -> None:
    status, data, _ = caller.ask("GET", "/gallery", Host=host)
    assert status in (400, 421) and b"<main" in data and b'name="image"' not in data


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "navigate"},
        {},
    ],
)
@pytest.mark.parametrize("path", ["/demo", "/subjects/new", "/settings/tokens", "/create"])
def test_a_form_of_another_page_does_nothing(
    caller: Caller, server: Server, headers: dict[str, str], path: str
) -> None:
    """The last row has nothing foreign in it but that the token is missing."""
    _, page, given = caller.ask("GET", "/", Sec_Fetch_Dest="document")
    caller.cookie = given["set-cookie"].partition(";")[0]
    fields = "name=Forged&kind=pet" + (f"&csrf_token={token_of(page)}" if headers else "")
    status, _, _ = caller.ask("POST", path, fields, **headers)
    assert status == 403
    with Studio(settings=Settings(home=server.home, start_worker=False)) as studio:
        assert not studio.subjects.all() and not studio.jobs.all(limit=5)


def test_a_picture_that_is_none_is_never_served_as_a_page(caller: Caller, server: Server) -> None:
    """Rows and bytes that no intake would let in, as a restored or damaged home may have them."""
    from ..web.pictures_made import add_subject
    from ..web.pictures_made import keep as keep_blob

    page = b"<!doctype html><script>globalThis.ran=1</script>"
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" onload="globalThis.ran=1"/>'
    with Studio(settings=Settings(home=server.home, start_worker=False)) as studio:
        add_subject(studio, "odd")
        from limner.store.models import PhotoRow

        digests = [keep_blob(studio, page, "text/html"), keep_blob(studio, drawing, "image/svg+xml")]
        with studio._workspace.database.write() as session:
            for digest in digests:
                report = {"source": "a.png", "verdict": "accepted", "findings": []}
                session.add(PhotoRow(subject="odd", digest=digest, width=64, height=48, source="a.png", report=report))
    for digest in digests:
        for query in ("", "?download=1"):
            status, _, headers = caller.ask("GET", f"/subjects/odd/photos/{digest}/picture{query}")
            assert status == 200
            assert headers["content-type"] == "application/octet-stream"
            assert headers["content-disposition"].startswith("attachment")
            assert headers["x-content-type-options"] == "nosniff"
        status, data, headers = caller.ask("GET", f"/subjects/odd/photos/{digest}/thumb")
        assert status < 500 and b"globalThis" not in data
        status, data, _ = caller.ask("GET", "/subjects/odd/photos")
        assert status == 200
    with Studio(settings=Settings(home=server.home, start_worker=False)) as studio:
        studio.erasure.erase("odd")
