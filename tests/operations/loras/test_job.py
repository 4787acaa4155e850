"""Importing as a job: refused at once, told how far, stopped, killed, gone on with; and nobody borrows a token."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from limner.errors import (
    AccountRefused,
    Cancelled,
    Conflict,
    InputRefused,
    LoraRefused,
    NameRefused,
    NotFound,
    VendorBusy,
)
from limner.hubs.hub import WEIGHTS_NAME
from limner.operations.generations.submission import describe
from limner.operations.loras import job as lora_job
from limner.operations.members import passwords
from limner.settings import Settings
from limner.stand_ins.hub.repos import HubRepo
from limner.stand_ins.hub.server import HuggingFaceStandIn
from limner.studio import Studio
from limner.types import JobState
from tests.operations.conftest import kill_all
from tests.operations.loras.test_adopt import lora_bytes
from tests.servers.hub import hub_server
from tests.waiting import until

__all__ = ["hub_server"]

DATA = lora_bytes()
HALF = len(DATA) // 2


class Site:
    """A server of one lora. While it ``holds`` it gives the first half, then a byte now and then.

    While it ``breaks`` it gives the first half once, and then nothing.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.data = DATA
        self.over = threading.Event()
        self.holds = self.breaks = False
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        span = handler.headers.get("range", "")
        self.asked.append((span, handler.headers.get("if-range", "")))
        if self.breaks and len(self.asked) > 1:
            handler.send_error(503)
            return
        begin = int(span.removeprefix("bytes=").partition("-")[0] or 0) if span else 0
        handler.send_response(206 if span else 200)
        if span:
            handler.send_header("content-range", f"bytes {begin}-{len(self.data) - 1}/{len(self.data)}")
        handler.send_header("content-length", str(len(self.data) - begin))
        handler.send_header("etag", f'"{hashlib.sha256(self.data).hexdigest()}"')
        handler.end_headers()
        if not self.holds:
            handler.wfile.write(self.data[begin : HALF if self.breaks else None])
            return
        handler.wfile.write(self.data[begin:HALF])
        for at in range(max(begin, HALF), len(self.data) - 1):
            if self.over.wait(0.05):
                return
            handler.wfile.write(self.data[at : at + 1])


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    with _serving(made):
        yield made
        made.over.set()


@contextmanager
def _serving(site: Site) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):
                site.answer(self)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}/lora.safetensors"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def alone(tmp_path: Path, hub_server: HuggingFaceStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    """A studio that works itself when it is told to."""
    monkeypatch.setattr("limner.vendors.http.public_web.PAUSE", lambda seconds: None)
    settings = Settings(home=tmp_path / "alone", huggingface_url=hub_server.url, start_worker=False)
    with Studio(settings=settings) as made:
        yield made


def parts(home: Path) -> int:
    """How many bytes of weights the jobs of a home have fetched."""
    return sum(path.stat().st_size for path in (home / "runs").glob(f"*/{WEIGHTS_NAME}"))


# --- a job ----------------------------------------------------------------------------------------------------------


def test_an_address_becomes_a_lora_and_the_job_names_it(alone: Studio, site: Site) -> None:
    job = alone.loras.fetch(site.url, subject="ink", trigger="ink_st")
    assert (job.kind, job.subject, job.state) == ("import", "ink", JobState.WAITING)
    assert alone.loras.all() == [] == alone.subjects.all()
    alone.work(idle_seconds=0.0)
    done = alone.wait(job)
    assert done.result == {"lora": "ink@v1"}
    assert done.progress is not None
    made = alone.loras.get("ink@v1")
    assert (made.path.read_bytes(), made.trigger, made.base) == (DATA, "ink_st", "limner-tiny")
    assert not list((alone.settings.home / "runs").glob("*/*.safetensors"))
    again = alone.loras.fetch(site.url, subject="ink")
    alone.work(idle_seconds=0.0)
    assert alone.wait(again).result == {"lora": "ink@v1"}
    assert len(alone.loras.all()) == 1


def test_what_can_be_known_at_once_is_refused_at_once(alone: Studio, tmp_path: Path) -> None:
    here = tmp_path / "a.safetensors"
    here.write_bytes(DATA)
    for source, options, error in (
        ("ann/nobody", {}, NotFound),
        (str(here), {}, InputRefused),
        (str(tmp_path / "none.safetensors"), {}, NotFound),
        ("no lora", {}, InputRefused),
        ("https://10.0.0.1/a.safetensors", {}, InputRefused),
        ("https://1.1.1.1/a.safetensors", {"subject": "No Slug"}, NameRefused),
        ("https://1.1.1.1/a.safetensors", {"kind": "nothing"}, InputRefused),
        ("https://1.1.1.1/a.safetensors", {"base": "nothing"}, InputRefused),
    ):
        with pytest.raises(error):
            alone.loras.fetch(source, **{"subject": "ink", **options})
    assert alone.jobs.all() == []


def test_what_was_looked_up_is_what_is_fetched(alone: Studio, hub_server: HuggingFaceStandIn) -> None:
    repo = put(hub_server)
    job = alone.loras.fetch("ann/zib", subject="zib")
    held = {WEIGHTS_NAME: repo.keep(lora_bytes(1), lfs=True)}
    repo.commit(held, summary="another", author="ann")
    alone.work(idle_seconds=0.0)
    assert alone.loras.get(alone.wait(job).result["lora"]).path.read_bytes() == DATA


def test_what_is_no_lora_leaves_nothing(alone: Studio, site: Site) -> None:
    site.data = b"<html>not found</html>" * 10
    job = alone.loras.fetch(site.url, subject="ink")
    alone.work(idle_seconds=0.0)
    with pytest.raises(LoraRefused):
        alone.wait(job)
    assert parts(alone.settings.home) == 0
    assert alone.loras.all() == [] == alone.subjects.all()


def test_a_broken_line_is_gone_on_with_by_a_new_job(alone: Studio, site: Site) -> None:
    site.breaks = True
    job = alone.loras.fetch(site.url, subject="ink")
    alone.work(idle_seconds=0.0)
    with pytest.raises(VendorBusy):
        alone.wait(job)
    assert parts(alone.settings.home) == HALF
    site.breaks = False
    again = alone.resume(job)
    alone.work(idle_seconds=0.0)
    assert alone.loras.get(alone.wait(again).result["lora"]).path.read_bytes() == DATA
    assert site.asked[-1] == (f"bytes={HALF}-", f'"{hashlib.sha256(DATA).hexdigest()}"')
    assert parts(alone.settings.home) == 0


def test_a_worker_that_is_killed_while_it_fetches_loses_nothing(studio: Studio, home: Path, site: Site) -> None:
    site.holds = True
    job = studio.loras.fetch(site.url, subject="ink")
    until(lambda: parts(home) >= HALF)
    kill_all(home)
    here = parts(home)
    site.holds = False
    assert studio.wait(job).result == {"lora": "ink@v1"}
    assert studio.loras.get("ink@v1").path.read_bytes() == DATA
    assert [span for span, _ in site.asked] == ["", f"bytes={here}-"]
    assert parts(home) == 0


def test_a_job_is_stopped_while_it_fetches_and_goes_on_where_it_was(studio: Studio, home: Path, site: Site) -> None:
    site.holds = True
    job = studio.loras.fetch(site.url, subject="ink")
    until(lambda: parts(home) >= HALF)
    studio.cancel(job)
    with pytest.raises(Cancelled):
        studio.wait(job)
    here = parts(home)
    assert here >= HALF
    seen = studio.jobs.get(job.id).progress
    assert seen is not None
    assert (seen.total, seen.unit) == (len(DATA), "byte")
    site.holds = False
    assert studio.wait(studio.resume(job)).result == {"lora": "ink@v1"}
    assert [span for span, _ in site.asked] == ["", f"bytes={here}-"]


# --- whose token ----------------------------------------------------------------------------------------------------


def put(server: HuggingFaceStandIn, *, private: bool = False) -> HubRepo:
    repo = HubRepo("ann/zib", private, server.contents)
    repo.commit({WEIGHTS_NAME: repo.keep(DATA, lfs=True)}, summary="x", author="ann")
    server.repos["ann/zib"] = repo
    return repo


@pytest.fixture
def two(alone: Studio, monkeypatch: pytest.MonkeyPatch) -> tuple[Studio, Studio]:
    """The home as its admin sees it, and as another user does."""
    from argon2 import PasswordHasher

    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    for name in ("anna", "ben"):
        alone.members.add(name, f"{name}s long password")
    return alone.owned_by("anna"), alone.owned_by("ben")


def test_a_private_repo_of_the_home_is_for_its_admins(
    alone: Studio, two: tuple[Studio, Studio], hub_server: HuggingFaceStandIn
) -> None:
    put(hub_server, private=True)
    admin, other = two
    for ask in (
        lambda: other.loras.fetch("ann/zib", subject="his"),
        lambda: other.loras.adopt("ann/zib", subject="his"),
        lambda: other.loras.adopt(f"{hub_server.url}/ann/zib/resolve/main/{WEIGHTS_NAME}", subject="his"),
        lambda: describe(other._workspace, "ann/zib"),
        lambda: other.generations.offers("x", loras=["ann/zib"]),
        lambda: other.generate("x", loras=["ann/zib"], generator="local"),
    ):
        with pytest.raises(NotFound):
            ask()
    assert describe(admin._workspace, "ann/zib").base == "limner-tiny"
    assert alone.loras.adopt("ann/zib", subject="hers").name == "hers@v1"
    job = admin.loras.fetch("ann/zib", subject="hers")
    alone.work(idle_seconds=0.0)
    assert admin.wait(job).result == {"lora": "hers@v1"}
    assert other.loras.all() == []


def test_a_repo_that_was_closed_meanwhile_is_not_fetched_with_the_homes_token(
    alone: Studio, two: tuple[Studio, Studio], hub_server: HuggingFaceStandIn
) -> None:
    repo = put(hub_server)
    _, other = two
    job = other.loras.fetch("ann/zib", subject="his")
    repo.private = True
    alone.work(idle_seconds=0.0)
    with pytest.raises((NotFound, AccountRefused)):
        other.wait(job)
    repo.private = False
    again = other.resume(job)
    alone.work(idle_seconds=0.0)
    assert other.wait(again).result == {"lora": "his@v1"}
    assert [one.slug for one in other.subjects.all()] == ["his"]


def test_a_slug_of_another_user_is_refused_at_once(
    alone: Studio, two: tuple[Studio, Studio], hub_server: HuggingFaceStandIn
) -> None:
    put(hub_server)
    admin, other = two
    admin.subjects.add("hers", kind="style")
    with pytest.raises(Conflict, match="taken"):
        other.loras.fetch("ann/zib", subject="hers")
    assert alone.jobs.all() == []


def test_imports_wait_for_each_other_and_can_be_stopped_while_they_do(studio: Studio, home: Path, site: Site) -> None:
    site.holds = True
    several = [studio.loras.fetch(f"{site.url}?{n}", subject="ink") for n in range(lora_job.AT_ONCE + 1)]
    until(lambda: len(site.asked) == lora_job.AT_ONCE)
    until(lambda: sum((home / "runs" / job.id / WEIGHTS_NAME).exists() for job in several) == lora_job.AT_ONCE)
    (last,) = [job for job in several if not (home / "runs" / job.id / WEIGHTS_NAME).exists()]
    studio.cancel(last)
    with pytest.raises(Cancelled):
        studio.wait(last)
    site.holds = False
    site.over.set()
    # They are the same weights, so whichever comes first makes the version and the others give it.
    assert {studio.wait(job).result["lora"] for job in several if job.id != last.id} == {"ink@v1"}
