"""Photos made ready by hand: crops, captions one by one and many at once, and the way back."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from limner import Studio
from limner.errors import CaptionRefused, InputRefused, NotFound
from limner.types import Crop
from tests.operations.photos_kept import keep, stored


@pytest.fixture
def made(tmp_path: Path) -> Studio:
    return stored(tmp_path / "home")


def test_a_crop_is_kept_and_is_what_freezing_takes(made: Studio) -> None:
    digest = keep(made, "rex", 1, 640, 480)
    for number in range(2, 5):
        keep(made, "rex", number, 640, 480)
    (before,) = made.photos.proposed_crops("rex", [digest])
    assert not before.own
    crop = Crop(100, 50, 300, 300)
    assert made.photos.set_crop("rex", digest[:10], crop).crop == crop
    (after,) = made.photos.proposed_crops("rex", [digest])
    assert after.own and after.crop == crop and after.bucket == (128, 128)
    frozen = {item.photo: item for item in made.datasets.freeze("rex").manifest.items}
    proposed = {one.photo: one for one in made.photos.proposed_crops("rex")}
    assert {digest: (item.crop, item.bucket) for digest, item in frozen.items()} == {
        digest: (one.crop, one.bucket) for digest, one in proposed.items()
    }
    made.photos.set_crop("rex", digest, None)
    assert made.photos.proposed_crops("rex", [digest]) == [before]


@pytest.mark.parametrize(
    "crop", [Crop(0, 0, 641, 480), Crop(-1, 0, 100, 100), Crop(600, 0, 64, 64), Crop(0, 0, 63, 200), Crop(0, 0, 0, 0)]
)
def test_a_crop_that_cannot_be_is_refused_and_nothing_is_changed(made: Studio, crop: Crop) -> None:
    digest = keep(made, "rex", 1, 640, 480)
    made.photos.set_crop("rex", digest, Crop(0, 0, 200, 200))
    with pytest.raises(InputRefused) as refused:
        made.photos.set_crop("rex", digest, crop)
    assert refused.value.remedy
    with pytest.raises(InputRefused):
        made.photos.crop_picture("rex", digest, crop=crop)
    assert made.photos.get("rex", digest).crop == Crop(0, 0, 200, 200)


def test_the_picture_of_a_crop_is_the_part_at_the_buckets_size(made: Studio) -> None:
    import pyvips

    digest = keep(made, "rex", 1, 640, 480)
    whole = pyvips.Image.new_from_buffer(made.photos.crop_picture("rex", digest), "")
    tried = pyvips.Image.new_from_buffer(made.photos.crop_picture("rex", digest, crop=Crop(0, 0, 64, 480)), "")
    assert (whole.width, whole.height) == made.photos.proposed_crops("rex", [digest])[0].bucket
    assert tried.height > tried.width
    assert made.photos.get("rex", digest).crop is None


def test_captions_are_set_all_or_none(made: Studio) -> None:
    first, second = keep(made, "rex", 1), keep(made, "rex", 2)
    made.photos.set_captions("rex", {first: "  {trigger}\n asleep ", second[:12]: "[trigger] awake"})
    assert [photo.caption for photo in made.photos.all("rex")] == ["{trigger} asleep", "[trigger] awake"]
    assert {photo.caption_from for photo in made.photos.all("rex")} == {"hand"}
    for wrong, error in (({second: "{triger} x"}, CaptionRefused), ({"f" * 64: "x"}, NotFound)):
        with pytest.raises(error):
            made.photos.set_captions("rex", {first: "other", **wrong})
        assert made.photos.get("rex", first).caption == "{trigger} asleep"
    made.photos.set_caption("rex", first, "")
    assert made.photos.get("rex", first).caption_from == ""


def test_a_photo_of_another_subject_or_a_wildcard_names_none(made: Studio) -> None:
    digest = keep(made, "rex", 1)
    made.subjects.add("max", kind="pet")
    for slug, name in (("max", digest), ("rex", "%%%%%%"), ("rex", ""), ("rex", digest[:5])):
        with pytest.raises(NotFound):
            made.photos.set_caption(slug, name, "x")


def test_many_captions_are_looked_at_then_changed_then_put_back(made: Studio) -> None:
    first, second, third = (keep(made, "rex", number) for number in (1, 2, 3))
    before = {first: "a brown Dog, brown dogs", second: "{trigger} in the snow", third: ""}
    made.photos.set_captions("rex", before)
    looked = made.captions.edit("rex", what_if=True, find="dog", replace="{trigger}", whole_words=True)
    assert [(one.photo, one.after) for one in looked.changes] == [(first, "a brown {trigger}, brown dogs")]
    assert looked.made_at is None and made.captions.last("rex") is None
    assert made.photos.get("rex", first).caption == before[first]

    done = made.captions.edit("rex", prefix="soft light, ", suffix=", outdoors")
    assert {one.photo for one in done.changes} == {first, second}
    assert made.photos.get("rex", second).caption == "soft light, {trigger} in the snow, outdoors"
    assert made.captions.edit("rex", prefix="soft light, ", suffix=", outdoors").changes == ()
    made.photos.set_caption("rex", second, "by hand since")
    last = made.captions.last("rex")
    assert last and len(last.changes) == 2 and last.made_at
    assert [one.photo for one in made.captions.undo("rex").changes] == [first]
    assert [photo.caption for photo in made.photos.all("rex")] == [before[first], "by hand since", ""]
    with pytest.raises(NotFound):
        made.captions.undo("rex")


def test_an_edit_fills_empty_captions_only_if_told(made: Studio) -> None:
    digest = keep(made, "rex", 1)
    assert made.captions.edit("rex", prefix="soft light, ").changes == ()
    made.captions.edit("rex", prefix="soft light, ", fill_empty=True)
    assert made.photos.get("rex", digest).caption == "soft light, a photo of {trigger} {class_word}"
    made.captions.undo("rex")
    assert (made.photos.get("rex", digest).caption, made.photos.get("rex", digest).caption_from) == ("", "")


def test_an_edit_that_would_break_one_caption_changes_none(made: Studio) -> None:
    first, second = keep(made, "rex", 1), keep(made, "rex", 2)
    made.photos.set_captions("rex", {first: "one x", second: "two"})
    with pytest.raises(CaptionRefused, match="No caption was changed"):
        made.captions.edit("rex", find="x", replace="{nonsense}", suffix=".")
    assert [photo.caption for photo in made.photos.all("rex")] == ["one x", "two"]
    for options in ({}, {"prefix": "  "}, {"find": "x" * 501}):
        with pytest.raises(InputRefused):
            made.captions.edit("rex", **options)  # type: ignore[arg-type]


def test_what_is_found_and_put_in_is_taken_as_it_stands(made: Studio) -> None:
    digest = keep(made, "rex", 1)
    made.photos.set_caption("rex", digest, r"a (cat) \1 .*")
    made.captions.edit("rex", find="(cat)", replace=r"\g<0> $1", match_case=True)
    assert made.photos.get("rex", digest).caption == r"a \g<0> $1 \1 .*"
    assert made.captions.edit("rex", find="A", match_case=True, replace="b").changes == ()


def test_a_removed_photo_is_gone_and_its_caption_is_not_put_back(made: Studio) -> None:
    first, second = keep(made, "rex", 1), keep(made, "rex", 2)
    made.photos.set_captions("rex", {first: "one", second: "two"})
    made.captions.edit("rex", suffix=", outdoors")
    made.photos.remove("rex", first)
    with pytest.raises(NotFound):
        made.photos.remove("rex", first)
    assert [one.photo for one in made.captions.undo("rex").changes] == [second]


def test_the_last_edit_is_erased_with_its_subject(made: Studio) -> None:
    made.photos.set_caption("rex", keep(made, "rex", 1), "one")
    made.captions.edit("rex", suffix=", outdoors")
    made.erasure.erase("rex")
    made.subjects.add("rex", kind="pet")
    assert made.captions.last("rex") is None


@pytest.mark.parametrize("layout", ["replicate", "fal", "kohya", "ai-toolkit", "diffusers"])
def test_every_layout_can_be_one_zip_of_the_same_bytes(made: Studio, tmp_path: Path, layout: str) -> None:
    for number in range(4):
        keep(made, "rex", number)
    digest = made.datasets.freeze("rex").digest
    one, two = (made.datasets.package(digest, layout, tmp_path / f"{n}.zip", zipped=True) for n in (1, 2))
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        assert archive.testzip() is None and len(archive.namelist()) >= 4
