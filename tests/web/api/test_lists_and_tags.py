"""Lists in parts, and ETags."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from limner.client import Client
from tests.waiting import PATIENCE
from tests.web.api.conftest import Served


@pytest.fixture(scope="module")
def http(served: Served) -> Any:
    headers = {"Authorization": f"Bearer {served.there.token}"}
    with httpx2.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=PATIENCE) as made:
        yield made


def test_a_list_is_walked_though_things_come_and_go(client: Client, http: httpx2.Client) -> None:
    for number in range(5):
        client.post("/subjects", {"slug": f"pet-{number}", "kind": "pet"})
    first = http.get("/subjects?limit=3").json()
    assert [one["slug"] for one in first["items"]] == ["pet-0", "pet-1", "pet-2"]
    client.change("DELETE", "/subjects/pet-2")
    client.post("/subjects", {"slug": "pet-1a", "kind": "pet"})
    answer = http.get(f"/subjects?limit=3&cursor={first['next']}")
    assert [one["slug"] for one in answer.json()["items"]] == ["pet-3", "pet-4", "rex"]
    link = answer.headers["link"]
    assert link.endswith('>; rel="next"')
    last = http.get(link[1:].split(">")[0].removeprefix("/api/v1"))
    assert [one["slug"] for one in last.json()["items"]] == ["zib"]
    assert last.json()["next"] is None and "link" not in last.headers


def test_jobs_and_pictures_newest_first(client: Client, http: httpx2.Client, served: Served) -> None:
    wish = {"prompt": "a photo", "base": "limner-tiny", "generator": "local"}
    made = [http.post("/generations", json=wish).json()["job"]["id"] for _ in range(5)]
    walked, cursor = [], ""
    while True:
        part = http.get("/jobs", params={"limit": 2, "cursor": cursor}).json()
        assert len(part["items"]) <= 2
        walked += [one["id"] for one in part["items"]]
        cursor = part["next"]
        if cursor is None:
            break
    assert walked[:5] == made[::-1] and len(walked) == len(set(walked))
    pictures = [one["id"] for one in client.items("/images")]
    assert pictures == sorted(pictures, reverse=True) and len(pictures) == 7


def test_grids_newest_first(client: Client, http: httpx2.Client) -> None:
    wish = {
        "prompts": ["a photo"],
        "x": {"name": "seed", "values": [1, 2]},
        "base": "limner-tiny",
        "generator": "local",
    }
    made = [http.post("/grids", json=wish).json()["id"] for _ in range(3)]
    first = http.get("/grids?limit=2")
    assert [one["id"] for one in first.json()["items"]] == [made[2], made[1]]
    assert first.headers["link"].endswith('>; rel="next"')
    walked = [one["id"] for one in client.items("/grids")]
    assert walked[:3] == made[::-1] and len(walked) == len(set(walked))
    # A grid that is made meanwhile moves nothing.
    http.post("/grids", json=wish)
    older = http.get("/grids", params={"limit": 2, "cursor": first.json()["next"]}).json()
    assert older["items"][0]["id"] == made[0]


@pytest.mark.parametrize("path", ["/subjects", "/jobs", "/images", "/photos-of", "/tokens", "/trainings", "/loras"])
def test_a_cursor_of_another_list_is_refused(http: httpx2.Client, path: str) -> None:
    path = path.replace("/photos-of", "/subjects/zib/photos")
    other = "/users" if path != "/users" else "/jobs"
    foreign = http.get("/subjects/zib/photos" if path != "/subjects/zib/photos" else "/subjects", params={"limit": 1})
    for cursor in (foreign.json()["next"], "zzz", "W10", "bnVsbA", "MQ", "eyJhIjoxfQ", "Ly8vLw"):
        answer = http.get(path, params={"cursor": cursor})
        assert answer.status_code == 422, (path, cursor, other)
        assert answer.json()["thing"] in ("cursor", "")


def test_etags(http: httpx2.Client) -> None:
    seen = http.get("/subjects/zib")
    tag = seen.headers["etag"]
    assert tag.startswith('"') and not tag.startswith("W/")
    assert http.get("/subjects/zib").headers["etag"] == tag
    for words in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        known = http.get("/subjects/zib", headers={"If-None-Match": words})
        assert known.status_code == 304 and known.content == b"" and known.headers["etag"] == tag
    assert http.get("/subjects/zib", headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_change_is_made_to_what_was_seen_or_not_at_all(http: httpx2.Client, served: Served) -> None:
    path = f"/images/{served.there.image}"
    tag = http.get(path).headers["etag"]
    for words in ('"other"', f"W/{tag}"):
        refused = http.patch(path, json={"favourite": True}, headers={"If-Match": words})
        assert refused.status_code == 412 and refused.json()["type"] == "urn:limner:changed-meanwhile"
    assert http.get(path).json()["favourite"] is False
    assert http.patch(path, json={"favourite": True}, headers={"If-Match": tag}).status_code == 200
    assert http.patch(path, json={"favourite": False}, headers={"If-Match": tag}).status_code == 412
    assert http.get(path).json()["favourite"] is True
    assert http.patch(path, json={"favourite": False}, headers={"If-Match": "*"}).status_code == 200
    assert http.delete("/images/9999", headers={"If-Match": "*"}).status_code == 412
    assert http.delete("/subjects/rex", headers={"If-Match": '"other"'}).status_code == 412
    tag = http.get("/subjects/rex").headers["etag"]
    assert http.delete("/subjects/rex", headers={"If-Match": tag}).status_code == 200


def test_a_picture_is_known_by_its_digest(http: httpx2.Client, served: Served) -> None:
    for path in (f"/images/{served.there.image}/file", f"/images/{served.there.image}/thumbnail"):
        tag = http.get(path).headers["etag"]
        assert http.get(path, headers={"If-None-Match": tag}).status_code == 304
