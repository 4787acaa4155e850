"""The tus server: creation, resumption, checksums and endings; and files that a plain form sends."""

from __future__ import annotations

import base64
import hashlib
import socket
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from limner.http_server import bodies
from limner.stand_ins.serving import serve
from limner.studio import Studio
from tests.operations.conftest import draw_photos

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture
def batch(client: TestClient, studio: Studio) -> str:
    studio.subjects.add("zibbo", kind="character")
    return str(client.post("/api/v1/uploads/batches", json={"subject": "zibbo"}).json()["id"])


def metadata(**said: str) -> dict[str, str]:
    pairs = [f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in said.items()]
    return {"Upload-Metadata": ",".join(pairs)}


def announce(client: TestClient, batch: str, name: str, size: int, **said: str) -> str:
    about = metadata(subject="zibbo", batch=batch, name=name, **said)
    answer = client.post("/api/v1/uploads", headers={**TUS, "Upload-Length": str(size), **about})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Upload-Offset"] == "0"
    return str(answer.headers["Location"])


def offset_of(client: TestClient, place: str) -> int:
    answer = client.head(place, headers=TUS)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return int(answer.headers["Upload-Offset"])


def test_what_is_spoken(client: TestClient) -> None:
    answer = client.options("/api/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) >= {"creation", "creation-with-upload", "termination"}
    refused = client.post("/api/v1/uploads", headers={"Upload-Length": "3"})
    assert refused.status_code == 412
    assert refused.headers["Tus-Version"] == "1.0.0"


def test_a_file_goes_on_where_it_stopped(client: TestClient, studio: Studio, batch: str) -> None:
    place = announce(client, batch, "holiday/a.jpg", 6)
    assert client.patch(place, headers={**BYTES, "Upload-Offset": "0"}, content=b"abc").headers["Upload-Offset"] == "3"
    assert offset_of(client, place) == 3
    again = client.patch(place, headers={**BYTES, "Upload-Offset": "0"}, content=b"abc")
    assert again.status_code == 409
    assert again.json()["type"] == "urn:limner:conflict"
    assert client.patch(place, headers={**BYTES, "Upload-Offset": "3"}, content=b"defg").status_code == 422
    assert offset_of(client, place) == 3
    assert client.patch(place, headers={**TUS, "Upload-Offset": "3"}, content=b"def").status_code == 415
    assert client.patch(place, headers={**BYTES, "Upload-Offset": "3"}, content=b"def").status_code == 204
    upload = studio.uploads.get(place.rpartition("/")[2])
    assert (upload.name, upload.whole, upload.digest) == (
        "holiday/a.jpg",
        True,
        hashlib.sha256(b"abcdef").hexdigest(),
    )


def test_bytes_may_come_with_the_announcement(client: TestClient, batch: str) -> None:
    about = metadata(subject="zibbo", batch=batch, name="a.jpg", position="0")
    headers = {**BYTES, "Upload-Length": "3", **about}
    answer = client.post("/api/v1/uploads", headers=headers, content=b"abc")
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "3")
    # The answer got lost, so the same comes again: it is the same upload.
    again = client.post("/api/v1/uploads", headers=headers, content=b"abc")
    assert (again.status_code, again.headers["Upload-Offset"]) == (201, "3")
    assert again.headers["Location"] == answer.headers["Location"]


@pytest.mark.parametrize("by_announcement", [False, True])
def test_a_sender_that_stalls_keeps_what_arrived_and_loses_its_line(
    app: FastAPI, studio: Studio, monkeypatch: pytest.MonkeyPatch, by_announcement: bool
) -> None:
    monkeypatch.setattr(bodies, "STALL_SECONDS", 0.1)
    studio.subjects.add("zibbo", kind="character")
    batch = studio.uploads.open("zibbo").id
    if by_announcement:
        head = "POST /api/v1/uploads"
        about = metadata(subject="zibbo", batch=batch, name="a.jpg") | {"Upload-Length": "6"}
    else:
        made = studio.uploads.add("zibbo", batch, "a.jpg", 6)
        head, about = f"PATCH /api/v1/uploads/{made.id}", {"Upload-Offset": "0"}
    headers = {"Host": "localhost", "Content-Length": "6", **BYTES, **about}
    lines = [f"{head} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", "ab"]
    with serve(app) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30) as line:
            line.sendall("\r\n".join(lines).encode())
            answer = b"".join(iter(lambda: line.recv(4096), b"")).decode().lower()
        assert answer.startswith(f"http/1.1 {201 if by_announcement else 204}")
        assert "upload-offset: 2\r\n" in answer
        assert "connection: close\r\n" in answer
    (upload,) = studio.uploads.batch(batch).uploads
    with studio.uploads.receive(upload.id, 2) as receiver:
        receiver.write(b"cdef")
    assert studio.uploads.get(upload.id).digest == hashlib.sha256(b"abcdef").hexdigest()


@pytest.mark.parametrize("path", ["/api/v1/uploads/batches", "/act"])
def test_any_other_body_that_stalls_is_refused(app: FastAPI, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(bodies, "STALL_SECONDS", 0.1)
    kind = "application/json" if path.startswith("/api") else "application/x-www-form-urlencoded"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\nContent-Type: {kind}\r\n\r\nab"
    with serve(app) as url, socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30) as line:
        line.sendall(head.encode())
        answer = b"".join(iter(lambda: line.recv(4096), b"")).decode().lower()
    assert answer.startswith("http/1.1 408")
    assert "content-security-policy" in answer


@pytest.mark.parametrize(
    "words",
    [
        "name \xe9",
        "name \xff\xfe, subject YQ==",
        "n\xe9me YQ==, n\xe9me YQ==",
        "name é日本".encode().decode("latin-1"),
        "name AAA",
        "name A=A=",
        "name =",
        "name /w==",
        "name 7aCA",
        "subject AA==",
        "subject YQBi",
        "name YQ==, name Yg==",
        "name YQ==,name YQ==",
        "name YQ== YQ==",
        "name " + "A" * 20_000,
        "x," * 5_000,
    ],
)
def test_metadata_that_nobody_can_read_is_refused(client: TestClient, batch: str, words: str) -> None:
    headers: Any = {**TUS, "Upload-Length": "3", "Upload-Metadata": words.encode("latin-1")}
    answer = client.post("/api/v1/uploads", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["thing"] in ("Upload-Metadata", "slug", "subject")


@pytest.mark.parametrize(
    "digits", ["", "-1", "+1", "1e3", "0x1", "1.0", "9" * 16, "9" * 5_000, "\u0661\u0662", "\xb2", "a"]
)
@pytest.mark.parametrize("header", ["Upload-Length", "Upload-Offset"])
def test_a_number_that_is_none_is_refused(client: TestClient, batch: str, header: str, digits: str) -> None:
    place = announce(client, batch, "a.jpg", 3)
    wrong: Any = {**BYTES, "Upload-Offset": "0", header: digits.encode()}
    if header == "Upload-Length":
        answer = client.post("/api/v1/uploads", headers=wrong)
    else:
        answer = client.patch(place, headers=wrong, content=b"abc")
    assert answer.status_code in (413, 422)
    assert answer.json()["thing"] == header


def test_other_bytes_than_announced_with_the_announcement(client: TestClient, batch: str) -> None:
    about = metadata(
        subject="zibbo", batch=batch, name="a.jpg", position="0", sha256=hashlib.sha256(b"abd").hexdigest()
    )
    headers = {**BYTES, "Upload-Length": "3", **about}
    assert client.post("/api/v1/uploads", headers=headers, content=b"abc").status_code == 422
    # It is known, so that the right bytes go on from the start.
    again = client.post("/api/v1/uploads", headers={**headers, "Content-Type": "text/plain"})
    assert (again.status_code, again.headers["Upload-Offset"]) == (201, "0")
    place = again.headers["Location"]
    assert client.patch(place, headers={**BYTES, "Upload-Offset": "0"}, content=b"abd").status_code == 204


def test_a_damaged_piece_is_not_kept(client: TestClient, batch: str) -> None:
    place = announce(client, batch, "a.jpg", 3)
    right = base64.b64encode(hashlib.sha256(b"abc").digest()).decode()
    headers = {**BYTES, "Upload-Offset": "0", "Upload-Checksum": f"sha256 {right}"}
    assert client.patch(place, headers=headers, content=b"abd").status_code == 460
    assert offset_of(client, place) == 0
    odd = {**headers, "Upload-Checksum": "crc32 AAAA"}
    assert client.patch(place, headers=odd, content=b"abc").status_code == 422
    assert client.patch(place, headers=headers, content=b"abc").status_code == 204


def test_giving_up(client: TestClient, batch: str) -> None:
    place = announce(client, batch, "a.jpg", 3)
    assert client.delete(place, headers=TUS).status_code == 204
    assert client.head(place, headers=TUS).status_code == 404
    announce(client, batch, "b.jpg", 3)
    assert client.delete(f"/api/v1/uploads/batches/{batch}").status_code == 204
    assert client.get(f"/api/v1/uploads/batches/{batch}").status_code == 404


@pytest.mark.parametrize("length", ["", "-1", "x", "٣", "1" * 30, "1e3"])
def test_a_size_that_is_none_is_refused(client: TestClient, batch: str, length: str) -> None:
    headers = {**TUS, **metadata(subject="zibbo", batch=batch), "Upload-Length": length.encode()}
    answer = client.post("/api/v1/uploads", headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 422


@pytest.mark.parametrize("about", ["name !!!", "name /w==", "x" * 9000, "subject", ""])
def test_metadata_that_cannot_be_read_is_refused(client: TestClient, batch: str, about: str) -> None:
    headers = {**TUS, "Upload-Length": "3", "Upload-Metadata": about}
    assert client.post("/api/v1/uploads", headers=headers).status_code in (404, 422)


def test_too_large_a_file_is_refused_before_it_is_sent(client: TestClient, batch: str) -> None:
    about = metadata(subject="zibbo", batch=batch, name="a.jpg")
    answer = client.post("/api/v1/uploads", headers={**TUS, "Upload-Length": str(10**12), **about})
    assert answer.status_code == 413


@pytest.mark.parametrize("upload", ["..%2f..%2flimner.db", "upload_0000000000000000", "%00", "x" * 300])
def test_an_id_from_outside_is_no_path(client: TestClient, batch: str, upload: str) -> None:
    assert client.head(f"/api/v1/uploads/{upload}", headers=TUS).status_code in (404, 422)
    answer = client.patch(f"/api/v1/uploads/{upload}", headers={**BYTES, "Upload-Offset": "0"}, content=b"abc")
    assert answer.status_code in (404, 422)


def test_a_batch_is_taken_in_once_and_only_whole(
    client: TestClient, studio: Studio, batch: str, tmp_path: Path
) -> None:
    data = (draw_photos(tmp_path / "drawn", 1) / "photo-0.png").read_bytes()
    place = announce(client, batch, "a.png", len(data))
    commit = f"/api/v1/uploads/batches/{batch}/commit"
    assert client.post(commit, json={"count": 1}).status_code == 409
    client.patch(place, headers={**BYTES, "Upload-Offset": "0"}, content=data)
    assert client.post(commit, json={"count": 2}).status_code == 409
    assert [one["id"] for one in client.get("/api/v1/uploads?subject=zibbo").json()] == [batch]
    first = client.post(commit, json={"count": 1})
    assert (first.status_code, first.json()["kind"]) == (202, "intake")
    assert client.post(commit, json={"count": 1}).json()["id"] == first.json()["id"]
    assert client.get("/api/v1/uploads?subject=zibbo").json() == []
    studio.work(idle_seconds=0.0)
    studio.wait(first.json()["id"])
    digest = hashlib.sha256(data).hexdigest()
    known = client.post("/api/v1/uploads/known", json={"subject": "zibbo", "digests": [digest, "0" * 64]})
    assert list(known.json()) == [digest]
