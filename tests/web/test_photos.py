"""The check page, one photo, many captions and datasets: with a script and as plain forms."""

from __future__ import annotations

import html
import io
import re
import zipfile
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from limner.datasets.packages import LAYOUTS as ALL_LAYOUTS
from limner.studio import Studio
from limner.types import Crop
from limner.web.pages.datasets import LAYOUTS
from tests.operations.photos_kept import keep

PARTIAL = {"HX-Request": "true"}


@pytest.fixture
def rex(studio: Studio) -> list[str]:
    studio.subjects.add("rex", name="Rex", kind="pet", class_word="dog", trigger="rex_dog")
    return [
        keep(studio, "rex", 0, caption="a brown {trigger} dog", perceptual_hash="0" * 16),
        keep(studio, "rex", 1, perceptual_hash="0" * 15 + "1"),
        keep(studio, "rex", 2, caption="{trigger} <script>alert(1)</script>"),
        keep(studio, "rex", 3, caption="{trigger} asleep"),
    ]


def shown(text: str) -> list[str]:
    return re.findall(r'class="photo-row" id="p-([0-9a-f]{12})"', text)


def short(digests: list[str]) -> list[str]:
    return [digest[:12] for digest in digests]


def form_of(text: str, action: str) -> dict[str, str]:
    """The hidden fields of the form with this action."""
    body = re.search(rf'<form[^>]*method="post" action="{re.escape(action)}"[^>]*>(.*?)</form>', text, re.DOTALL)
    assert body, action
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', body[1])
    return {name: html.unescape(value) for name, value in found}


def test_the_page_says_the_health_and_shows_each_photo_with_its_caption(client: TestClient, rex: list[str]) -> None:
    answer = client.get("/subjects/rex/photos")
    assert answer.status_code == 200
    assert "Ready to train with 4 photos; 3 things are worth a look." in answer.text
    assert "Not measured" in answer.text
    assert shown(answer.text) == short(rex)
    assert "&lt;script&gt;" in answer.text and "<script>alert" not in answer.text
    assert 'placeholder="a photo of rex_dog dog"' in answer.text
    assert "style=" not in answer.text and "onclick" not in answer.text


def test_filters_show_what_they_count(client: TestClient, rex: list[str]) -> None:
    for show, wanted in (
        ("warned", [rex[0], rex[1]]),
        ("uncaptioned", [rex[1]]),
        ("alike", [rex[0], rex[1]]),
        ("caption-tells-trait", [rex[0]]),
        ("<none>", []),
    ):
        answer = client.get("/subjects/rex/photos", params={"show": show})
        assert shown(answer.text) == short(wanted), show
        assert "<none>" not in answer.text


def test_a_caption_is_saved_in_place_with_what_is_then_to_be_said(
    client: TestClient, studio: Studio, rex: list[str]
) -> None:
    path = f"/subjects/rex/photos/{rex[3]}/caption"
    answer = client.post(path, data={"caption": " a brown\n{trigger} dog "}, headers=PARTIAL)
    assert answer.status_code == 200 and "<html" not in answer.text
    assert "coat" in answer.text and f'id="said-{rex[3][:12]}"' in answer.text
    assert studio.photos.get("rex", rex[3]).caption == "a brown {trigger} dog"


def test_a_caption_is_saved_as_a_plain_form(client: TestClient, studio: Studio, rex: list[str]) -> None:
    path = f"/subjects/rex/photos/{rex[1]}/caption"
    fields = form_of(client.get("/subjects/rex/photos", params={"show": "uncaptioned"}).text, path)
    answer = client.post(path, data={**fields, "caption": "{trigger} by the sea"})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/subjects/rex/photos?show=uncaptioned#p-{rex[1][:12]}"
    assert studio.photos.get("rex", rex[1]).caption == "{trigger} by the sea"


def test_a_refused_caption_comes_back_as_it_was_typed(client: TestClient, studio: Studio, rex: list[str]) -> None:
    path = f"/subjects/rex/photos/{rex[3]}/caption"
    for data, headers in (({}, PARTIAL), ({}, {}), ({"whole": "on"}, {})):
        answer = client.post(path, data={"caption": "{triger} & co", **data}, headers=headers)
        assert answer.status_code == 422
        assert "unknown placeholder {triger}" in answer.text
        if not headers:
            assert "{triger} &amp; co</textarea>" in answer.text and 'aria-invalid="true"' in answer.text
    assert studio.photos.get("rex", rex[3]).caption == "{trigger} asleep"


def test_many_captions_are_previewed_changed_and_undone(client: TestClient, studio: Studio, rex: list[str]) -> None:
    words = {"find": "brown", "replace": "", "prefix": "soft light, "}
    looked = client.get("/subjects/rex/captions", params=words)
    assert "3 captions would change" in looked.text
    assert studio.captions.last("rex") is None
    fields = form_of(looked.text, "/subjects/rex/captions")
    assert fields["prefix"] == "soft light, "
    answer = client.post("/subjects/rex/captions", data=fields)
    assert answer.status_code == 303
    assert studio.photos.get("rex", rex[0]).caption == "soft light, a {trigger} dog"
    again = client.post("/subjects/rex/captions", data=fields)
    assert again.status_code == 303 and len(studio.captions.last("rex").changes) == 3  # type: ignore[union-attr]
    page = client.get("/subjects/rex/photos")
    assert "Undo the change of 3 captions" in page.text
    assert client.post("/subjects/rex/captions/undo").status_code == 303
    assert studio.photos.get("rex", rex[0]).caption == "a brown {trigger} dog"
    assert client.post("/subjects/rex/captions/undo").status_code == 404


def test_an_edit_that_cannot_be_is_refused_with_the_form_filled_in(client: TestClient, rex: list[str]) -> None:
    for answer in (
        client.get("/subjects/rex/captions", params={"find": "asleep", "replace": "{x}"}),
        client.post("/subjects/rex/captions", data={"find": "asleep", "replace": "{x}"}),
    ):
        assert answer.status_code == 422
        assert 'value="asleep"' in answer.text and 'value="{x}"' in answer.text
    assert client.get("/subjects/rex/captions").status_code == 200


def test_one_photo_has_its_report_and_the_way_to_the_others(client: TestClient, rex: list[str]) -> None:
    middle = client.get(f"/subjects/rex/photos/{rex[1]}").text
    assert f'href="/subjects/rex/photos/{rex[0]}" aria-label="Previous photo"' in middle
    assert f'href="/subjects/rex/photos/{rex[2]}" aria-label="Next photo"' in middle
    assert "2 of 4" in middle and "Looks much like" in middle and "Pure black or white" in middle
    first = client.get(f"/subjects/rex/photos/{rex[0]}").text
    assert 'aria-disabled="true" aria-label="Previous photo"' in first


def test_a_crop_is_tried_kept_and_given_back(client: TestClient, studio: Studio, rex: list[str]) -> None:
    here = f"/subjects/rex/photos/{rex[0]}"
    crop = {"left": "10", "top": "20", "width": "100.4", "height": "200"}
    tried = client.get(f"{here}/trained", params=crop)
    assert tried.headers["content-type"] == "image/jpeg"
    assert studio.photos.get("rex", rex[0]).crop is None
    assert client.post(f"{here}/crop", data={**crop, "action": "save"}).status_code == 303
    assert studio.photos.get("rex", rex[0]).crop == Crop(10, 20, 100, 200)
    kept = client.get(f"{here}/trained")
    assert kept.content == tried.content
    assert Image.open(io.BytesIO(kept.content)).size == studio.photos.proposed_crops("rex", [rex[0]])[0].bucket
    assert client.post(f"{here}/crop", data={"action": "automatic"}).status_code == 303
    assert studio.photos.get("rex", rex[0]).crop is None


@pytest.mark.parametrize("wrong", [{"left": "a"}, {"width": ""}, {"left": "inf"}, {"top": "nan"}, {"width": "99999"}])
def test_a_crop_that_cannot_be_comes_back_as_typed(
    client: TestClient, studio: Studio, rex: list[str], wrong: dict[str, Any]
) -> None:
    here = f"/subjects/rex/photos/{rex[0]}"
    crop = {"left": "7", "top": "8", "width": "100", "height": "200", **wrong}
    answer = client.post(f"{here}/crop", data=crop)
    assert answer.status_code == 422 and 'value="200"' in answer.text and 'role="alert"' in answer.text
    assert client.get(f"{here}/trained", params=crop).status_code == 422
    assert studio.photos.get("rex", rex[0]).crop is None


def test_the_base_that_is_judged_for_stays_whichever_photos_are_shown(client: TestClient, rex: list[str]) -> None:
    text = client.get("/subjects/rex/photos?base=flux1-dev&show=alike").text
    links = [html.unescape(link) for link in re.findall(r'href="([^"]*[?][^"]*show=[^"]*)"', text)]
    assert len(links) >= 5 and all("base=flux1-dev" in link for link in links), links
    assert re.search(r'name="show" value="alike">\s*<div class="field">\s*<label[^>]*for="f-base"', text)
    path = f"/subjects/rex/photos/{rex[0]}/caption"
    fields = form_of(text, path)
    assert fields["base"] == "flux1-dev"
    saved = client.post(path, data={**fields, "caption": "a {trigger}"})
    assert saved.headers["location"] == f"/subjects/rex/photos?show=alike&base=flux1-dev#p-{rex[0][:12]}"


def test_a_photo_of_the_subject_leads_to_its_row(client: TestClient, rex: list[str]) -> None:
    named = re.findall(r'href="/subjects/rex/photos#([^"]+)"', client.get("/subjects/rex").text)
    rows = client.get("/subjects/rex/photos").text
    assert len(named) == 4 and all(f'id="{name}"' in rows for name in named)


def test_one_is_not_several(client: TestClient, studio: Studio) -> None:
    studio.subjects.add("max", kind="pet")
    for number, size in enumerate(((512, 512), (512, 768), (768, 512), (512, 1024))):
        keep(studio, "max", number, *size)
    assert "1 more shape<" in client.get("/subjects/max/photos?base=flux1-dev").text
    for digest in [one.digest for one in studio.photos.all("max")][1:]:
        studio.photos.remove("max", digest)
    client.post("/subjects/max/datasets", data={"allow_few": "on"})
    assert "Frozen: 1 photo at" in client.get("/subjects/max/datasets").text


def test_a_photo_is_removed_and_a_second_click_does_no_harm(client: TestClient, studio: Studio, rex: list[str]) -> None:
    for _ in range(2):
        assert client.post(f"/subjects/rex/photos/{rex[0]}/remove").status_code == 303
    assert len(studio.photos.all("rex")) == 3
    assert client.get(f"/subjects/rex/photos/{rex[0]}").status_code == 404


def test_a_dataset_is_frozen_and_its_packages_are_zips(client: TestClient, studio: Studio, rex: list[str]) -> None:
    assert "No dataset yet" in client.get("/subjects/rex/datasets").text
    for _ in range(2):
        answer = client.post("/subjects/rex/datasets", data={"base": "limner-tiny", "resolution": "96"})
        assert answer.status_code == 303
    (dataset,) = studio.datasets.all("rex")
    listed = client.get("/subjects/rex/datasets").text
    assert dataset.digest[:8] in listed and "4 photos at 96 px" in listed
    sheet = client.get(f"/subjects/rex/datasets/{dataset.digest}/sheet")
    assert sheet.headers["content-type"] == "image/png" and Image.open(io.BytesIO(sheet.content)).width > 100
    assert [name for name, _ in LAYOUTS] == list(ALL_LAYOUTS)
    for layout, _ in LAYOUTS:
        packed = client.get(f"/subjects/rex/datasets/{dataset.digest}/package/{layout}")
        assert packed.headers["content-disposition"] == f'attachment; filename="rex-{dataset.digest[:8]}-{layout}.zip"'
        with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
            assert archive.testzip() is None
    assert client.get(f"/subjects/rex/datasets/{dataset.digest}/package/nonsense").status_code == 404


def test_a_freeze_that_is_refused_keeps_the_form(client: TestClient, studio: Studio, rex: list[str]) -> None:
    for data in ({"resolution": "100"}, {"resolution": "x"}, {"base": "none", "resolution": "64"}):
        answer = client.post("/subjects/rex/datasets", data=data)
        assert answer.status_code == 422 and f'value="{data["resolution"]}"' in answer.text
    studio.photos.remove("rex", rex[0])
    assert client.post("/subjects/rex/datasets", data={}).status_code == 422
    assert client.post("/subjects/rex/datasets", data={"allow_few": "on"}).status_code == 303


def test_what_is_anothers_is_not_found(client: TestClient, studio: Studio, rex: list[str]) -> None:
    studio.subjects.add("max", kind="pet")
    dataset = studio.datasets.freeze("rex").digest
    for path in (
        f"/subjects/max/photos/{rex[0]}",
        f"/subjects/max/photos/{rex[0]}/trained",
        f"/subjects/max/datasets/{dataset}/sheet",
        f"/subjects/max/datasets/{dataset}/package/kohya",
        "/subjects/none/photos",
        "/subjects/none/captions",
        "/subjects/none/datasets",
        "/subjects/rex/photos/..%2f..%2fetc",
        "/subjects/rex/photos/%25%25%25%25%25%25",
    ):
        assert client.get(path).status_code == 404, path
    for path in (f"photos/{rex[0]}/caption", f"photos/{rex[0]}/crop"):
        assert client.post(f"/subjects/max/{path}", data={"caption": "x"}).status_code == 404
    assert studio.photos.get("rex", rex[0]).caption == "a brown {trigger} dog"


def test_an_empty_subject_says_what_to_do(client: TestClient, studio: Studio) -> None:
    studio.subjects.add("max", kind="pet")
    text = client.get("/subjects/max/photos").text
    assert "No photo yet" in text and "Not ready to train" in text
