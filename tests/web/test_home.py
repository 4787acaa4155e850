"""The first page: cards, what runs, and the demo in one click."""

from __future__ import annotations

from fastapi.testclient import TestClient

from limner.studio import Studio
from tests.web.pictures_made import add_generation


def test_an_empty_home_starts_the_first_subject_or_the_demo(client: TestClient, studio: Studio) -> None:
    page = client.get("/").text
    assert 'href="/subjects/new"' in page
    assert 'action="/demo"' in page
    answer = client.post("/demo")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/subjects/zibbo")
    assert client.post("/demo").status_code == 303
    (job,) = studio.jobs.all("zibbo")
    assert "Running now" in client.get("/").text
    studio.work(idle_seconds=0.0)
    studio.wait(job)
    assert len(studio.photos.all("zibbo")) == 10
    page = client.get("/").text
    assert "10 photos, no LoRAs" in page
    assert f"/subjects/zibbo/photos/{studio.photos.all('zibbo')[0].digest}/thumb" in page
    assert "Running now" not in page


def test_the_best_picture_is_the_favourite_else_the_newest(client: TestClient, studio: Studio) -> None:
    studio.subjects.add("zibbo", kind="character")
    older, newer = add_generation(studio, "one", count=2, subjects=["zibbo"])
    (card,) = studio.subjects.cards()
    assert (card.image, card.images) == (newer, 2)
    studio.gallery.set_favourite([older])
    (card,) = studio.subjects.cards()
    assert card.image == older
    assert f"/images/{older}/thumb" in client.get("/").text


def test_importing_a_lora_is_found_from_the_first_page(client: TestClient, studio: Studio) -> None:
    assert 'href="/loras#import"' in client.get("/").text
    studio.subjects.add("rex", kind="pet")
    assert 'href="/loras"' in client.get("/").text
    assert 'href="/loras#import"' in client.get("/create").text
