"""A POST with a key is done once, whatever becomes of the connection, the server or the second try."""

from __future__ import annotations

import threading
from base64 import b64encode
from typing import Any

import httpx2
import pytest

from limner.operations.jobs import idempotent_answers as answers
from limner.store.web_models import AnswerRow
from limner.web.app import create_app
from tests.waiting import PATIENCE
from tests.web.api.conftest import Served

WISH = {"prompt": "a photo", "base": "limner-tiny", "generator": "local", "seed": 1}


@pytest.fixture
def http(served: Served) -> Any:
    headers = {"Authorization": f"Bearer {served.there.token}"}
    with httpx2.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=PATIENCE) as made:
        yield made


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def test_the_same_again_is_answered_as_before(http: httpx2.Client) -> None:
    first = http.post("/generations", json=WISH, headers=keyed("draw once"))
    second = http.post("/generations", json=WISH, headers=keyed("draw once"))
    assert first.status_code == second.status_code == 202
    assert first.content == second.content and first.headers["location"] == second.headers["location"]
    assert "idempotent-replayed" not in first.headers and second.headers["idempotent-replayed"] == "true"
    third = http.post("/generations", json=WISH)
    assert third.json()["job"]["id"] != first.json()["job"]["id"]


def test_a_key_belongs_to_one_request(http: httpx2.Client) -> None:
    assert http.post("/generations", json=WISH, headers=keyed("one wish")).status_code == 202
    for path, body in (("/generations", {**WISH, "seed": 2}), ("/subjects", {"slug": "other", "kind": "pet"})):
        answer = http.post(path, json=body, headers=keyed("one wish"))
        assert answer.status_code == 422 and answer.json()["thing"] == "one wish"


def test_the_key_of_an_announced_file_is_for_that_file(http: httpx2.Client) -> None:
    subject = "zib"
    batch = http.post("/uploads/batches", json={"subject": subject}).json()["id"]

    def announce(name: str, size: int) -> httpx2.Response:
        said = {"subject": subject, "batch": batch, "name": name}
        about = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in said.items())
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(size), "Upload-Metadata": about}
        return http.post("/uploads", headers={**headers, **keyed("one file")})

    first, again = announce("a.jpg", 3), announce("a.jpg", 3)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotent-replayed"] == "true"
    for name in ("location", "tus-resumable", "upload-offset", "upload-expires"):
        assert again.headers[name] == first.headers[name]
    for other in (announce("b.jpg", 3), announce("a.jpg", 4)):
        assert other.status_code == 422 and other.json()["thing"] == "one file"
    assert len(http.get(f"/uploads/batches/{batch}").json()["uploads"]) == 1


def test_keys_are_each_users_own(http: httpx2.Client, served: Served) -> None:
    members = served.app.state.studio.members
    members.add("eva", "a long pass phrase")
    token = members.add_token("eva's", owner="eva").secret
    mine = http.post("/generations", json=WISH, headers=keyed("shared words"))
    theirs = httpx2.post(
        f"{served.url}/api/v1/generations",
        json=WISH,
        headers={**keyed("shared words"), "Authorization": f"Bearer {token}"},
        timeout=PATIENCE,
    )
    assert mine.status_code == theirs.status_code == 202
    assert mine.json()["job"]["id"] != theirs.json()["job"]["id"]


def test_of_a_refusal_nothing_is_kept(http: httpx2.Client) -> None:
    refused = http.post("/subjects", json={"slug": "No slug", "kind": "pet"}, headers=keyed("mend me"))
    assert refused.status_code == 422
    made = http.post("/subjects", json={"slug": "mended", "kind": "pet"}, headers=keyed("mend me"))
    assert made.status_code == 201


def test_a_look_keeps_nothing(http: httpx2.Client) -> None:
    looked = http.post("/generations?what_if=true", json=WISH, headers=keyed("look first"))
    assert looked.status_code == 200
    assert http.post("/generations", json=WISH, headers=keyed("look first")).status_code == 202


def test_the_second_of_two_at_once_is_told_to_wait(http: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()
    keep = answers.Answers.keep

    def slowly(self: answers.Answers, key: str, answer: Any) -> None:
        begun.set()
        assert go.wait(PATIENCE)
        keep(self, key, answer)

    monkeypatch.setattr(answers.Answers, "keep", slowly)
    found: list[httpx2.Response] = []
    first = threading.Thread(target=lambda: found.append(http.post("/generations", json=WISH, headers=keyed("both"))))
    first.start()
    assert begun.wait(PATIENCE)
    second = http.post("/generations", json=WISH, headers=keyed("both"))
    go.set()
    first.join()
    assert second.status_code == 409 and second.json()["code"] == "still-doing"
    monkeypatch.undo()
    third = http.post("/generations", json=WISH, headers=keyed("both"))
    assert third.content == found[0].content


def test_a_server_that_died_between_the_job_and_the_answer_makes_no_second_job(
    http: httpx2.Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(self: answers.Answers, key: str, answer: Any) -> None:
        answers._under_way.clear()
        raise SystemError("the power is gone")

    monkeypatch.setattr(answers.Answers, "keep", dies)
    monkeypatch.setattr(answers.Answers, "forget", lambda self, key: None)
    before = len(http.get("/jobs?limit=500").json()["items"])
    assert http.post("/generations", json=WISH, headers=keyed("survive")).status_code == 500
    monkeypatch.undo()
    [made] = http.get("/jobs?limit=500").json()["items"][: -before or None]
    again = http.post("/generations", json=WISH, headers=keyed("survive"))
    assert again.status_code == 202 and again.json()["job"]["id"] == made["id"]


def test_a_grid_is_drawn_once(http: httpx2.Client, served: Served) -> None:
    wish = {
        "prompts": ["a drawing of {trigger}"],
        "loras": [served.there.lora],
        "generator": "local",
        "x": {"name": "seed", "values": [1, 2]},
    }
    first = http.post("/grids", json=wish, headers=keyed("one grid only"))
    assert first.status_code == 202
    assert http.post("/grids", json=wish, headers=keyed("one grid only")).content == first.content


def test_a_token_is_shown_once_and_kept_nowhere(http: httpx2.Client, served: Served) -> None:
    wanted = {"name": "secret", "scopes": ["read"]}
    made = http.post("/tokens", json=wanted, headers=keyed("a secret"))
    assert made.status_code == 201
    again = http.post("/tokens", json=wanted, headers=keyed("a secret"))
    assert again.status_code == 409 and made.json()["secret"] not in again.text
    with served.app.state.studio._workspace.database.read() as session:
        rows = session.query(AnswerRow).all()
    assert rows and not any(made.json()["secret"].encode() in row.body for row in rows)


def test_answers_outlive_the_server(served: Served, http: httpx2.Client) -> None:
    from limner.stand_ins.serving import serve
    from limner.web.access import Rules

    first = http.post("/generations", json=WISH, headers=keyed("outlive"))
    with serve(create_app(served.there.settings, rules=Rules(login=True))) as url:
        headers = {**keyed("outlive"), "Authorization": f"Bearer {served.there.token}"}
        again = httpx2.post(f"{url}/api/v1/generations", json=WISH, headers=headers, timeout=PATIENCE)
    assert again.content == first.content


def test_old_answers_are_forgotten(served: Served, http: httpx2.Client) -> None:
    from datetime import timedelta

    first = http.post("/generations", json=WISH, headers=keyed("long ago"))
    with served.app.state.studio._workspace.database.write() as session:
        for row in session.query(AnswerRow).all():
            row.created_at -= timedelta(days=8)
    http.post("/generations", json=WISH, headers=keyed("today"))
    later = http.post("/generations", json=WISH, headers=keyed("long ago"))
    assert later.status_code == 202 and "idempotent-replayed" not in later.headers
    assert first.status_code == 202
