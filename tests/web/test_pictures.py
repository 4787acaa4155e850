"""Pictures are served to whom they belong to, as pictures only, and are kept by browsers as long as they hold."""

from __future__ import annotations

import io

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from limner.studio import Studio
from tests.web.pictures_made import add_generation, add_photo, add_sample, add_subject, keep, png


@pytest.fixture
def image(studio: Studio) -> int:
    (number,) = add_generation(studio, "1f0c9a3e")
    return number


def test_an_image_is_served_as_it_was_drawn(client: TestClient, studio: Studio, image: int) -> None:
    picture = studio.gallery.picture(image)
    answer = client.get(f"/images/{image}/picture?v={picture.digest[:12]}")
    assert answer.status_code == 200
    assert answer.content == picture.path.read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["content-disposition"] == 'inline; filename="1f0c9a3e-00-7.png"'
    again = client.get(f"/images/{image}/picture", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "attachment" in client.get(f"/images/{image}/picture?download=1").headers["content-disposition"]


@pytest.mark.parametrize("version", ["", "0" * 12, "abc"])
def test_a_version_that_does_not_match_is_asked_for_again(client: TestClient, image: int, version: str) -> None:
    for kind in ("picture", "thumb"):
        answer = client.get(f"/images/{image}/{kind}?v={version}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "private, no-cache"


def test_a_thumbnail_is_a_small_webp(client: TestClient, studio: Studio) -> None:
    digest = keep(studio, png(5, (900, 600)))
    add_subject(studio, "zib")
    add_photo(studio, "zib", png(5, (900, 600)))
    answer = client.get(f"/subjects/zib/photos/{digest}/thumb?w=160")
    assert answer.headers["content-type"] == "image/webp"
    assert "immutable" in answer.headers["cache-control"]
    assert Image.open(io.BytesIO(answer.content)).size == (160, 107)
    assert client.get(f"/subjects/zib/photos/{digest}/thumb?w=160").content == answer.content
    assert client.get(f"/subjects/zib/photos/{digest}/picture").headers["content-type"] == "image/png"


def test_samples_are_served_whole_and_small(client: TestClient, studio: Studio) -> None:
    add_subject(studio, "zib")
    data = png(9, (400, 400))
    add_sample(studio, "zib", "training_0123456789abcdef", data)
    assert client.get("/samples/training_0123456789abcdef/100/0").content == data
    small = client.get("/samples/training_0123456789abcdef/100/0?w=320")
    assert Image.open(io.BytesIO(small.content)).size == (320, 320)
    assert client.get("/samples/training_0123456789abcdef/100/1").status_code == 404
    assert client.get("/samples/training_0123456789abcdef/101/0?w=320").status_code == 404


def test_a_digest_must_belong_to_the_subject_that_is_named(client: TestClient, studio: Studio, image: int) -> None:
    add_subject(studio, "zib")
    add_subject(studio, "other")
    digest = add_photo(studio, "zib", png(3))
    drawn = studio.gallery.picture(image).digest
    assert client.get(f"/subjects/zib/photos/{digest}/picture").status_code == 200
    for slug, wanted in (("other", digest), ("nobody", digest), ("zib", drawn)):
        for kind in ("picture", "thumb"):
            assert client.get(f"/subjects/{slug}/photos/{wanted}/{kind}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/images/999/picture",
        "/images/..%2f..%2flimner.db/picture",
        "/images/-1/picture",
        "/images/99999999999999999999999999/thumb",
        "/subjects/zib/photos/..%2f..%2f..%2fetc%2fpasswd/picture",
        "/subjects/..%2f/photos/" + "a" * 64 + "/picture",
        "/subjects/zib/photos/" + "A" * 64 + "/thumb",
        "/samples/..%2f..%2f/1/0",
        "/samples/training_x/-1/0",
        "/samples/training_x/1/99999999999999999999999",
    ],
)
def test_nothing_but_what_is_stored_can_be_named(client: TestClient, studio: Studio, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert not answer.headers["content-type"].startswith("image/")


def test_only_the_widths_that_there_are_can_be_asked_for(client: TestClient, image: int) -> None:
    for width in ("0", "-1", "161", "99999", "x"):
        assert client.get(f"/images/{image}/thumb?w={width}").status_code == 422


@pytest.mark.parametrize("data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html><script>alert(1)</script>"])
def test_what_is_no_picture_is_never_shown(client: TestClient, studio: Studio, data: bytes) -> None:
    add_subject(studio, "zib")
    digest = add_photo(studio, "zib", data)
    answer = client.get(f"/subjects/zib/photos/{digest}/picture")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert client.get(f"/subjects/zib/photos/{digest}/thumb").status_code == 422


def test_somebody_elses_pictures_are_not_there(studio: Studio) -> None:
    from limner.errors import NotFound

    add_subject(studio, "zib", owner="ann")
    digest = add_photo(studio, "zib", png(4))
    (image,) = add_generation(studio, "aa", subjects=["zib"], owner="ann")
    add_sample(studio, "zib", "training_aa", png(6))
    ann, ben = studio.owned_by("ann").gallery, studio.owned_by("ben").gallery
    for gallery in (studio.gallery, ann):
        assert gallery.picture(image).media_type == "image/png"
        assert gallery.photo_picture("zib", digest).digest == digest
        assert gallery.sample_picture("training_aa", 100, 0).shown
    for ask in (
        lambda: ben.picture(image),
        lambda: ben.photo_picture("zib", digest),
        lambda: ben.sample_picture("training_aa", 100, 0),
    ):
        with pytest.raises(NotFound):
            ask()
