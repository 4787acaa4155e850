"""No header, path, query, cookie, form or body makes the server fail: over a real socket, on every route.

What is sent is no request of a browser's. Each route gets some of it, each kind of value comes to each header; the long
test sends more of it. A mistake of ours is known by status 500, by what is logged, and by a connection that hangs.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
import uvicorn
from fastapi import FastAPI

from limner.http_server.connections import Limits, bounded_by
from limner.operations.jobs.vendor_webhook_app import webhook_app
from limner.settings import Settings
from limner.stand_ins.replicate.webhooks import sign
from limner.studio import Studio
from limner.web.access import Rules
from limner.web.app import create_app
from tests.web.access_bench import visiting
from tests.web.everything import OWNER, Everything, Route, every_route, fill
from tests.web.hostile import HEADERS, JSON_BODIES, JSON_VALUES, PARTS, TEXTS, VALUES, Wire, encoded_form
from tests.web.test_ids import harm, settings_in
from tests.web.test_webhooks import KEY

FORM, JSON = b"application/x-www-form-urlencoded", b"application/json"
MORE = 8
"""How many times as much the long test sends."""


@dataclass
class Complaints(logging.Handler):
    """What the server logs of mistakes."""

    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.getMessage()[-600:]} {record.exc_info[1] if record.exc_info else ''}")

    __hash__ = logging.Handler.__hash__


@dataclass
class Target:
    """A server with one of everything, and somebody who may do all there."""

    wire: Wire
    app: FastAPI
    everything: Everything
    studio: Studio
    complaints: Complaints
    secret: str = ""
    known: dict[str, bytes] = field(default_factory=dict)

    def log_in(self) -> None:
        """Be somebody who may do all there; some of what is sent logs out."""
        door = self.app.state.doorkeeper
        self.secret = self.studio.members.open_session(OWNER)
        self.known = {
            "Host": b"localhost",
            "Cookie": f"{door.names.session}={self.secret}".encode(),
            "X-CSRF-Token": door.form_token(self.secret).encode(),
        }

    @property
    def guest(self) -> bytes:
        """The name of a guest's cookie."""
        return str(self.app.state.doorkeeper.names.guest).encode()

    def url(self, route: Route) -> bytes:
        try:
            return self.everything.ask(route).url.encode()
        except KeyError:
            return route.path.encode()

    def right(self, route: Route) -> Any:
        """What the route would take as JSON, or as the fields of a form."""
        try:
            options = self.everything.ask(route).options
        except KeyError:
            return route.example
        return options.get("json", route.example) if route.path.startswith("/api/") else options.get("data", {})

    def wrong(self, route: Route, url: bytes, headers: Sequence[tuple[str, bytes]], body: bytes = b"") -> str:
        """Send something; what is wrong with how it was taken, "" if nothing is."""
        before = len(self.complaints.said)
        named = {name for name, _ in headers}
        sent = [(name, value) for name, value in self.known.items() if name not in named]
        if not named & {"Content-Length", "Transfer-Encoding"}:
            sent.append(("Content-Length", str(len(body)).encode()))
        try:
            status, head = self.wire.send(route.method, url, [*sent, *headers], body)
        except TimeoutError:
            self.wire.close()
            return "no answer"
        said = self.complaints.said[before:]
        injected = b"\nx-injected" in head.lower()
        if route.method != "GET" and status < 400 and self.studio.members.session(self.secret) is None:
            self.log_in()
        # 502: a vendor, which cannot be reached from here, was asked.
        return str((status, *said)) if status in (500, 501) or status > 502 or said or injected else ""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("hostile")
    settings = settings_in(folder)
    with Studio(settings=settings) as studio:
        everything = fill(studio, folder)
    app, complaints = create_app(settings, rules=Rules(login=True)), Complaints()
    listening = socket.create_server(("127.0.0.1", 0))
    http = bounded_by(Limits(100, 0, 20))
    config = uvicorn.Config(app, http=http, ws="none", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    logging.getLogger().addHandler(complaints)
    thread.start()
    wire = Wire(listening.getsockname())
    with Studio(settings=settings) as studio:
        made = Target(wire, app, everything, studio, complaints)
        made.log_in()
        yield made
    wire.close()
    server.should_exit = True
    thread.join()
    logging.getLogger().removeHandler(complaints)
    listening.close()


Sent = tuple[Route, bytes, list[tuple[str, bytes]], bytes, str]
"""A request with words for what is hostile in it."""


def in_headers(target: Target, routes: list[Route], times: int) -> Iterator[Sent]:
    pairs = list(product(HEADERS, VALUES.items()))
    for index, route in enumerate(routes):
        for turn in range(2 * times):
            # A stride that has no factor in common with the number of pairs comes to all of them.
            header, (kind, value) = pairs[(index * 2 * times + turn) * 397 % len(pairs)]
            sent = [(header, value)]
            if header == "Cookie":
                sent = [("Cookie", target.known["Cookie"] + b"; limner_notice=" + value + b"; " + target.guest + b"=x")]
            elif header == "Authorization":
                sent = [(header, (b"Bearer ", b"Basic ", b"")[index % 3] + value)]
            elif index % 4 == 3:
                sent = sent * 2
            if header.startswith(("Upload-", "Tus-")):
                tus = {"Tus-Resumable": b"1.0.0", "Upload-Length": b"5", "Upload-Offset": b"0"}
                sent = [(name, one) for name, one in tus.items() if name != header] + sent
            yield route, target.url(route), sent, b"", f"{header}: {kind}"


def in_queries(target: Target, routes: list[Route], times: int) -> Iterator[Sent]:
    values = [*VALUES.values(), *(text.encode() for text in TEXTS if len(text) < 10_000)]
    turn = 0
    for route in routes:
        for name in (*route.queries, "csrf_token", "unknown"):
            for _ in range(times):
                turn += 1
                value = quote_from_bytes(values[turn * 7 % len(values)], safe="").encode()
                url = target.url(route)
                query = url + (b"&" if b"?" in url else b"?") + name.encode() + b"=" + value
                yield (
                    route,
                    query + (query.partition(b"?")[2] if turn % 3 == 0 else b""),
                    [],
                    b"",
                    f"?{name}={value!r:.40}",
                )
        turn += 1
        yield route, target.url(route) + b"?" + values[turn % len(values)].replace(b" ", b"+"), [], b"", "a bare query"


def in_json(target: Target, routes: list[Route], times: int) -> Iterator[Sent]:
    turn = 0
    for route in routes:
        if not route.path.startswith("/api/") or route.method in ("GET", "HEAD"):
            continue
        kind = [("Content-Type", JSON)]
        for _ in range(times):
            turn += 1
            what, body = list(JSON_BODIES.items())[turn % len(JSON_BODIES)]
            yield route, target.url(route), kind, body, what
        right = target.right(route)
        if not isinstance(right, dict):
            continue
        for name, _ in product(right, range(times)):
            turn += 1
            value, held = JSON_VALUES[turn * 3 % len(JSON_VALUES)], right[name]
            inner: Any = "@@"
            if turn % 2 and isinstance(held, dict) and held:
                inner = {**held, next(iter(held)): "@@"}
            elif turn % 2 and isinstance(held, list) and held:
                inner = ["@@", *held[1:]]
            body = json.dumps({**right, name: inner}).replace('"@@"', value).encode()
            yield route, target.url(route), kind, body, f"{name}: {value:.40}"


def in_forms(target: Target, routes: list[Route], times: int) -> Iterator[Sent]:
    read = Path(__file__).parents[2] / "src/limner/web/pages"
    texts = "\n".join(path.read_text() for path in read.rglob("*.py"))
    # What a form is asked for by its name, anywhere on the pages.
    asked = sorted(set(re.findall(r'(?:get|getlist|_text|_number|_word)\((?:\w+, )?"(\w+)"', texts)))
    turn = 0
    for route in routes:
        if route.path.startswith("/api/") or route.method != "POST":
            continue
        kind = [("Content-Type", FORM)]
        right = {"wish": "0" * 32, **(target.right(route) or {})}
        several = [asked[(turn * 5 + step) % len(asked)] for step in range(4 * times)]
        for name in dict.fromkeys((*right, *route.fields, *several)):
            turn += 1
            value = TEXTS[turn * 3 % len(TEXTS)]
            pairs = [
                (key, str(one))
                for key, held in right.items()
                if key != name
                for one in (held if isinstance(held, list) else [held])
            ]
            body = encoded_form([*pairs, *[(name, value)] * (1 + turn % 2)])
            if turn % 5 == 0:
                body = encoded_form(pairs) + f"&{name}=%ed%a0%80%00%ff&{name}".encode()
            yield route, target.url(route), kind, body, f"{name}={value:.40}"
        for _ in range(times):
            turn += 1
            boundary, parts = list(product(*PARTS))[turn * 7 % (len(PARTS[0]) * len(PARTS[1]))]
            yield route, target.url(route), [("Content-Type", boundary)], parts, f"{boundary!r:.60}"


@pytest.mark.parametrize("times", [1, pytest.param(MORE, marks=pytest.mark.long)])
@pytest.mark.parametrize("where", [in_headers, in_queries, in_json, in_forms])
def test_nothing_that_is_sent_is_a_mistake_of_ours(target: Target, where: Any, times: int) -> None:
    routes = sorted(every_route(target.app), key=lambda route: (harm(route), str(route)))
    wrong, count = [], 0
    for route, url, headers, body, what in where(target, routes, times):
        count += 1
        if found := target.wrong(route, url, headers, body):
            wrong.append(f"{route} with {what}: {found}")
    assert not wrong, "\n".join(wrong[:20])
    assert count > 100


DESTS = ("image", "script", "iframe", "document", "empty", "nonsense", "\xff")


@pytest.mark.parametrize("login", [True, False])
def test_who_is_not_known_gets_every_page_whatever_is_said_to_be_asked_for(
    home_settings: Settings, login: bool
) -> None:
    """A page without a token for its forms is none that can be drawn."""
    app = create_app(home_settings, rules=Rules(login=login))
    for path in ("/login", "/", "/subjects/new", "/settings"):
        for method, dest in product(("GET", "POST"), DESTS):
            with visiting(app, raise_server_exceptions=False) as somebody:
                answer = somebody.request(method, path, headers={"Sec-Fetch-Dest": dest.encode("latin-1")})
            assert answer.status_code < 500, (method, path, dest)


LINES = (
    b"\x00\x01\x02\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"GET  HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%zz%00%ff%ed%a0%80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET //evil.test/%2e%2e/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\n: nothing\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n\x81\x05hello",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AA\r\n\r\n",
)
"""First lines and heads that are none."""


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_what_is_no_request_is_refused(target: Target, line: bytes) -> None:
    before = len(target.complaints.said)
    with socket.create_connection(target.wire.address, timeout=20) as given:
        given.sendall(line)
        try:
            said = given.recv(65_536)
        except ConnectionError:
            said = b""
    assert not said or said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 3")), said[:100]
    assert target.complaints.said[before:] == []


WEBHOOK = ("webhook-id", "webhook-timestamp", "webhook-signature", "Content-Length", "Content-Type", "Host", "Cookie")


def test_no_header_of_a_webhook_is_a_mistake_of_ours() -> None:
    """At the worker's port, which anybody can reach; what is signed wrongly wakes nobody."""
    woken: list[str] = []

    async def secret() -> str:
        return KEY

    listening = socket.create_server(("127.0.0.1", 0))
    http, hooks = bounded_by(Limits(100, 0, 20)), webhook_app(secret, woken.append)
    server = uvicorn.Server(uvicorn.Config(hooks, http=http, ws="none", lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    wire, wrong = Wire(listening.getsockname()), []
    try:
        for header, (kind, value) in product(WEBHOOK, VALUES.items()):
            signed = {name: one.encode() for name, one in sign(KEY, "msg_1", int(time.time()), b"{}").items()}
            if not header.startswith("webhook-"):
                signed["webhook-signature"] = b"v1,AAAA"
            sent = {"Host": b"localhost", "Content-Length": b"2", **signed, header: value}
            status, _ = wire.send("POST", b"/webhooks/replicate/training_1", list(sent.items()), b"{}")
            # 0: the connection was ended, as for a head that is none.
            if status and not 400 <= status < 500:
                wrong.append((header, kind, status))
        for path in (
            b"/webhooks/replicate/%ff%00",
            b"/webhooks/replicate/" + b"x" * 9_000,
            b"/webhooks/other/1",
            b"/%",
        ):
            status, _ = wire.send("POST", path, [("Host", b"localhost"), ("Content-Length", b"0")])
            wrong += [(path[:40], status)] if not 400 <= status < 500 else []
    finally:
        wire.close()
        server.should_exit = True
        thread.join()
        listening.close()
    assert not wrong and not woken, (wrong, woken)
