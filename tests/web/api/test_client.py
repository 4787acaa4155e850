"""The client: events followed through breaks, uploads gone on with, and nothing sent twice that is not safe."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest

from limner.client import Client
from limner.client.following import MOST_BREAKS
from limner.client.uploading import send_file
from limner.errors import Cancelled, InputRefused, LimnerError, StillDoing, VendorFailed, WorkFailed
from limner.store.models import JobRow, now
from limner.types import JobState
from limner.web import live
from tests.waiting import PATIENCE, until
from tests.web.api.conftest import Served
from tests.web.pictures_made import png

WISH = {"prompt": "a photo", "base": "limner-tiny", "generator": "local"}


def start(client: Client, *, key: str = "") -> Any:
    """The job of pictures that are asked for."""
    return client.post("/generations", WISH, key=key)["job"]


def end(served: Served, job: str, state: JobState, error: dict[str, str] | None = None) -> None:
    with served.app.state.studio._workspace.database.write() as session:
        row = session.get_one(JobRow, job)
        row.state, row.error, row.ended_at = state, error, now()


def test_a_job_is_followed_to_its_end_though_the_stream_breaks_off(
    client: Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_SECONDS", 0.2)
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.1)
    job = start(client)["id"]
    streams: list[str] = []
    stream = client.connection.stream

    def counted(path: str) -> object:
        streams.append(path)
        if len(streams) == 3:
            end(served, job, JobState.DONE)
        return stream(path)

    monkeypatch.setattr(client.connection, "stream", counted)
    seen = [one["state"] for one in client.follow(job)]
    assert seen == ["waiting", "done"]
    assert len(streams) >= 3


def test_waiting_raises_what_the_job_ended_with(client: Client, served: Served) -> None:
    done, failed, stopped = (start(client)["id"] for _ in range(3))
    error = {"code": "vendor-busy", "message": "It is too busy.", "remedy": "Wait.", "thing": "together"}
    later = threading.Timer(0.2, end, (served, done, JobState.DONE))
    later.start()
    assert client.wait(done)["state"] == "done"
    end(served, failed, JobState.FAILED, error)
    end(served, stopped, JobState.CANCELLED)
    with pytest.raises(WorkFailed, match="too busy") as raised:
        client.wait(failed)
    assert (raised.value.code, raised.value.remedy, raised.value.thing) == ("vendor-busy", "Wait.", "together")
    with pytest.raises(Cancelled):
        client.wait(stopped)


def test_the_stream_is_events_of_json_with_ids(served: Served, client: Client) -> None:
    job = start(client)["id"]
    end(served, job, JobState.DONE)
    headers = {"Authorization": f"Bearer {served.there.token}"}
    answer = httpx2.get(f"{served.url}/api/v1/jobs/{job}/events", headers=headers, timeout=PATIENCE)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.text.split("\n")
    assert "id: 1" in lines and "event: end" in lines
    assert any(line.startswith('data: {"id":"' + job) for line in lines)
    other = {"Authorization": f"Bearer {_strangers_token(served)}"}
    assert httpx2.get(f"{served.url}/api/v1/jobs/{job}/events", headers=other).status_code == 404


def _strangers_token(served: Served) -> str:
    members = served.app.state.studio.members
    members.add("otto", "a long pass phrase")
    secret: str = members.add_token("otto's", owner="otto").secret
    return secret


class Breaking(httpx2.BaseTransport):
    """Does what is asked, and then breaks the connection off, or does not connect at all, so many times."""

    def __init__(
        self, method: str, times: int, *, after: bool = True, failure: type[Exception] = httpx2.ReadError
    ) -> None:
        self._real = httpx2.HTTPTransport()
        self.method, self.left, self.after, self.failure = method, times, after, failure
        self.sent: list[httpx2.Request] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request)
        breaks = request.method == self.method and self.left > 0
        if breaks and not self.after:
            self.left -= 1
            raise self.failure("broken")
        answer = self._real.handle_request(request)
        if breaks:
            self.left -= 1
            answer.read()
            raise self.failure("broken")
        return answer

    def of(self, method: str) -> list[httpx2.Request]:
        return [one for one in self.sent if one.method == method]


def through(served: Served, transport: Breaking) -> Client:
    return Client(served.url, token=served.there.token, transport=transport)


def test_a_post_whose_answer_was_lost_is_sent_again_with_its_key_and_done_once(served: Served, client: Client) -> None:
    before = len(list(client.items("/jobs")))
    transport = Breaking("POST", 2)
    with through(served, transport) as broken:
        made = start(broken)
    assert made["state"] == "waiting"
    keys = {one.headers["Idempotency-Key"] for one in transport.of("POST")}
    assert len(transport.of("POST")) == 3 and len(keys) == 1
    assert len(list(client.items("/jobs"))) == before + 1


def test_what_stayed_lost_can_be_asked_for_again_with_its_key(served: Served, client: Client) -> None:
    before = len(list(client.items("/jobs")))
    with through(served, Breaking("POST", 9)) as broken:
        with pytest.raises(VendorFailed, match="key='") as lost:
            start(broken)
        (key,) = re.findall(r"key='(\w+)'", lost.value.remedy)
        with pytest.raises(VendorFailed, match="key='mine-mine'"):
            start(broken, key="mine-mine")
    first, again, mine = start(client, key=key), start(client, key=key), start(client, key="mine-mine")
    assert first["id"] == again["id"] != mine["id"]
    assert len(list(client.items("/jobs"))) == before + 2


def test_an_answer_that_is_still_being_made_is_waited_for(served: Served, client: Client) -> None:
    busy = httpx2.Response(409, json=StillDoing("In whatever words.").as_problem())

    class Busy(Breaking):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            self.sent.append(request)
            return busy if len(self.sent) <= 20 else self._real.handle_request(request)

    transport = Busy("POST", 0)
    with through(served, transport) as patient:
        assert start(patient)["state"] == "waiting"
    assert len({one.headers["Idempotency-Key"] for one in transport.sent}) == 1


def test_a_job_that_stays_as_it_is_is_followed_for_as_long_as_it_takes(
    client: Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_SECONDS", 0.01)
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.005)
    job, streams, stream = start(client)["id"], 0, client.connection.stream

    def counted(path: str) -> object:
        nonlocal streams
        streams += 1
        if streams == 3 * MOST_BREAKS:
            end(served, job, JobState.DONE)
        return stream(path)

    monkeypatch.setattr(client.connection, "stream", counted)
    assert [one["state"] for one in client.follow(job)] == ["waiting", "done"]


def test_a_file_that_was_made_goes_with_its_answer(
    served: Served, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lora = next(client.items("/loras"))
    address = f"{served.url}/api/v1/loras/{lora['name']}/file"
    headers = {"Authorization": f"Bearer {served.there.token}"}
    whole = httpx2.get(address, headers=headers)
    size, tag = len(whole.content), whole.headers["etag"]
    part = httpx2.get(address, headers={**headers, "Range": "bytes=8-15", "If-Range": tag})
    assert (part.status_code, part.content) == (206, whole.content[8:16])
    for wanted, status in ((f"bytes={size}-", 416), ("bytes=zz", 400)):
        refused = httpx2.get(address, headers={**headers, "Range": wanted})
        assert refused.status_code == refused.json()["status"] == status
        assert refused.headers["content-type"] == "application/problem+json"
    with httpx2.stream("GET", address, headers=headers):
        pass  # a reader that goes away at once
    until(lambda: not any(tmp_path.glob("limner-download-*")))


def test_what_is_not_safe_is_not_sent_again(served: Served) -> None:
    transport = Breaking("DELETE", 1)
    with through(served, transport) as broken, pytest.raises(VendorFailed, match="cannot be reached"):
        broken.change("DELETE", "/subjects/nobody")
    assert len(transport.of("DELETE")) == 1
    transport = Breaking("DELETE", 1, after=False, failure=httpx2.ConnectError)
    with through(served, transport) as broken, pytest.raises(LimnerError, match="nobody"):
        broken.change("DELETE", "/subjects/nobody")
    assert len(transport.of("DELETE")) == 2
    transport = Breaking("GET", 3)
    with through(served, transport) as broken:
        assert broken.get("/subjects/zib")["slug"] == "zib"
    transport = Breaking("GET", 9)
    with through(served, transport) as broken, pytest.raises(VendorFailed):
        broken.get("/subjects/zib")
    assert len(transport.of("GET")) == 4


def photos(folder: Path) -> list[Path]:
    made = []
    for number in range(3):
        path = folder / f"photo {number}.png"
        path.write_bytes(png(number, size=(400, 300), text=str(number)))
        made.append(path)
    return made


@pytest.mark.parametrize("after", [True, False])
def test_an_upload_goes_on_where_it_broke_off(
    served: Served, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    monkeypatch.setattr("limner.client.uploading.PIECE", 300)
    slug = f"up-{str(after).lower()}"
    client.post("/subjects", {"slug": slug, "kind": "pet"})
    transport = Breaking("PATCH", 2, after=after)
    told: list[tuple[str, int, int]] = []
    with through(served, transport) as broken:
        job = broken.add_photos(slug, photos(tmp_path), on_progress=lambda *said: told.append(said))
    assert job["kind"] == "intake" and job["state"] == "waiting"
    assert not served.app.state.studio.uploads.pending(slug)
    assert {name for name, at, size in told if at == size} == {f"photo {number}.png" for number in range(3)}
    assert len(transport.of("HEAD")) == 2


@pytest.mark.parametrize("after", [True, False])
def test_an_announcement_that_was_lost_is_sent_again_and_is_one_upload(
    served: Served, client: Client, tmp_path: Path, after: bool
) -> None:
    slug = f"told-{str(after).lower()}"
    client.post("/subjects", {"slug": slug, "kind": "pet"})
    batch = client.post("/uploads/batches", {"subject": slug})["id"]
    transport = Breaking("POST", 2, after=after)
    with through(served, transport) as broken:
        send_file(broken.connection, slug, batch, photos(tmp_path)[0], position=0)
    sent = transport.of("POST")
    assert len(sent) == 3 and not any("Idempotency-Key" in one.headers for one in sent)
    assert len(client.get(f"/uploads/batches/{batch}")["uploads"]) == 1


def test_a_batch_is_gone_on_with_by_another_client(served: Served, client: Client, tmp_path: Path) -> None:
    client.post("/subjects", {"slug": "later", "kind": "pet"})
    first, second, third = photos(tmp_path)
    batch = client.post("/uploads/batches", {"subject": "later"})["id"]
    sent = send_file(client.connection, "later", batch, first, position=0)
    assert client.get(f"/uploads/{sent}")["whole"]
    assert [one["id"] for one in client.get("/uploads", subject="later")] == [batch]
    job = client.add_photos("later", [first, second, third], batch=batch)
    assert client.post(f"/uploads/batches/{batch}/commit", {"count": 3})["id"] == job["id"]
    assert [one["name"] for one in client.get(f"/uploads/batches/{batch}")["uploads"]] == [
        first.name,
        second.name,
        third.name,
    ]
    with pytest.raises(InputRefused):
        client.add_photos("later", [tmp_path / "gone.png"])
    with pytest.raises(InputRefused):
        client.add_photos("later", [])


def test_an_answer_that_is_none_of_ours_is_said_to_be() -> None:
    proxy = httpx2.MockTransport(lambda request: httpx2.Response(404, text="<h1>nginx</h1>"))
    with (
        Client("http://localhost", transport=proxy) as client,
        pytest.raises(VendorFailed, match="no problem of Limner"),
    ):
        client.get("/subjects/zib")
    busy = httpx2.MockTransport(lambda request: httpx2.Response(503, text="busy"))
    with Client("http://localhost", transport=busy) as client, pytest.raises(VendorFailed):
        client.get("/subjects/zib")


def test_a_client_needs_no_server_code() -> None:
    heavy = ("fastapi", "starlette", "sqlalchemy", "torch")
    code = f"import sys, limner.client; print([one for one in {heavy} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_jobs_are_given_up_when_the_server_stays_away() -> None:
    def gone(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with Client("http://localhost", transport=httpx2.MockTransport(gone)) as client, pytest.raises(VendorFailed):
        next(client.follow("job_1"))
