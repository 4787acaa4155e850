"""The receiver of webhooks on a real socket: it wakes for the vendor, and for nobody else."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator

import httpx2
import pytest

from limner.errors import VendorFailed
from limner.operations.jobs import vendor_webhook_app as webhooks
from limner.operations.jobs.vendor_webhook_app import webhook_app
from limner.stand_ins.replicate.webhooks import sign
from limner.stand_ins.serving import serve

KEY = "whsec_" + base64.b64encode(b"a key of the tests").decode()
OTHER = "whsec_" + base64.b64encode(b"another key").decode()


class Hooks:
    def __init__(self) -> None:
        self.woken: list[str] = []
        self.keys = [KEY]
        self.asked = 0
        self.url = ""

    async def secret(self) -> str:
        self.asked += 1
        if not self.keys:
            raise VendorFailed("Replicate cannot be reached.")
        return self.keys[0]

    def post(
        self,
        body: bytes = b"{}",
        *,
        training: str = "training_1",
        key: str = KEY,
        message: str = "msg_1",
        age: int = 0,
        **headers: str,
    ) -> int:
        signed = sign(key, message, int(time.time()) - age, body)
        signed |= {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.post(f"{self.url}/webhooks/replicate/{training}", content=body, headers=signed).status_code


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    made = Hooks()
    with serve(webhook_app(made.secret, made.woken.append)) as url:
        made.url = url
        yield made


def test_a_signed_message_wakes_its_training_once(hooks: Hooks) -> None:
    body = json.dumps({"id": "x", "status": "succeeded"}).encode()
    assert [hooks.post(body), hooks.post(body), hooks.post(body)] == [204, 204, 204]
    assert hooks.woken == ["training_1"]
    assert hooks.post(body, message="msg_2") == 204
    assert hooks.post(body, training="training_2") == 204
    assert hooks.woken == ["training_1", "training_1", "training_2"] and hooks.asked == 1


def test_disorder_and_nonsense_in_a_signed_body_are_harmless(hooks: Hooks) -> None:
    for number, body in enumerate((b"", b"not json", b'{"status": "failed"}', b"\xff" * 100)):
        assert hooks.post(body, message=f"msg_{number}", age=number * 60) == 204
    assert hooks.woken == ["training_1"] * 4


def test_what_is_not_signed_by_the_vendor_wakes_nobody(hooks: Hooks) -> None:
    assert hooks.post(key=OTHER) == 401
    assert hooks.post(age=400) == 401
    assert hooks.post(age=-400) == 401
    assert hooks.post(webhook_signature="v1,AAAA") == 401
    assert hooks.post(webhook_signature="nonsense") == 401
    assert hooks.post(webhook_id="msg_9") == 401
    assert httpx2.post(f"{hooks.url}/webhooks/replicate/training_1", content=b"{}").status_code == 401
    assert httpx2.get(f"{hooks.url}/webhooks/replicate/training_1").status_code == 405
    assert hooks.woken == []


def test_a_changed_body_is_refused(hooks: Hooks) -> None:
    headers = sign(KEY, "msg_1", int(time.time()), b'{"status": "starting"}')
    answer = httpx2.post(f"{hooks.url}/webhooks/replicate/t", content=b'{"status": "succeeded"}', headers=headers)
    assert answer.status_code == 401 and hooks.woken == []


def test_large_bodies_are_not_read_to_the_end(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MOST_BYTES", 1000)
    assert hooks.post(b"x" * 1001) == 413

    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 100

    answer = httpx2.post(f"{hooks.url}/webhooks/replicate/t", content=endless())
    assert answer.status_code == 413 and hooks.woken == []
    assert hooks.post(b"x" * 1000) == 204


def test_a_new_secret_is_fetched_but_not_for_every_stranger(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hooks.post() == 204
    hooks.keys = [OTHER]
    for number in range(5):
        assert hooks.post(key=OTHER, message=f"m{number}") == 401
    assert hooks.asked == 1
    monkeypatch.setattr(webhooks, "SECRET_AGAIN", 0.0)
    assert hooks.post(key=OTHER, message="later") == 204
    assert hooks.woken == ["training_1", "training_1"]


def test_where_the_secret_is_not_to_be_had_the_vendor_is_told_to_come_again(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks.keys = []
    assert hooks.post() == 503 and hooks.woken == []
    hooks.keys = [KEY]
    assert hooks.post() == 503 and hooks.asked == 1
    monkeypatch.setattr(webhooks, "FAILED_AGAIN", 0.0)
    assert hooks.post() == 204


def test_many_messages_are_remembered_in_little_room(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "MOST_SEEN", 3)
    for number in range(6):
        assert hooks.post(message=f"msg_{number}") == 204
    assert hooks.post(message="msg_5") == 204
    assert len(hooks.woken) == 6
