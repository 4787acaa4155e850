"""Webhooks: who is told, signed as the standard says, sent by one, tried again, and never into a network."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from limner.errors import Conflict, InputRefused, NotFound
from limner.operations.jobs import lifecycle
from limner.operations.webhooks import actions
from limner.operations.webhooks import delivery as delivering
from limner.operations.webhooks.delivery import PAUSES, deliver_due
from limner.records import Delivery
from limner.settings import Settings
from limner.stand_ins.serving import serve
from limner.store.models import now
from limner.store.web_models import DeliveryRow
from limner.studio import Studio
from limner.types import JobState
from limner.vendors.http.standard_webhooks import verify
from tests.stage_requests import StoredRequest
from tests.waiting import PATIENCE


class Receiver:
    """A server that keeps what it is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.took: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.answers: list[int] = []
        self.headers: dict[str, str] = {}
        self.app = Starlette(routes=[Route("/{rest:path}", self.take, methods=["GET", "POST"])])

    async def take(self, request: Request) -> Response:
        self.paths.append(f"{request.method} {request.url.path}")
        self.took.append((dict(request.headers), await request.body()))
        return Response(status_code=self.answers.pop(0) if self.answers else 204, headers=self.headers)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    settings = Settings(home=tmp_path / "home", start_worker=False, webhooks_to_loopback=True)
    with Studio(settings=settings) as made:
        made.subjects.add("zibbo", kind="character")
        yield made


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def url(receiver: Receiver) -> Iterator[str]:
    with serve(receiver.app) as made:
        yield f"{made}/hook"


def happen(studio: Studio, *states: JobState, owner: str | None = None) -> str:
    """A job that goes through some states, as the pipeline lets it; its id."""
    database = studio._workspace.database
    with database.write() as session:
        job = lifecycle.add_job(
            session,
            kind="train",
            stages=[StoredRequest("train", prompt="a secret wish")],
            subject="zibbo",
            target="training_1",
            owner=owner,
        ).id
    for state in states:
        if state is JobState.RUNNING:
            lifecycle.start_stage(database, job, 0)
        elif state is JobState.DONE:
            lifecycle.end_stage(database, job, 0, result={})
            lifecycle.end_job(database, job)
    return job


DONE = (JobState.RUNNING, JobState.DONE)


def only(studio: Studio, webhook: str) -> Delivery:
    (found,) = studio.webhooks.deliveries(webhook)
    return found


def due_now(studio: Studio) -> None:
    with studio._workspace.database.write() as session:
        session.execute(update(DeliveryRow).values(next_at=now() - timedelta(seconds=1)))


def test_a_message_is_signed_and_says_what_happened(studio: Studio, receiver: Receiver, url: str) -> None:
    made = studio.webhooks.add(url)
    job = happen(studio, *DONE)
    assert deliver_due(studio._workspace) == 1
    ((headers, body),) = receiver.took
    signed = verify(made.secret, headers, body)
    assert made.secret.startswith("whsec_")
    told = json.loads(body)
    assert told["type"] == "job.done"
    assert told["data"] == {
        "job": job,
        "kind": "train",
        "state": "done",
        "subject": "zibbo",
        "target": "training_1",
    }
    assert b"secret wish" not in body
    sent = only(studio, made.webhook.id)
    assert (sent.state, sent.status, sent.attempts, sent.message) == ("delivered", 204, 1, signed.id)
    assert deliver_due(studio._workspace) == 0


def test_only_wanted_events_are_told(studio: Studio, receiver: Receiver, url: str) -> None:
    all_of_them = studio.webhooks.add(url, actions.EVENTS).webhook
    failed = studio.webhooks.add(url + "/failed", ["job.failed"]).webhook
    happen(studio, *DONE)
    assert [one.event for one in studio.webhooks.deliveries(all_of_them.id)] == [
        "job.done",
        "job.running",
        "job.waiting",
    ]
    assert studio.webhooks.deliveries(failed.id) == []
    while deliver_due(studio._workspace):
        pass
    assert set(receiver.paths) == {"POST /hook"}
    assert len(receiver.took) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.took}) == 3


def test_what_is_not_taken_is_tried_again_under_the_same_id(studio: Studio, receiver: Receiver, url: str) -> None:
    made = studio.webhooks.add(url)
    receiver.answers = [500, 503, 204]
    happen(studio, *DONE)
    assert deliver_due(studio._workspace) == 1
    first = only(studio, made.webhook.id)
    assert (first.state, first.status) == ("waiting", 500)
    assert timedelta(seconds=3) < first.next_at - now() <= PAUSES[0]
    assert deliver_due(studio._workspace) == 0  # not due yet
    due_now(studio)
    assert deliver_due(studio._workspace) == 1
    assert only(studio, made.webhook.id).next_at - now() > timedelta(minutes=4)
    due_now(studio)
    assert deliver_due(studio._workspace) == 1
    assert only(studio, made.webhook.id).state == "delivered"
    assert len({headers["webhook-id"] for headers, _ in receiver.took}) == 1
    for headers, body in receiver.took:
        verify(made.secret, headers, body)


def test_in_the_end_it_is_given_up_and_can_be_sent_once_more(studio: Studio, receiver: Receiver, url: str) -> None:
    made = studio.webhooks.add(url)
    receiver.answers = [500] * (len(PAUSES) + 1)
    happen(studio, *DONE)
    for _ in range(len(PAUSES) + 1):
        assert only(studio, made.webhook.id).state == "waiting"
        due_now(studio)
        assert deliver_due(studio._workspace) == 1
    lost = only(studio, made.webhook.id)
    assert (lost.state, lost.attempts) == ("given-up", len(PAUSES) + 1)
    assert studio.webhooks.get(made.webhook.id).given_up == 1
    studio.webhooks.again(made.webhook.id, lost.id)
    assert deliver_due(studio._workspace) == 1
    assert only(studio, made.webhook.id).state == "delivered"


def test_gone_switches_it_off(studio: Studio, receiver: Receiver, url: str) -> None:
    made = studio.webhooks.add(url)
    receiver.answers = [410]
    happen(studio, *DONE)
    with studio._workspace.database.read() as session:
        first = session.scalars(select(DeliveryRow.id)).one()
    happen(studio, *DONE)
    assert delivering._deliver(studio._workspace, first)
    assert not studio.webhooks.get(made.webhook.id).active
    assert {one.state for one in studio.webhooks.deliveries(made.webhook.id)} == {"given-up"}
    happen(studio, *DONE)
    assert len(studio.webhooks.deliveries(made.webhook.id)) == 2
    assert len(receiver.took) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(studio: Studio, receiver: Receiver, url: str, status: int) -> None:
    made = studio.webhooks.add(url)
    receiver.answers, receiver.headers = [status], {"location": url + "/elsewhere"}
    happen(studio, *DONE)
    deliver_due(studio._workspace)
    assert receiver.paths == ["POST /hook"]
    assert only(studio, made.webhook.id).state == "waiting"


def test_each_message_is_sent_by_one_of_many(studio: Studio, receiver: Receiver, url: str) -> None:
    studio.webhooks.add(url)
    for _ in range(12):
        happen(studio, *DONE)
    ready = threading.Barrier(4)

    def work() -> None:
        with Studio(settings=studio.settings) as other:
            ready.wait()
            while deliver_due(other._workspace):
                pass

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(receiver.took) == 12
    assert len({headers["webhook-id"] for headers, _ in receiver.took}) == 12


def test_a_process_that_died_while_sending_costs_a_minute(studio: Studio, receiver: Receiver, url: str) -> None:
    made = studio.webhooks.add(url)
    happen(studio, *DONE)
    message = only(studio, made.webhook.id)
    assert delivering._claim(studio._workspace, message.id)  # and then it dies
    assert deliver_due(studio._workspace) == 0
    assert only(studio, made.webhook.id).next_at - now() <= delivering.CLAIMED
    due_now(studio)
    with Studio(settings=studio.settings) as after_a_restart:
        assert deliver_due(after_a_restart._workspace) == 1
    assert only(studio, made.webhook.id).state == "delivered"


def test_a_thread_delivers_what_comes(studio: Studio, receiver: Receiver, url: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(delivering, "LOOK_SECONDS", 0.02)
    taken = threading.Event()
    real = delivering._record

    def record(*given: Any) -> None:
        real(*given)
        taken.set()

    monkeypatch.setattr(delivering, "_record", record)
    made = studio.webhooks.add(url)
    with studio.webhooks.delivering():
        happen(studio, *DONE)
        assert taken.wait(PATIENCE)
    assert only(studio, made.webhook.id).state == "delivered"


def test_a_server_without_an_answer_is_not_waited_for(studio: Studio, monkeypatch: Any) -> None:
    import socket

    monkeypatch.setattr(delivering, "SECONDS", 0.3)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        made = studio.webhooks.add(f"http://127.0.0.1:{deaf.getsockname()[1]}/hook")
        happen(studio, *DONE)
        assert deliver_due(studio._workspace) == 1
    lost = only(studio, made.webhook.id)
    assert (lost.state, lost.status) == ("waiting", None)
    assert "cannot be reached" in lost.note


def test_a_test_message_is_signed_and_says_what_it_was_answered(studio: Studio, receiver: Receiver, url: str) -> None:
    made = studio.webhooks.add(url)
    receiver.answers = [204, 404]
    assert studio.webhooks.test(made.webhook.id).ok
    headers, body = receiver.took[0]
    verify(made.secret, headers, body)
    assert json.loads(body)["type"] == "webhook.test"
    refused = studio.webhooks.test(made.webhook.id)
    assert (refused.ok, refused.status) == (False, 404)


def test_secrets_are_each_webhooks_own_and_stay(studio: Studio, url: str) -> None:
    one, two = studio.webhooks.add(url), studio.webhooks.add(url + "/2")
    assert one.secret != two.secret
    with Studio(settings=studio.settings) as later:
        assert later.webhooks.secret(one.webhook.id) == one.secret


def test_removed_and_switched_off_ones_are_told_nothing(studio: Studio, receiver: Receiver, url: str) -> None:
    gone, off = studio.webhooks.add(url).webhook, studio.webhooks.add(url + "/off").webhook
    happen(studio, *DONE)
    studio.webhooks.remove(gone.id)
    studio.webhooks.set_active(off.id, False)
    happen(studio, *DONE)
    assert deliver_due(studio._workspace) == 0
    assert receiver.took == []
    with pytest.raises(NotFound):
        studio.webhooks.get(gone.id)
    assert [one.state for one in studio.webhooks.deliveries(off.id)] == ["given-up"]


def test_each_user_is_told_of_their_own_jobs_only(studio: Studio, receiver: Receiver, url: str) -> None:
    studio.members.add("anna", "a long password")
    studio.members.add("ben", "another long password")
    anna, ben = studio.owned_by("anna"), studio.owned_by("ben")
    hers, his = anna.webhooks.add(url).webhook, ben.webhooks.add(url).webhook
    assert [one.id for one in ben.webhooks.all()] == [his.id]
    with pytest.raises(NotFound):
        ben.webhooks.secret(hers.id)
    happen(studio, *DONE, owner="anna")
    assert len(anna.webhooks.deliveries(hers.id)) == 1
    assert ben.webhooks.deliveries(his.id) == []


def test_what_cannot_be_used_is_refused(studio: Studio, url: str) -> None:
    for bad in (
        "",
        "no address",
        "ftp://example.org/x",
        "https://",
        "https://user:pw@1.1.1.1/",
        "javascript:1",
        "x" * 9999,
    ):
        with pytest.raises(InputRefused):
            studio.webhooks.add(bad)
    with pytest.raises(InputRefused, match=r"job\.exploded"):
        studio.webhooks.add(url, ["job.exploded"])
    with pytest.raises(InputRefused):
        studio.webhooks.add(url, [])
    studio.webhooks.add(url)
    with pytest.raises(Conflict):
        studio.webhooks.add(url)


def test_the_worker_delivers_what_its_jobs_tell(
    studio: Studio, receiver: Receiver, url: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(delivering, "LOOK_SECONDS", 0.02)
    made = studio.webhooks.add(url)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"no photo")
    job = studio.photos.add("zibbo", [tmp_path / "photos"])
    assert studio.work(idle_seconds=1.0)
    assert studio.jobs.get(job.id).state.ended
    ((headers, body),) = receiver.took
    verify(made.secret, headers, body)
    assert json.loads(body)["data"]["job"] == job.id


def test_what_cannot_be_sent_for_an_unknown_reason_is_an_attempt_and_ends(
    studio: Studio, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = studio.webhooks.add(url).webhook
    happen(studio, *DONE)

    async def broken(*_: object, **__: object) -> int:
        raise UnicodeEncodeError("ascii", "x", 0, 1, "planted")

    monkeypatch.setattr("limner.vendors.http.public_web.PublicWeb.post", broken)
    assert not studio.webhooks.test(made.id).ok
    for number in range(len(PAUSES) + 1):
        assert deliver_due(studio._workspace) == 1, number
        due_now(studio)
    assert deliver_due(studio._workspace) == 0
    sent = only(studio, made.id)
    assert (sent.state, sent.attempts, sent.status) == ("given-up", len(PAUSES) + 1, None)
    assert "UnicodeEncodeError" in sent.note


def test_an_international_name_can_be_told(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2

    from limner.vendors.http import public_web

    found = [(2, 1, 6, "", ("1.1.1.1", 443))]
    monkeypatch.setattr(public_web.socket, "getaddrinfo", lambda *_, **__: found)
    hosts: list[str] = []

    def stream(self: Any, method: str, url: Any, **options: Any) -> Any:
        hosts.append(options["headers"]["host"].encode("ascii").decode())
        raise httpx2.ConnectError("far enough")

    monkeypatch.setattr(httpx2.AsyncClient, "stream", stream)
    made = studio.webhooks.add("https://b\u00fccher.example/hook").webhook
    assert "cannot be reached" in studio.webhooks.test(made.id).note
    happen(studio, *DONE)
    assert deliver_due(studio._workspace) == 1
    assert "cannot be reached" in only(studio, made.id).note
    assert hosts == ["xn--bcher-kva.example"] * 2
