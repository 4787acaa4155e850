"""Live: one look for many readers, the newest only for slow ones, streams that end, and ones that come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from PIL import Image

from limner.errors import NotFound, StorageFailed
from limner.operations.jobs import lifecycle
from limner.settings import Settings
from limner.studio import Studio
from limner.types import JobState, Progress
from limner.web import live
from limner.web.access import Rules, Visitor
from limner.web.access.doorkeeper import Doorkeeper
from limner.web.app import create_app
from limner.web.live import Following, Sent, event_stream, following
from tests.stage_requests import StoredRequest
from tests.waiting import PATIENCE

from .access_bench import PASSWORDS, csrf, guarded, members, visiting  # noqa: F401


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.005)
    yield


def a_job(studio: Studio) -> str:
    with studio._workspace.database.write() as session:
        return lifecycle.add_job(session, kind="intake", stages=[StoredRequest("intake")], subject=None).id


def report(studio: Studio, job: str, done: int) -> None:
    lifecycle.JobProgress(studio._workspace.database, job).report(Progress("intake", done, 100))


def finish(studio: Studio, job: str) -> None:
    database = studio._workspace.database
    lifecycle.start_stage(database, job, 0)
    lifecycle.end_stage(database, job, 0, result={})
    lifecycle.end_job(database, job)


async def eventually(told: Any, *, seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not told():
            await asyncio.sleep(0.005)


def test_a_job_is_given_at_once_on_change_and_until_it_has_ended(studio: Studio) -> None:
    async def follow() -> list[tuple[str, int]]:
        job, seen = a_job(studio), []
        async with following(studio) as it:
            async for current in it.job(job):
                seen.append((current.state.value, current.progress.done if current.progress else 0))
                if len(seen) == 1:
                    await asyncio.to_thread(report, studio, job, 40)
                elif len(seen) == 2:
                    await asyncio.to_thread(finish, studio, job)
        return seen

    seen = asyncio.run(asyncio.wait_for(follow(), PATIENCE))
    assert seen[0] == ("waiting", 0)
    assert seen[1] == ("waiting", 40)
    assert seen[-1][0] == JobState.DONE


def test_many_readers_share_one_look_and_nobody_looks_when_nothing_changes(studio: Studio) -> None:
    looks = 0

    def look() -> int:
        nonlocal looks
        looks += 1
        return 1

    async def follow() -> tuple[int, int]:
        async with following(studio) as it:
            readers = [it.follow("key", look, lambda _: False, lambda _: False) for _ in range(20)]
            given = [await anext(reader) for reader in readers]
            before = looks
            await asyncio.sleep(0.15)  # some thirty looks at the database, none at the thing
            for reader in readers:
                await reader.aclose()  # type: ignore[attr-defined]
            assert given == [1] * 20
            return before, looks

    before, after = asyncio.run(follow())
    assert before <= 2
    assert after == before


def test_a_slow_reader_is_given_only_what_is_newest(studio: Studio) -> None:
    async def follow() -> list[int]:
        job, seen = a_job(studio), []
        async with following(studio) as it:
            source = it.job(job)
            await anext(source)
            for done in range(1, 8):
                await asyncio.to_thread(report, studio, job, done * 10)
                await eventually(lambda done=done: _done(it) == done * 10)  # type: ignore[misc]
            current = await anext(source)
            seen.append(current.progress.done if current.progress else 0)
            await source.aclose()  # type: ignore[attr-defined]
        return seen

    assert asyncio.run(asyncio.wait_for(follow(), PATIENCE)) == [70]


def _done(it: Following) -> int:
    progress = next(iter(it._topics.values())).value.progress
    return progress.done if progress else 0


def test_the_poller_rests_when_nobody_follows_and_starts_again(studio: Studio) -> None:
    async def follow() -> None:
        job = a_job(studio)
        async with following(studio) as it:
            for _ in range(2):
                source = it.job(job)
                await anext(source)
                assert it._poller is not None
                assert not it._poller.done()
                await source.aclose()  # type: ignore[attr-defined]
                await eventually(it._poller.done)
                assert not it._topics

    asyncio.run(asyncio.wait_for(follow(), PATIENCE))


def test_a_worker_is_seen_to_while_a_job_is_followed_and_not_for_what_has_no_work(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensured = 0

    def ensure_worker() -> None:
        nonlocal ensured
        ensured += 1

    monkeypatch.setattr(studio._workspace, "ensure_worker", ensure_worker)

    async def follow() -> None:
        async with following(studio) as it:
            idle = it.follow("idle", lambda: 1, lambda _: False, lambda _: False)
            await anext(idle)
            await asyncio.sleep(0.05)
            assert not ensured
            source = it.job(a_job(studio))
            await anext(source)
            await eventually(lambda: ensured)

    asyncio.run(asyncio.wait_for(follow(), PATIENCE))


def test_what_is_erased_while_it_is_followed_ends_the_following(studio: Studio) -> None:
    gone = False

    def look() -> int:
        if gone:
            raise NotFound("There is no such thing.")
        return 1

    async def follow() -> None:
        nonlocal gone
        async with following(studio) as it:
            source = it.follow("thing", look, lambda _: False)
            assert await anext(source) == 1
            gone = True
            await asyncio.to_thread(a_job, studio)
            with pytest.raises(NotFound):
                await anext(source)

    asyncio.run(asyncio.wait_for(follow(), PATIENCE))


def test_a_look_that_fails_is_taken_again(studio: Studio) -> None:
    tries = 0

    def look() -> int:
        nonlocal tries
        tries += 1
        if tries in (1, 3):
            raise StorageFailed("The database is locked by another process.")
        return tries

    async def follow() -> list[int]:
        async with following(studio) as it:
            source = it.follow("thing", look, lambda value: value > 2)
            seen = [await anext(source)]
            await asyncio.to_thread(a_job, studio)
            return [*seen, *[value async for value in source]]

    assert asyncio.run(asyncio.wait_for(follow(), PATIENCE)) == [2, 4]


def test_a_look_that_is_broken_does_not_keep_others_from_being_looked_at(studio: Studio) -> None:
    async def follow() -> int:
        async with following(studio) as it:
            broken = asyncio.ensure_future(anext(it.follow("broken", lambda: 1 // 0, lambda _: False)))
            value = await anext(it.follow("thing", lambda: 7, lambda _: False))
            assert not broken.done()
            broken.cancel()
            return value

    assert asyncio.run(asyncio.wait_for(follow(), PATIENCE)) == 7


# --- streams ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def streaming(studio: Studio) -> AsyncIterator[tuple[Request, Following]]:
    app = FastAPI()
    app.state.doorkeeper = Doorkeeper(studio, Rules())
    async with following(studio) as it:
        app.state.live = it
        yield Request({"type": "http", "app": app, "headers": [], "state": {"visitor": Visitor()}}), it


def test_a_stream_numbers_its_messages_and_says_its_end(studio: Studio) -> None:
    async def read() -> bytes:
        job = a_job(studio)
        await asyncio.to_thread(finish, studio, job)
        async with streaming(studio) as (request, it):
            answer = event_stream(request, it.job(job), lambda job: f"<p>\n{job.state}</p>")
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            return b"".join([part async for part in answer.body_iterator])  # type: ignore[misc]

    body = asyncio.run(asyncio.wait_for(read(), PATIENCE))
    assert body == b"retry: 1000\n\ndata: <p>\ndata: done</p>\nid: 1\n\nevent: end\ndata: end\nid: 2\n\n"


def test_a_carriage_return_cannot_forge_a_message() -> None:
    assert Sent("a\r\nevent: end\rdata: b").wire(3) == b"data: a\ndata: event: end\ndata: data: b\nid: 3\n\n"


def test_a_heartbeat_comes_while_nothing_changes(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.02)

    async def read() -> list[bytes]:
        async with streaming(studio) as (request, it):
            parts = event_stream(request, it.job(a_job(studio)), lambda job: job.state.value).body_iterator
            found = [await anext(parts) for _ in range(4)]
            await parts.aclose()  # type: ignore[attr-defined]
            assert not it._topics
            return found  # type: ignore[return-value]

    parts = asyncio.run(asyncio.wait_for(read(), PATIENCE))
    assert parts[2:] == [b": still here\n\n"] * 2


def test_streams_end_when_the_server_stops_without_saying_that_the_job_has_ended(studio: Studio) -> None:
    async def read() -> bytes:
        async with streaming(studio) as (request, it):
            parts = event_stream(request, it.job(a_job(studio)), lambda job: job.state.value).body_iterator
            found = [await anext(parts), await anext(parts)]
            it.stop()
            return b"".join([*found, *[part async for part in parts]])  # type: ignore[list-item]

    body = asyncio.run(asyncio.wait_for(read(), PATIENCE))
    assert b"data: waiting" in body
    assert b"event: end" not in body


def test_a_stream_ends_in_time_so_that_the_browser_is_asked_again_who_it_is(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_SECONDS", 0.05)
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.02)

    async def read() -> bytes:
        async with streaming(studio) as (request, it):
            answer = event_stream(request, it.job(a_job(studio)), lambda job: job.state.value)
            return b"".join([part async for part in answer.body_iterator])  # type: ignore[misc]

    assert b"event: end" not in asyncio.run(asyncio.wait_for(read(), PATIENCE))


@pytest.mark.parametrize("way", ["logout", "everywhere", "password", "token"])
def test_a_stream_ends_with_the_session_or_token_of_its_reader(
    guarded: FastAPI,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.02)
    with visiting(guarded) as client, ThreadPoolExecutor(1) as threads:
        client.log_in("anna")
        made = guarded.state.studio.owned_by("anna").members.add_token("reader", scopes=["read"])
        bearer = {"Authorization": f"Bearer {made.secret}"} if way == "token" else {}
        form = {"csrf_token": csrf(client.get("/settings/tokens").text)}
        reading = threads.submit(client.get, "/jobs/live", headers=bearer)
        try:
            asyncio.run(eventually(lambda: guarded.state.live._topics))
            if way == "token":
                client.post(f"/settings/tokens/{made.token.id}/remove", data=form)
            elif way == "password":
                passwords = {"old": PASSWORDS["anna"], "password": "annas new password"}
                client.post("/settings/password", data=form | passwords)
            else:
                client.post("/logout", data=form | ({"everywhere": "yes"} if way == "everywhere" else {}))
            answer = reading.result(timeout=PATIENCE)
        finally:
            guarded.state.live.stop()
        assert answer.status_code == 200
        assert "event: end" not in answer.text, "the browser comes again, and is asked to log in"


def test_a_job_that_nobody_watches_goes_on_as_soon_as_a_server_lives(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Studio(settings=Settings(home=home, start_worker=False)) as left_behind:
        left_behind.subjects.add("rex", kind="pet")
        picture = tmp_path / "rex.png"
        Image.new("RGB", (640, 640), "red").save(picture)
        job = left_behind.photos.add("rex", [picture])
        assert job.state is JobState.WAITING
        app = create_app(Settings(home=home, worker_idle_seconds=1))
        with TestClient(app, base_url="http://localhost"):
            asyncio.run(eventually(lambda: left_behind.jobs.get(job.id).state.ended, seconds=60))
        assert left_behind.jobs.get(job.id).state is JobState.DONE
