"""The gallery's pages: found, counted, chosen, packed, marked and deleted, with and without scripts."""

from __future__ import annotations

import gzip
import io
import re
import zipfile

import pytest
from fastapi.testclient import TestClient

from limner.studio import Studio
from tests.web.pictures_made import add_generation, add_subject


@pytest.fixture
def many(studio: Studio) -> Studio:
    """130 pictures: more than two pages."""
    add_subject(studio, "zib")
    add_generation(studio, "aa", prompt="Zibbo <b>on</b> the beach", subjects=["zib"], loras=["zib@v1"], count=4)
    add_generation(studio, "bb", prompt="plain", count=126, day=40, generator="together")
    return studio


def token(client: TestClient, path: str = "/gallery") -> str:
    found = re.search(r'name="csrf-token" content="([^"]*)"', client.get(path).text)
    assert found
    return found[1]


def post(client: TestClient, path: str, **fields: object):
    return client.post(path, data={**fields, "csrf_token": token(client)})


def shown(text: str) -> list[int]:
    return [int(number) for number in re.findall(r'<li class="shot" data-i="\d+" data-id="(\d+)"', text)]


def test_an_empty_gallery_says_what_to_do(client: TestClient) -> None:
    text = client.get("/gallery").text
    assert "No pictures yet" in text
    assert 'href="/create"' in text


def test_pages_lead_from_the_newest_to_the_oldest(client: TestClient, many: Studio) -> None:
    seen, path = [], "/gallery"
    for _ in range(3):
        text = client.get(path).text
        seen += shown(text)
        older = re.search(r'rel="next" href="([^"]+)"', text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == list(range(130, 0, -1))
    assert path == ""
    assert 'rel="prev"' in text


def test_windows_are_tiles_with_their_places(client: TestClient, many: Studio) -> None:
    text = client.get("/gallery/window?offset=120&limit=60").text
    assert shown(text) == list(range(10, 0, -1))
    assert 'data-i="120"' in text
    assert "<html" not in text
    assert shown(client.get("/gallery/window?offset=0&limit=3&newest=100").text) == [100, 99, 98]
    assert client.get("/gallery/place?image=98&newest=100").json() == {"index": 2}
    assert client.get("/gallery/place?image=999").status_code == 404
    for wrong in ("offset=-1", "offset=0&limit=0", "offset=0&limit=9999", "offset=x", "offset=0&newest=-1"):
        assert client.get(f"/gallery/window?{wrong}").status_code == 422


def test_filters_are_kept_in_the_form_and_taken_away_by_chips(client: TestClient, many: Studio) -> None:
    text = client.get("/gallery?subject=zib&q=beach&generator=&since=&favourite=").text
    assert shown(text) == [4, 3, 2, 1]
    assert 'value="beach"' in text
    assert re.search(r'<option value="zib" selected>', text)
    assert 'href="/gallery?subject=zib"' in text
    assert 'href="/gallery?q=beach"' in text
    assert "No picture matches" in client.get("/gallery?q=nothing-like-it").text


def test_what_cannot_be_read_is_said_beside_its_field(client: TestClient, many: Studio) -> None:
    text = client.get("/gallery?since=2026-13-99&until=soon&seed=1e9&subject=zib").text
    assert text.count("This is no date") == 2
    assert "A seed is a whole number" in text
    assert 'value="2026-13-99"' in text
    assert shown(text) == [4, 3, 2, 1]
    for query in ("since=0001-01-01&until=9999-12-31", "seed=9223372036854775807", "q=" + "x" * 10_000, "q=%00%ff"):
        assert client.get(f"/gallery?{query}").status_code == 200
    assert client.get("/gallery?cursor=forged!").status_code == 422


def test_words_of_others_are_text(client: TestClient, many: Studio) -> None:
    for path in ("/gallery?subject=zib", "/images/1", "/images/1/details"):
        text = client.get(path).text
        assert "<b>on</b>" not in text
        assert "&lt;b&gt;on" in text
    assert '"><script>' not in client.get("/gallery", params={"q": '"><script>alert(1)</script>'}).text


def test_chosen_pictures_come_as_a_zip_of_known_size(client: TestClient, many: Studio) -> None:
    answer = post(client, "/gallery/chosen", do="zip", images="3,1", image=[2])
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].startswith('attachment; filename="limner-pictures-')
    assert int(answer.headers["content-length"]) == len(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert len(packed.namelist()) == 4
        assert packed.testzip() is None


def test_all_of_a_filter_are_those_that_were_there(client: TestClient, many: Studio) -> None:
    add_generation(many, "cc", subjects=["zib"], count=1, day=50)
    post(client, "/gallery/chosen?subject=zib", do="favourite", all="1", newest="130")
    assert shown(client.get("/gallery?favourite=1").text) == [4, 3, 2, 1]
    post(client, "/gallery/chosen?subject=zib", do="unfavourite", all="1", newest="130")
    assert shown(client.get("/gallery?favourite=1").text) == []


def test_deleting_is_asked_for_once_more_without_a_script(client: TestClient, many: Studio) -> None:
    asked = post(client, "/gallery/chosen?subject=zib", do="delete", image=[1, 2])
    assert asked.status_code == 200
    assert "Delete 2 pictures?" in asked.text
    assert 'value="1,2"' in asked.text
    assert client.get("/images/1").status_code == 200
    done = post(client, "/gallery/chosen?subject=zib", do="delete-surely", images="1,2")
    assert (done.status_code, done.headers["location"]) == (303, "/gallery?subject=zib")
    assert client.get("/images/1").status_code == 404
    assert shown(client.get("/gallery?subject=zib").text) == [4, 3]
    # Sent twice: what is gone is named, nothing else happens.
    assert post(client, "/gallery/chosen?subject=zib", do="delete-surely", images="1,2").status_code == 404


@pytest.mark.parametrize("images", ["", ",", "1", "1,2,3"])
def test_two_pictures_are_compared(client: TestClient, many: Studio, images: str) -> None:
    answer = post(client, "/gallery/chosen", do="compare", images=images)
    assert (answer.status_code, answer.headers["location"]) == (303, "/gallery")
    answer = post(client, "/gallery/chosen", do="compare", images="9,4")
    assert answer.headers["location"] == "/compare?a=4&b=9"


@pytest.mark.parametrize(
    "fields", [{"do": "burn", "images": "1"}, {"do": "zip", "images": "1;2"}, {"do": "zip", "image": "x"}]
)
def test_forged_choices_are_refused(client: TestClient, many: Studio, fields: dict[str, str]) -> None:
    assert post(client, "/gallery/chosen", **fields).status_code == 422
    assert post(client, "/gallery/chosen", do="zip", images="1,999999").status_code == 404


def test_the_page_of_a_picture_tells_how_it_was_made(client: TestClient, many: Studio) -> None:
    text = client.get("/images/3?subject=zib").text
    for words in ("zib@v1", "limner-tiny", "Share copy", "/create?from=3", "vary=seed", "64 × 48 px"):
        assert words in text
    assert 'href="/images/4?subject=zib"' in text
    assert 'href="/images/2?subject=zib"' in text
    assert 'href="/gallery?subject=zib"' in text
    assert "It does not say how it was made" not in text
    assert "It says that it was made with A1111" in client.get("/images/3?file=1").text
    assert client.get("/images/999").status_code == 404


def test_the_lightbox_gets_the_same_without_a_page_around_it(client: TestClient, many: Studio) -> None:
    text = client.get("/images/3/details", headers={"HX-Request": "true"}).text
    assert "<html" not in text
    assert "zib@v1" in text
    file = client.get("/images/3/file", headers={"HX-Request": "true"}).text
    assert "<html" not in file
    assert "It says" in file
    assert client.get("/images/3/file").headers["location"] == "/images/3?file=1"


def test_a_favourite_is_marked_and_the_kept_page_knows(client: TestClient, many: Studio) -> None:
    assert "data-favourite" not in client.get("/gallery").text.split("data-shots")[1].split("</ol>")[0]
    answer = post(client, "/images/130/favourite", favourite="1", next="/gallery")
    assert (answer.status_code, answer.headers["location"]) == (303, "/gallery")
    assert 'data-id="130" data-favourite' in client.get("/gallery").text
    assert post(client, "/images/130/favourite", favourite="0", next="//evil.example").headers["location"] == "/"
    assert 'data-id="130" data-favourite' not in client.get("/gallery").text
    assert post(client, "/images/999/favourite", favourite="1").status_code == 404


def test_a_picture_is_deleted_from_its_page(client: TestClient, many: Studio) -> None:
    assert "Delete 1 picture?" in client.get("/images/7/delete").text
    assert post(client, "/images/7/delete", next="/gallery?q=plain").headers["location"] == "/gallery?q=plain"
    assert client.get("/images/7").status_code == 404
    assert 7 not in shown(client.get("/gallery/window?offset=0&limit=200").text)


def test_a_share_copy_is_given_without_the_prompt(client: TestClient, many: Studio) -> None:
    assert b"Zibbo" in client.get("/images/1/picture").content
    answer = client.get("/images/1/share")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == 'attachment; filename="picture-1.png"'
    assert b"Zibbo" not in answer.content
    assert b"trainedAlgorithmicMedia" in answer.content


def test_the_first_page_is_light(client: TestClient, many: Studio) -> None:
    """Under 150 kB without pictures, as it goes over the wire."""
    answer = client.get("/gallery")
    weight = len(answer.content)
    for path in set(re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text)) - {""}:
        client.headers["accept-encoding"] = "gzip"
        with client.stream("GET", path) as one:
            weight += len(b"".join(one.iter_raw()))
            assert "immutable" in one.headers["cache-control"]
    assert weight < 120_000
    assert len(shown(answer.text)) == 60


def test_scripts_and_sheets_are_compressed_for_whom_can_read_it(client: TestClient) -> None:
    plain = client.get("/static/js/gallery.js", headers={"accept-encoding": "identity"})
    with client.stream("GET", "/static/js/gallery.js", headers={"accept-encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert "content-encoding" not in plain.headers
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(raw) == plain.content
    again = client.get("/static/js/gallery.js", headers={"if-none-match": packed.headers["etag"]})
    assert again.status_code == 304


def test_pages_hold_no_script_and_no_style_of_their_own(client: TestClient, many: Studio) -> None:
    for path in ("/gallery", "/images/1", "/images/1/details", "/images/1/delete", "/gallery/window?offset=0"):
        text = client.get(path).text
        assert not re.search(r"<script(?![^>]* src=)", text)
        assert not re.search(r"\s(style|on\w+|hx-on\S*)=", text)


def test_a_long_range_is_given_by_its_numbers(client: TestClient, many: Studio) -> None:
    assert client.get("/gallery/ids?offset=0&limit=1000").json() == {"ids": list(range(130, 0, -1))}
    assert client.get("/gallery/ids?offset=1&limit=2&newest=100").json() == {"ids": [99, 98]}
    assert client.get("/gallery/ids?offset=0&limit=9&lora=zib").json() == {"ids": [4, 3, 2, 1]}


def test_days_and_months_are_those_of_the_visitor(client: TestClient, studio: Studio) -> None:
    add_subject(studio, "zib")
    add_generation(studio, "edge", count=2, subjects=["zib"], day=17)  # 1 October, noon UTC
    add_generation(studio, "old", subjects=["zib"])

    def found(days: str, zone: str) -> tuple[list[int], list[str]]:
        client.cookies.set("limner_zone", zone)
        text = client.get(f"/gallery?{days}").text
        return shown(text), re.findall(r"data-offset=\"\d+\"><span>([^<]+)</span>", text)

    september = "since=2026-09-30&until=2026-09-30"
    assert found(september, "Pacific/Pago_Pago") == ([], [])
    assert found("", "UTC")[1] == ["October 2026", "September 2026"]
    assert found("since=2026-10-02", "Pacific/Kiritimati") == ([2, 1], ["October 2026"])
    assert found("since=2026-10-02", "UTC") == ([], [])
    for unknown in ("Nowhere/Atall", "../../etc/passwd", "Europe", "x" * 500):
        assert found("since=2026-10-01&until=2026-10-01", unknown)[0] == [2, 1]
    assert len(found("since=0001-01-01&until=9999-12-31", "Pacific/Kiritimati")[0]) == 3
    client.cookies.set("limner_zone", "")
    assert "as in UTC" in client.get("/gallery").text


def test_one_picture_matches(client: TestClient, studio: Studio) -> None:
    add_subject(studio, "zib")
    add_generation(studio, "one", count=1, subjects=["zib"])
    assert "1 picture matches<" in client.get("/gallery?subject=zib").text
    assert "1 picture<" in client.get("/gallery").text
