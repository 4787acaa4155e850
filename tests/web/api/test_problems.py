"""What cannot be done is said as a problem, whatever is sent."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from limner.web.problems import PROBLEM
from tests.web.api.conftest import Served

JSON = {"Content-Type": "application/json"}
DEEP = b'{"slug":' + b"[" * 20_000 + b"]" * 20_000 + b"}"


@pytest.fixture(scope="module")
def http(served: Served) -> Any:
    headers = {"Authorization": f"Bearer {served.there.token}"}
    with httpx2.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=30) as made:
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
    with httpx2.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=30) as http:
        assert http.get("/subjects").status_code == 200
        wish = {"prompt": "a photo", "generator": "local", "base": "limner-tiny"}
        assert http.post("/generations", json=wish).status_code == (403 if refused else 202)
        assert http.get("/users").status_code == 403
        assert http.get("/doctor").status_code == 403


def test_a_token_that_may_not_spend_starts_nothing_that_costs(served: Served) -> None:
    headers = {"Authorization": f"Bearer {served.there.writer}"}
    wish = {"prompt": "a photo", "base": "flux2-dev", "generator": "together", "yes": True}
    with httpx2.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=30) as http:
        answer = http.post("/generations", json=wish)
        assert answer.status_code == 403 and answer.json()["thing"] == "spend"
        assert http.post("/generations?what_if=true", json=wish).status_code == 200
        made = http.post("/tokens", json={"name": "more", "scopes": ["spend"]})
        assert made.status_code == 403
