"""What no browser of a user would send, sent to the real server: foreign hosts and pages, ids that lead elsewhere."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from limner.settings import Settings
from limner.studio import Studio
from limner.web.app import create_app

from ..lora_rows import add_lora
from ..pipeline.photos_kept import keep
from ..web.pictures_made import add_generation, add_sample, png
from .server import Server

PASSWORDS = {"anna": "correct horse battery", "bert": "staple of the meadow"}
EVIL = (
    "../../../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2flimner.db",
    "..%5c..%5cwindows%5cwin.ini",
    "%00",
    "a%00b",
    "%ff%fe",
    "x" * 5_000,
    "-1",
    "99999999999999999999",
    quote("<script>1</script>"),
    quote("' or 1=1 --"),
    "%E2%80%AE%F0%9F%90%B6",
    "~",
    ".",
)


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

    def log_in(self, name: str) -> None:
        _, page, headers = self.ask("GET", "/login", Sec_Fetch_Dest="document")
        self.cookie = headers["set-cookie"].partition(";")[0]
        fields = f"csrf_token={token_of(page)}&name={name}&password={quote(PASSWORDS[name])}"
        status, _, headers = self.ask("POST", "/login", fields)
        assert status == 303
        self.cookie = headers["set-cookie"].partition(";")[0]


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


def routes(settings: Settings) -> list[tuple[str, str]]:
    """Method and path of every route of the app, mounted files left out."""

    def walk(given: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
        for route in given:
            if hasattr(route, "original_router"):
                yield from walk(route.original_router.routes, prefix + route.include_context.prefix)
            else:
                for method in sorted(getattr(route, "methods", None) or ()):
                    yield method, prefix + route.path

    found = {pair for pair in walk(create_app(settings).routes) if pair[0] != "HEAD"}
    return sorted(found)


def test_no_id_of_any_route_leads_anywhere(
    caller: Caller, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    walked = routes(Settings(home=tmp_path_factory.mktemp("other") / "home", start_worker=False))
    named = [(method, path) for method, path in walked if "{" in path]
    assert len(named) > 80
    secret = server.home / "limner.db"
    _, page, headers = caller.ask("GET", "/", Sec_Fetch_Dest="document")
    caller.cookie = headers["set-cookie"].partition(";")[0]
    token = token_of(page)
    wrong = []
    for method, path in named:
        for words in EVIL:
            # Every parameter at once; the length of the request line is the server's own matter.
            filled = re.sub(r"\{[^}]*\}", lambda _, words=words: words, path)
            body = "" if method == "GET" else "x=1"
            status, data, _ = caller.ask(method, filled, body, X_CSRF_Token=token)
            if status >= 500 or status in (200, 201, 202, 204) or b"root:x:0" in data or b"SQLite format" in data:
                if status in (200, 204) and harmless(method, path, words):
                    continue
                wrong.append((method, path, words[:40], status))
    assert not wrong, "\n".join(map(str, wrong[:40]))
    assert "Traceback" not in server.log, server.log[-3000:]
    assert secret.parent.is_dir()


def harmless(method: str, path: str, words: str) -> bool:
    """What is answered well without an id: "." and ".." are taken as plain words, and the numbers may be sizes."""
    del words
    return method == "OPTIONS" or path.endswith(("/{path:path}",))


def test_other_peoples_ids_are_not_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("owners") / "home"
    with Studio(settings=Settings(home=home, start_worker=False)) as studio:
        for name, password in PASSWORDS.items():
            studio.members.add(name, password)
        annas = studio.owned_by("anna")
        annas.add_subject("secret", name="Secret", kind="pet", class_word="dog", trigger="secret_dog")
        digest = keep(annas, "secret", 1)
        for number in range(2, 8):
            keep(annas, "secret", number, 512, 512)
        lora = add_lora(annas, "secret")
        (image,) = add_generation(annas, "annas0001", subjects=["secret"], loras=[lora], owner="anna")
        job = annas.train("secret")
        add_sample(annas, "secret", job.target, png(3), step=10)
        batch = annas.uploads.open("secret").id
        upload = annas.uploads.add("secret", batch, "a.jpg", 10).id
        dataset = annas.training(job.target).dataset
        ids = {
            "slug": "secret",
            "subject": "secret",
            "digest": digest,
            "photo": digest,
            "lora": lora,
            "name": lora,
            "image": str(image),
            "generation": "generation_annas0001",
            "training": job.target,
            "job": job.id,
            "step": "10",
            "position": "0",
            "batch": batch,
            "upload": upload,
            "dataset": dataset,
            "grid": "grid_0123456789abcdef",
        }
        walked = routes(studio.settings)
    server = Server(home, arguments=("--login",), environment={"LIMNER_START_WORKER": "false"}).start()
    try:
        with closing(Caller(server)) as anna, closing(Caller(server)) as bert:
            anna.log_in("anna")
            bert.log_in("bert")
            _, page, _ = bert.ask("GET", "/create", Sec_Fetch_Dest="document")
            token = token_of(page)
            seen, wrong = 0, []
            for method, path in walked:
                names = re.findall(r"\{(\w+)", path)
                if not names or not all(name in ids for name in names):
                    continue
                filled = re.sub(r"\{(\w+)[^}]*\}", lambda found: quote(ids[found[1]]), path)
                if method == "GET":
                    seen += anna.ask("GET", filled)[0] < 400
                body = "" if method == "GET" else "x=1"
                status, data, _ = bert.ask(method, filled, body, X_CSRF_Token=token)
                told = b"Secret" in data or b"secret_dog" in data
                if status < 400 or status >= 500 or told:
                    wrong.append((method, filled, status, told))
            assert seen > 25, "the ids lead their owner to few places, so this says little"
            assert not wrong, "\n".join(map(str, wrong))
        with Studio(settings=Settings(home=home, start_worker=False)) as studio:
            assert (
                studio.subject("secret").photos == 7
                and studio.lora(lora)
                and studio.job(job.id).cancel_requested is False
            )
        assert "Traceback" not in server.log
    finally:
        server.stop()


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
        assert not studio.subjects() and not studio.jobs(limit=5)


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
        studio.remove_subject("odd")
