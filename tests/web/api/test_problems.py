"""What cannot be done is said as a problem, whatever is sent."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import httpx2
import pytest

from limner.store.models import IntakeRow
from limner.types import PhotoReport, Verdict
from limner.web.problems import PROBLEM
from tests.waiting import PATIENCE
from tests.web.api.conftest import Served
from tests.web.api.seeded import Seeded

JSON = {"Content-Type": "application/json"}
DEEP = b'{"slug":' + b"[" * 20_000 + b"]" * 20_000 + b"}"


@pytest.fixture(scope="module")
def http(served: Served) -> Any:
    headers = {"Authorization": f"Bearer {served.there.token}"}
    with httpx2.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=PATIENCE) as made:
        yield made


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status"),
    [
        ("GET", "/nothing", None, {}, 404),
        ("GET", "/subjects/nobody", None, {}, 404),
        ("GET", "/subjects/..%2f..%2fetc%2fpasswd", None, {}, 404),
        ("GET", "/subjects/%00", None, {}, 422),
        ("GET", "/subjects/%ff%fe", None, {}, 404),
        ("GET", "/subjects/" + "x" * 500, None, {}, 422),
        ("GET", "/loras/%2e%2e%5c", None, {}, 404),
        ("GET", "/images/99999999999999999999999", None, {}, 422),
        ("GET", "/images/-1", None, {}, 422),
        ("GET", "/images/1e3", None, {}, 422),
        ("GET", "/images?seed=9223372036854775808", None, {}, 422),
        ("GET", "/images?since=2026-13-40", None, {}, 422),
        ("GET", "/images?limit=0", None, {}, 422),
        ("GET", "/images?text=%00", None, {}, 422),
        ("GET", "/subjects?cursor=bm9uc2Vuc2U", None, {}, 422),
        ("GET", "/subjects", None, {"If-None-Match": "x" * 600}, 422),
        ("GET", "/subjects/zib/photos/zz", None, {}, 422),
        ("PUT", "/subjects", b"{}", JSON, 405),
        ("TRACE", "/subjects", None, {}, 405),
        ("POST", "/subjects", None, {}, 422),
        ("POST", "/subjects", b"", JSON, 422),
        ("POST", "/subjects", b"{", JSON, 422),
        ("POST", "/subjects", b"\xff\xfe\x00", JSON, 422),
        ("POST", "/subjects", b'{"slug":"\xff"}', JSON, 422),
        ("POST", "/subjects", b'{"slug":"a\\u0000b"}', JSON, 422),
        ("POST", "/subjects", b'{"slug":"\\ud800"}', JSON, 422),
        ("POST", "/subjects", b'{"slug":"new","nonsense":1}', JSON, 422),
        ("POST", "/subjects", b'{"slug":"new","kind":"planet"}', JSON, 422),
        ("POST", "/subjects", b'{"slug":' + b"9" * 5_000 + b"}", JSON, 422),
        ("POST", "/subjects", b'{"slug":NaN}', JSON, 422),
        ("POST", "/subjects", b'["slug"]', JSON, 422),
        ("POST", "/subjects", DEEP, JSON, 422),
        ("POST", "/subjects", b"slug=new", {"Content-Type": "text/plain"}, 415),
        ("POST", "/subjects", b"<slug/>", {"Content-Type": "application/xml"}, 415),
        ("POST", "/subjects", b"x", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ("POST", "/subjects", b"{}", {"Content-Type": "application/offset+octet-stream"}, 415),
        ("POST", "/subjects", b'{"slug":"' + b"x" * 2_100_000 + b'"}', JSON, 413),
        ("POST", "/subjects", b"{}", {**JSON, "Idempotency-Key": "x" * 300}, 422),
        ("POST", "/trainings", b'{"subject":"zib","settings":{"steps":1e400}}', JSON, 422),
        ("POST", "/generations", b'{"prompt":"x","seed":9223372036854775808}', JSON, 422),
        ("POST", "/generations", b'{"prompt":"x","count":1.5}', JSON, 422),
        ("POST", "/generations", b'{"prompt":"x","max_cost":-1}', JSON, 422),
        ("POST", "/generations", b'{"prompt":"x","max_cost":true}', JSON, 422),
        ("POST", "/uploads", None, {}, 412),
        ("POST", "/loras", b'{"source":"http://127.0.0.1/x.safetensors","subject":"x"}', JSON, 422),
        ("POST", "/loras", b'{"source":"/etc/passwd","subject":"x"}', JSON, 422),
        ("POST", "/loras", b'{"source":"file:///etc/passwd","subject":"x"}', JSON, 422),
    ],
)
def test_it_is_refused_in_words(
    http: httpx2.Client, method: str, path: str, content: bytes | None, headers: dict[str, str], status: int
) -> None:
    answer = http.request(method, path, content=content, headers=headers)
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:limner:")
    assert problem["detail"] and "Traceback" not in problem["detail"]


def test_405_names_all_that_can_be_done(http: httpx2.Client) -> None:
    assert http.request("PUT", "/subjects").headers["allow"] == "GET, POST"
    assert http.request("POST", "/subjects/zib/consent").headers["allow"] == "DELETE, GET, PUT"


def test_who_is_not_let_in_is_told_how(served: Served) -> None:
    for headers in ({}, {"Authorization": "Bearer lim_nonsense"}, {"Authorization": "Basic YTpi"}):
        answer = httpx2.get(f"{served.url}/api/v1/subjects", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == PROBLEM
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_what_is_wrong_is_named_field_by_field(http: httpx2.Client) -> None:
    answer = http.post("/subjects", json={"slug": "", "kind": "planet"})
    assert {one["at"] for one in answer.json()["errors"]} == {"body.slug", "body.kind"}
    assert "planet" not in json.dumps(answer.json()["errors"]) or "Input should be" in answer.text


@pytest.mark.parametrize(("token", "refused"), [("reader", True), ("writer", False)])
def test_scopes(served: Served, token: str, refused: bool) -> None:
    headers = {"Authorization": f"Bearer {getattr(served.there, token)}"}
    with httpx2.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=PATIENCE) as http:
        assert http.get("/subjects").status_code == 200
        wish = {"prompt": "a photo", "generator": "local", "base": "limner-tiny"}
        assert http.post("/generations", json=wish).status_code == (403 if refused else 202)
        assert http.get("/users").status_code == 403
        assert http.get("/doctor").status_code == 403


def test_a_token_that_may_not_spend_starts_nothing_that_costs(served: Served) -> None:
    headers = {"Authorization": f"Bearer {served.there.writer}"}
    wish = {"prompt": "a photo", "base": "flux2-dev", "generator": "together", "yes": True}
    with httpx2.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=PATIENCE) as http:
        answer = http.post("/generations", json=wish)
        assert answer.status_code == 403 and answer.json()["thing"] == "spend"
        assert http.post("/generations?what_if=true", json=wish).status_code == 200
        made = http.post("/tokens", json={"name": "more", "scopes": ["spend"]})
        assert made.status_code == 403


def test_what_is_refused_in_part_is_refused_whole(http: httpx2.Client, served: Served, there: Seeded) -> None:
    assert http.post("/users", json={"name": "ben", "password": "a long pass phrase"}).status_code == 201
    assert http.patch("/users/ben", json={"admin": True, "password": "short"}).status_code == 422
    assert http.get("/users/ben").json()["admin"] is False
    photo = f"/subjects/zib/photos/{there.photo}"
    before = http.get(photo)
    crop = {"left": 0, "top": 0, "width": 64, "height": 64}
    for wanted in ({"crop": crop, "caption": "x" * 4_500}, {"caption": "fine", "crop": {**crop, "left": 900_000}}):
        assert http.patch(photo, json=wanted).status_code == 422
        assert http.get(photo).headers["etag"] == before.headers["etag"]
    assert http.patch(photo, json={"crop": crop, "caption": "both"}).json()["caption"] == "both"
    assert http.patch(photo, json={"caption": ""}).json()["crop"] == crop
    assert http.patch(photo, json={"crop": None}).json()["crop"] is None


def test_no_refusal_tells_where_the_home_is(http: httpx2.Client, served: Served, there: Seeded) -> None:
    studio = served.app.state.studio
    picture = studio.gallery.picture(there.image).path
    kept = picture.read_bytes()
    picture.unlink()
    try:
        for path in (f"/images/{there.image}", f"/images/{there.image}/file", f"/images/{there.image}/provenance"):
            refused = http.get(path)
            assert refused.status_code == 404
            assert "HOME" in refused.text
            assert str(there.settings.home) not in refused.text
    finally:
        picture.write_bytes(kept)


def test_a_list_of_files_with_long_names_is_walked_to_its_end(http: httpx2.Client, served: Served) -> None:
    name = "/".join(["Фотографии с моря и из гор" * 6] * 5)[:990]
    with served.app.state.studio._workspace.database.write() as session:
        for position in range(3):
            report = asdict(PhotoReport(source=f"{name}-{position}", verdict=Verdict.REFUSED))
            session.add(IntakeRow(subject="rex", job="job_of_long_names", position=position, report=report))
    first = http.get("/subjects/rex/intake", params={"limit": 2, "job": "job_of_long_names"}).json()
    assert len(first["items"]) == 2
    asked = {"limit": 2, "job": "job_of_long_names", "cursor": first["next"]}
    last = http.get("/subjects/rex/intake", params=asked).json()
    assert [one["position"] for one in last["items"]] == [2]
    assert last["next"] is None
