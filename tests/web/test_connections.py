"""Connections over a real socket: what is only held is ended, what moves on is not, and a handle is always left."""

from __future__ import annotations

import asyncio
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from limner.errors import TooManyAtOnce
from limner.http_server import connections
from limner.http_server.connections import Limits, bounded_by
from limner.operations.jobs.vendor_webhooks import listening
from limner.settings import Settings
from limner.web.access.concurrency_limit import Crowding

Address = tuple[str, int]
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HUGE = 30_000_000
ENDS = 20.0
"""Seconds after which a test gives up; what is ended here is ended within a fraction of one."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    answer = PlainTextResponse("at once")
    if scope["path"] == "/read":
        answer = PlainTextResponse(f"{len(await request.body())} bytes")
    elif scope["path"] == "/huge":
        answer = PlainTextResponse("a" * HUGE)
    elif scope["path"] in ("/events", "/pieces"):
        piece, count = (b": still here\n\n", 90) if scope["path"] == "/events" else (b"a" * 30_000, 1_000)

        async def told() -> object:
            for _ in range(count):
                yield piece
                await asyncio.sleep(0.01 if count == 90 else 0)

        answer = StreamingResponse(told())  # type: ignore[arg-type, assignment]
    await answer(scope, receive, send)


@contextmanager
def served(most: int = 1000, most_each: int = 0, head_seconds: float = 0.15) -> Iterator[Address]:
    listening = socket.create_server(("127.0.0.1", 0))
    http = bounded_by(Limits(most, most_each, head_seconds))
    config = uvicorn.Config(
        app, http=http, ws="none", lifespan="off", log_config=None, timeout_keep_alive=1, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def quick() -> Iterator[Address]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(connections, "LOOK_SECONDS", 0.02)
        patched.setattr(connections, "STALL_SECONDS", 0.6)
        with served() as address:
            yield address


def connect(address: Address, source: str = "127.0.0.1", room: int = 0) -> socket.socket:
    line = socket.socket()
    line.settimeout(ENDS)
    if room:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    line.bind((source, 0))
    line.connect(address)
    return line


def rest(line: socket.socket) -> bytes:
    """All that comes until the server ends the connection, in whatever way."""
    said = b""
    try:
        while part := line.recv(65_536):
            said += part
    except ConnectionError:
        pass
    return said


def drips(line: socket.socket, drop: bytes = b"a") -> bytes:
    """Send a little for ever; what the server says before it ends the connection."""
    line.settimeout(0.01)
    said = b""
    for _ in range(int(ENDS / 0.01)):
        try:
            line.sendall(drop)
            if not (part := line.recv(65_536)):
                return said
            said += part
        except TimeoutError:
            continue
        except ConnectionError:
            return said
    raise AssertionError("the connection is held for ever")


HEADS = {
    "nothing at all": (b"", b""),
    "a line that does not go on": (b"GET / HT", b""),
    "a header that drips": (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"a"),
    "a path that drips": (b"GET /", b"a"),
    "headers that drip": (b"GET / HTTP/1.1\r\n", b"A: 1\r\n"),
    "empty lines": (b"", b"\r\n"),
    "empty lines after an answer": (GET, b"\r\n"),
    "a head that drips after an answer": (GET + b"GET / HTTP/1.1\r\nX: ", b"a"),
    "a body that nobody wants": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n", b"a"),
    "chunks that nobody wants": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "a body that drips": (b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n", b"a"),
    "a body that stops": (b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab", b""),
    "a trailer that drips": (
        b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ",
        b"a",
    ),
}


@pytest.mark.parametrize(("start", "drop"), HEADS.values(), ids=HEADS)
def test_what_never_becomes_a_request_is_ended(quick: Address, start: bytes, drop: bytes) -> None:
    with closing(connect(quick)) as line:
        line.sendall(start)
        said = drips(line, drop) if drop else rest(line)
    assert (b"200 OK" in said) == (start.startswith(GET) or b"POST / " in start)
    if start and not said.startswith(b"HTTP/1.1 200") and b"POST" not in start:
        assert said.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 400 ")) or not said


@pytest.mark.parametrize("path", ["/huge", "/pieces", "/"])
def test_an_answer_that_nobody_reads_is_ended(quick: Address, path: str) -> None:
    """Also a small one, many times over: what is left of them fills no memory for ever."""
    with closing(connect(quick, room=4096)) as line:
        with suppress(ConnectionError, TimeoutError):
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * (1 if path != "/" else 50_000))
        ended = threading.Event()
        for _ in range(int(ENDS / 0.02)):
            try:
                # Writing tells of the end without a byte being read.
                line.sendall(b"\r\n" * 1000)
            except ConnectionError:
                break
            except TimeoutError:
                continue
            ended.wait(0.02)
        else:
            raise AssertionError("the connection is held for ever")


def test_a_reader_of_one_byte_at_a_time_is_ended(quick: Address) -> None:
    with closing(connect(quick, room=4096)) as line, pytest.raises(ConnectionError):
        line.sendall(b"GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n")
        pause = threading.Event()
        for _ in range(int(ENDS / 0.01)):
            line.recv(1)
            # Writing tells of the end before all that came is read.
            line.sendall(b"\r\n")
            pause.wait(0.01)


def test_a_stream_may_be_open_for_longer_than_all_limits(quick: Address) -> None:
    with closing(connect(quick)) as line:
        line.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        said = rest(line)
    assert said.count(b"still here") == 90 and said.endswith(b"0\r\n\r\n")


def test_a_body_that_moves_on_may_be_slow(quick: Address) -> None:
    piece, count, pause = b"a" * 8_000, 40, threading.Event()
    with closing(connect(quick)) as line:
        line.sendall(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(piece) * count))
        for _ in range(count):
            line.sendall(piece)
            pause.wait(0.02)
        assert rest(line).endswith(b"320000 bytes")


def test_a_reader_that_moves_on_may_be_slow(quick: Address) -> None:
    size, pause = 0, threading.Event()
    with closing(connect(quick, room=65_536)) as line:
        line.sendall(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n")
        while size < HUGE // 10 and (part := line.recv(65_536)):
            size += len(part)
            pause.wait(0.005)
    assert size >= HUGE // 10


def test_the_workers_port_for_webhooks_is_bounded_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = Settings(home=tmp_path, public_url="https://hooks.test", webhook_port=port, head_seconds=0.15)
    with listening(settings):
        for _ in range(200):
            try:
                line = connect(("127.0.0.1", port))
                break
            except ConnectionError:
                threading.Event().wait(0.02)
        with closing(line):
            line.sendall(b"POST /webhooks/replicate/x HTTP/1.1\r\nX: ")
            assert drips(line)[:13] in (b"HTTP/1.1 408 ", b"")


# --- how many ---------------------------------------------------------------------------------------------------------


def answered(address: Address, source: str = "127.0.0.1") -> bytes:
    with closing(connect(address, source)) as line:
        with suppress(ConnectionError):
            line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return rest(line)[:12]


def busy(address: Address, source: str = "127.0.0.1") -> socket.socket:
    """A connection with a request at work: its body does not come."""
    line = connect(address, source)
    line.sendall(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
    assert line.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return line


def test_those_that_only_wait_make_room_and_the_longest_first() -> None:
    with served(most=4, head_seconds=60) as address, ExitStack() as stack:
        lines = [stack.enter_context(closing(connect(address)))]
        # The others are later by the loop's clock too.
        threading.Event().wait(0.05)
        lines += [stack.enter_context(closing(connect(address))) for _ in range(3)]
        for _ in range(3):
            assert answered(address) == b"HTTP/1.1 200"
        assert rest(lines[0]) == b""
        lines[3].sendall(GET)
        assert lines[3].recv(12) == b"HTTP/1.1 200"


def test_where_all_are_at_work_the_next_is_told_to_come_later() -> None:
    with served(most=3, head_seconds=60) as address, ExitStack() as stack:
        lines = [stack.enter_context(closing(busy(address))) for _ in range(3)]
        refused = connect(address)
        said = rest(refused)
        refused.close()
        assert said.startswith(b"HTTP/1.1 503 ") and b"retry-after: 5" in said
        lines[0].sendall(b"123456789")
        assert b"9 bytes" in lines[0].recv(999)
        assert answered(address) == b"HTTP/1.1 200"


def test_one_address_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "is_loopback", lambda address: False)
    with served(most=20, most_each=3, head_seconds=60) as address, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(closing(busy(address, "127.0.0.2")))
        assert answered(address, "127.0.0.2") in (b"HTTP/1.1 503", b"")
        assert answered(address, "127.0.0.3") == b"HTTP/1.1 200"
        waiting = [stack.enter_context(closing(connect(address, "127.0.0.4"))) for _ in range(10)]
        ended: set[socket.socket] = set()
        while len(ended) < 7:
            readable = select.select([line for line in waiting if line not in ended], [], [], ENDS)[0]
            assert readable and all(rest(line) == b"" for line in readable)
            ended.update(readable)
        assert answered(address, "127.0.0.4") == b"HTTP/1.1 200"


def test_what_a_proxy_on_this_machine_brings_is_not_one_address() -> None:
    with served(most=20, most_each=2, head_seconds=60) as address, ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(closing(busy(address)))
        assert answered(address) == b"HTTP/1.1 200"


def test_the_guard_counts_by_whom_the_proxy_speaks_for() -> None:
    crowding = Crowding(2)
    with crowding.one_more("2001:db8::1"), crowding.one_more("2001:db8::2"), crowding.one_more("198.51.100.7"):
        with pytest.raises(TooManyAtOnce) as refused, crowding.one_more("2001:db8::ffff"):
            pass
        assert refused.value.status == 429 and refused.value.remedy
        with crowding.one_more("2001:db8:0:1::1"), crowding.one_more("198.51.100.7"):
            pass
        for _ in range(3):
            with crowding.one_more("127.0.0.1"), crowding.one_more("::1"), crowding.one_more(""):
                pass
    with crowding.one_more("2001:db8::3"):
        assert dict(crowding._busy) == {"2001:db8::/64": 1}


# --- handles ----------------------------------------------------------------------------------------------------------

FEW_HANDLES = """
import resource, socket, sys, uvicorn
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from limner.errors import TooManyAtOnce
from limner.operations.jobs.vendor_webhooks import listening
from limner.settings import Settings
from limner.http_server.connections import BACKLOG, Limits, bounded_by
async def app(scope, receive, send):
    open("/dev/null").close()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})
line = socket.create_server(("127.0.0.1", 0))
print(line.getsockname()[1], flush=True)
http = bounded_by(Limits.of(Settings(home="/nonexistent")))
config = uvicorn.Config(app, http=http, ws="none", lifespan="off", log_level="error", backlog=BACKLOG)
uvicorn.Server(config).run(sockets=[line])
"""


def test_a_server_never_runs_out_of_handles() -> None:
    command = [sys.executable, "-c", FEW_HANDLES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stderr is not None
        address = ("127.0.0.1", int(server.stdout.readline()))
        with ExitStack() as stack:
            for number in range(600):
                line = stack.enter_context(closing(connect(address)))
                with suppress(ConnectionError):
                    line.sendall(b"GET / HTTP/1.1\r\nX: " if number % 2 else b"")
                if number % 100 == 99:
                    assert answered(address) == b"HTTP/1.1 200"
        server.terminate()
        assert "Too many open files" not in server.stderr.read()


@pytest.mark.parametrize(("handles", "most"), [(1024, 448), (256, 64), (64, 8), (1_000_000, 1000)])
def test_there_are_no_more_connections_than_handles(monkeypatch: pytest.MonkeyPatch, handles: int, most: int) -> None:
    monkeypatch.setattr(connections, "_handles", lambda: handles)
    assert Limits.of(Settings(home="/nonexistent")).most == most
