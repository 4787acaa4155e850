"""Every fault is what it says: seen by a real client over a real socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from limner.stand_ins.serving import serve
from tests.servers.faults import BEFORE, DAMAGED, KINDS, LOST, Fault, Faulty

FILE = bytes(range(256)) * 40


class Vendor:
    """Starts a job at each POST; knows one token; has one file."""

    def __init__(self) -> None:
        self.started = 0
        self.url = ""
        self.app = Starlette(
            routes=[Route("/jobs", self.jobs, methods=["GET", "POST"]), Route("/file", self.file)],
        )

    async def jobs(self, request: Request) -> Response:
        await request.body()
        if request.headers.get("authorization") != "Bearer token":
            return JSONResponse({"detail": "Invalid token"}, 401)
        if request.method == "POST":
            self.started += 1
        return JSONResponse({"started": self.started, "at": "2026-11-24T12:00:00Z", "inner": [{"a": 1}]})

    async def file(self, request: Request) -> Response:
        return Response(FILE, media_type="application/octet-stream")


@contextmanager
def behind(*plan: Fault) -> Iterator[tuple[Vendor, Faulty, httpx.Client]]:
    vendor = Vendor()
    faulty = Faulty(vendor.app, plan)
    with (
        serve(faulty, vendor) as url,
        httpx.Client(base_url=url, headers={"authorization": "Bearer token"}, timeout=0.5) as client,
    ):
        assert vendor.url == url
        yield vendor, faulty, client


CUT = (httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError)
REFUSED: dict[str, int] = {kind: int(kind[-3:]) for kind in BEFORE if kind[-3:].isdigit()} | {
    **{kind: 429 for kind in BEFORE if kind.startswith("throttled")},
    "no-credit": 402,
    "forbidden": 403,
    "revoked": 401,
}


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_a_refusal_comes_before_the_vendor_does_anything(kind: str) -> None:
    with behind(Fault(kind, seconds=7)) as (vendor, faulty, client):
        refused = client.post("/jobs", json={"big": "x" * 100_000})
        assert refused.status_code == REFUSED[kind]
        assert vendor.started == 0
        assert [hit.fault.kind for hit in faulty.hits] == [kind]
        html = kind.startswith("html")
        assert refused.headers["content-type"].startswith("text/html") is html
        assert client.post("/jobs").json()["started"] == 1, "it is over after one time"


def test_how_long_to_wait_is_said_in_each_way() -> None:
    kinds = ["throttled", "throttled-date", "throttled-reset", "throttled-ietf", "throttled-plain"]
    with behind(*(Fault(kind, nth=number, seconds=9) for number, kind in enumerate(kinds, 1))) as (_, _, client):
        seconds, date, reset, ietf, plain = (client.get("/jobs").headers for _ in kinds)
    assert seconds["retry-after"] == "9"
    assert 5 < parsedate_to_datetime(date["retry-after"]).timestamp() - time.time() < 10
    assert reset["x-ratelimit-reset"] == "9"
    assert ietf["ratelimit"] == '"api";r=0;t=9'
    assert not {"retry-after", "x-ratelimit-reset", "ratelimit"} & set(plain)


@pytest.mark.parametrize("kind", ["hang", "reset", "closed"])
def test_no_answer_and_nothing_done(kind: str) -> None:
    with behind(Fault(kind)) as (vendor, _, client):
        with pytest.raises(httpx.ReadTimeout if kind == "hang" else CUT):
            client.post("/jobs")
        assert vendor.started == 0


@pytest.mark.parametrize("kind", sorted(LOST))
def test_a_lost_answer_is_lost_after_the_job_was_started(kind: str) -> None:
    with behind(Fault(kind, "POST", "jobs$")) as (vendor, _, client):
        try:
            answer = client.post("/jobs")
        except (*CUT, httpx.ReadTimeout) as failure:
            assert kind in ("lost-reset", "lost-closed", "lost-hang")
            assert isinstance(failure, httpx.ReadTimeout) is (kind == "lost-hang")
        else:
            if kind == "lost-error-500":
                assert answer.status_code == 500
                assert "started" not in answer.json()
            else:
                with pytest.raises(ValueError):
                    answer.json()
        assert vendor.started == 1
        assert client.get("/jobs").json()["started"] == 1


def test_a_reset_is_a_real_one() -> None:
    with behind(Fault("reset")) as (_, _, client):
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address) as bare:
            bare.sendall(b"GET /jobs HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                bare.recv(1000)


def received(client: httpx.Client) -> bytes:
    """What comes of the file, as far as it comes."""
    came = b""
    with client.stream("GET", "/file") as answer:
        try:
            for part in answer.iter_raw():
                came += part
        except CUT:
            return came
    return came + b"(end)"


@pytest.mark.parametrize(
    ("kind", "length", "ends"),
    [
        ("reset-mid-body", True, False),
        ("truncated", True, False),
        ("truncated-unmarked", False, True),
        ("truncated-consistent", True, True),
    ],
)
def test_half_a_download(kind: str, length: bool, ends: bool) -> None:
    with behind(Fault(kind, "GET", "file", nth=2)) as (_, _, client):
        whole = client.get("/file")
        assert whole.content == FILE
        with client.stream("GET", "/file") as answer:
            assert ("content-length" in answer.headers) is length
            if kind == "truncated-consistent":
                assert int(answer.headers["content-length"]) == len(FILE) // 2
        assert received(client) == FILE + b"(end)"
    with behind(Fault(kind, "GET", "file")) as (_, _, client):
        came = received(client)
        assert came == FILE[: len(FILE) // 2] + (b"(end)" if ends else b"")


def test_damage_that_no_length_shows() -> None:
    with behind(Fault("flipped", "GET", "file"), Fault("wrong-type", "GET", "file", nth=2)) as (_, _, client):
        flipped = client.get("/file").content
        assert len(flipped) == len(FILE)
        assert sum(a != b for a, b in zip(flipped, FILE, strict=True)) == 1
        wrong = client.get("/file")
        assert wrong.content == FILE
        assert wrong.headers["content-type"].startswith("text/html")
    with behind(Fault("no-type", "GET", "file")) as (_, _, client):
        assert "content-type" not in client.get("/file").headers


def test_a_clock_that_is_off() -> None:
    with behind(Fault("skewed", seconds=-3600, times=0)) as (_, _, client):
        answer = client.get("/jobs")
        assert answer.json()["at"] == "2026-11-24T11:00:00Z"
        assert -3700 < parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time() < -3500
        assert len(answer.headers.get_list("date")) == 1


def test_json_that_is_not_as_expected() -> None:
    def without(value: Any) -> Any:
        return {key: one for key, one in value.items() if key != "at"}

    with behind(Fault("extra-fields"), Fault("edited", nth=2, edit=without)) as (_, _, client):
        wide = client.get("/jobs").json()
        assert wide["inner"][0]["a"] == 1
        assert "a_new_field" in wide
        assert "a_new_field" in wide["inner"][0]
        assert set(client.get("/jobs").json()) == {"started", "inner"}


def test_which_requests_a_fault_strikes() -> None:
    with behind(Fault("error-500", "GET", "^/jobs$", nth=2, times=2)) as (_, faulty, client):
        statuses = [client.get("/jobs").status_code for _ in range(5)]
        assert statuses == [200, 500, 500, 200, 200]
        assert client.get("/file").status_code == 200
        faulty.add(Fault("busy-503", times=0))
        assert [client.get("/jobs").status_code for _ in range(3)] == [503] * 3
        faulty.clear()
        assert client.get("/jobs").status_code == 200
        assert len(faulty.hits) == 5
        assert faulty.requests[0] == ("GET", "/jobs")


def test_a_slow_answer() -> None:
    with behind(Fault("slow", seconds=0.2)) as (_, _, client):
        began = time.monotonic()
        assert client.get("/jobs").status_code == 200
        assert time.monotonic() - began > 0.19


def test_a_refusal_in_the_vendors_own_words() -> None:
    body = {"detail": "Request was throttled. Your rate limit resets in ~30s."}
    with behind(Fault("throttled-plain", body=body, headers=(("x-own", "1"),))) as (_, _, client):
        answer = client.get("/jobs")
        assert answer.json() == body
        assert answer.headers["x-own"] == "1"


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no fault meteor"):
        Fault("meteor")
    assert set(KINDS) == set(BEFORE) | set(LOST) | set(DAMAGED)


def test_the_end_does_not_wait_for_what_hangs() -> None:
    began = time.monotonic()
    with behind(Fault("hang")) as (_, _, client), pytest.raises(httpx.ReadTimeout):
        client.get("/jobs", timeout=0.05)
    assert time.monotonic() - began < 1800


def test_several_apps_at_once() -> None:
    vendors = [Vendor() for _ in range(3)]
    with serve(vendors[0].app) as a, serve(vendors[1].app) as b, serve(vendors[2].app) as c:
        assert len({a, b, c}) == 3
        token = {"authorization": "Bearer token"}
        assert [httpx.post(url + "/jobs", headers=token).json()["started"] for url in (a, b, c)] == [1, 1, 1]
    with pytest.raises(httpx.ConnectError):
        httpx.get(a)
    json.dumps([a, b, c])
