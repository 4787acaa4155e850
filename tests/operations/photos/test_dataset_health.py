"""Health: each thing said of the photos as a set is measured, and what was not measured is not said."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from limner import Studio
from limner.operations.photos.dataset_health import alike_groups
from limner.records import DatasetHealth
from limner.types import Crop, Severity
from tests.operations.photos_kept import keep, stored


@pytest.fixture
def made(tmp_path: Path) -> Studio:
    return stored(tmp_path / "home")


def codes(health: DatasetHealth) -> list[str]:
    return [finding.code for finding in health.findings]


def shares(health: DatasetHealth, which: str) -> dict[str, int]:
    return {share.name: share.count for share in getattr(health, which)}


def test_a_sound_set_gives_one_calm_line(made: Studio) -> None:
    for number in range(12):
        keep(made, "rex", number, caption=f"a photo of {{trigger}} dog, place {number}")
    health = made.photos.health("rex")
    assert health.verdict == "Ready to train with 12 photos; nothing stands out."
    assert (health.findings, health.by_photo, health.warnings) == ((), {}, 0)


def test_too_few_photos_are_not_ready(made: Studio) -> None:
    assert made.photos.health("rex").verdict == "Not ready to train. There is no photo yet."
    for number in range(3):
        keep(made, "rex", number)
    health = made.photos.health("rex")
    assert codes(health)[0] == "too-few-photos" and health.findings[0].severity is Severity.REFUSAL
    keep(made, "rex", 3)
    assert codes(made.photos.health("rex"))[0] == "few-photos"


def test_sizes_and_shapes_are_those_that_freezing_gives(made: Studio) -> None:
    sizes = [(640, 640), (640, 426), (120, 120), (100, 100), (66, 66), (900, 330), (64, 400)]
    for number, (width, height) in enumerate(sizes):
        keep(made, "rex", number, width, height)
    for base, resolution in (("limner-tiny", None), ("limner-tiny", 96), ("flux1-dev", None)):
        health = made.photos.health("rex", base=base, resolution=resolution)
        dataset = made.datasets.freeze("rex", base=base, resolution=resolution, allow_few=True)
        frozen: dict[str, int] = {}
        for item in dataset.manifest.items:
            name = f"{item.bucket[0]} × {item.bucket[1]}"
            frozen[name] = frozen.get(name, 0) + 1
        assert shares(health, "shapes") == frozen
        enlarged = [finding for finding in dataset.findings if finding.code == "photo-enlarged"]
        assert shares(health, "sizes")["too small"] == len(enlarged)
        assert sum(shares(health, "sizes").values()) == len(sizes)


def test_a_crop_of_the_users_counts_as_the_photo(made: Studio) -> None:
    digest = keep(made, "rex", 1, 640, 640, codes=("several-faces",))
    assert "several-faces" in codes(made.photos.health("rex"))
    made.photos.set_crop("rex", digest, Crop(0, 0, 70, 70))
    health = made.photos.health("rex")
    assert "several-faces" not in codes(health)
    assert shares(health, "sizes") == {"large enough": 0, "smaller": 1, "too small": 0}


def test_framing_is_not_made_up(made: Studio) -> None:
    keep(made, "rex", 1)
    keep(made, "rex", 2, faces=1)
    assert made.photos.health("rex").framing is None


def test_framing_follows_the_face_in_the_part_that_is_trained(tmp_path: Path) -> None:
    made = stored(tmp_path / "home", kind="person", name="Dan")
    keep(made, "rex", 1, face=(0.3, 0.1, 0.2, 0.2), faces=1)
    whole = keep(made, "rex", 2, face=(0.4, 0.1, 0.1, 0.1), faces=1)
    keep(made, "rex", 3, faces=0)
    keep(made, "rex", 4)
    health = made.photos.health("rex")
    assert shares(health, "framing") == {"close": 0, "half": 1, "whole": 1, "no face": 1, "not measured": 1}
    assert "no-close-up" in codes(health)
    made.photos.set_crop("rex", whole, Crop(100, 20, 90, 90))
    health = made.photos.health("rex")
    assert shares(health, "framing")["close"] == 1 and "no-close-up" not in codes(health)


def test_a_face_that_the_crop_leaves_out_is_not_counted(tmp_path: Path) -> None:
    made = stored(tmp_path / "home", kind="person", name="Dan")
    digests = [keep(made, "rex", number, 600, 900, face=(0.35, 0.05, 0.3, 0.4), faces=1) for number in range(6)]
    assert shares(made.photos.health("rex"), "framing")["close"] == 6
    for digest in digests[:4]:
        made.photos.set_crop("rex", digest, Crop(0, 500, 600, 400))  # the legs
    made.photos.set_crop("rex", digests[4], Crop(300, 0, 300, 900))  # its centre is on the edge, and so inside
    made.photos.set_crop("rex", digests[5], Crop(0, 200, 600, 700))  # the lower part of it
    health = made.photos.health("rex")
    assert shares(health, "framing") == {"close": 1, "half": 1, "whole": 0, "no face": 4}
    for digest in digests[4:]:
        made.photos.set_crop("rex", digest, Crop(0, 500, 600, 400))
    assert "no-close-up" in codes(made.photos.health("rex"))


def test_what_is_alike_comes_in_groups() -> None:
    hashes = {"a": "0" * 16, "b": f"{0b111111:016x}", "c": f"{0b111111111111:016x}", "d": "f" * 16, "e": ""}
    assert alike_groups(hashes) == (("a", "b", "c"),)
    assert alike_groups({"a": "0" * 16, "b": f"{0b1111111:016x}"}) == ()


def test_alike_photos_are_warned_of_with_their_digests(made: Studio) -> None:
    one = keep(made, "rex", 1, perceptual_hash="00000000000000ff")
    keep(made, "rex", 2)
    two = keep(made, "rex", 3, perceptual_hash="00000000000000fe")
    health = made.photos.health("rex")
    assert health.alike == ((one, two),)
    assert next(finding for finding in health.findings if finding.code == "alike").photos == (one, two)


def test_one_light_is_noticed_and_only_where_there_are_enough_photos(made: Studio) -> None:
    for number in range(5):
        keep(made, "rex", number, exposure=0.5 + 0.01 * number)
    assert "one-light" not in codes(made.photos.health("rex"))
    keep(made, "rex", 5, exposure=0.5)
    assert "one-light" in codes(made.photos.health("rex"))
    keep(made, "rex", 6, exposure=0.7)
    assert "one-light" not in codes(made.photos.health("rex"))


@pytest.mark.parametrize("code", ["blurred", "dark", "bright", "flat", "long-shape", "several-faces"])
def test_what_intake_said_is_said_of_the_set_and_of_the_photo(made: Studio, code: str) -> None:
    digest = keep(made, "rex", 1, codes=(code,))
    keep(made, "rex", 2)
    health = made.photos.health("rex")
    assert next(finding for finding in health.findings if finding.code == code).photos == (digest,)
    assert [finding.code for finding in health.by_photo[digest]] == [code]


def test_captions_that_give_the_subject_away_are_named_with_their_words(made: Studio) -> None:
    wanted = {
        "a brown {trigger} dog": "caption-tells-trait",
        "Rex with {trigger}": "caption-tells-name",
        "a dog in the snow": "caption-without-trigger",
        "{trigger} and rex_dog": "trigger-doubled",
        "{triger} {trigger}": "caption-unusable",
    }
    digests = {
        keep(made, "rex", number, caption=caption): code for number, (caption, code) in enumerate(wanted.items())
    }
    keep(made, "rex", 9, caption="{trigger} asleep")
    health = made.photos.health("rex")
    assert {digest: found[0].code for digest, found in health.by_photo.items()} == digests
    for photo in made.photos.all("rex"):
        assert made.photos.findings("rex", photo.digest[:9]) == health.by_photo.get(photo.digest, ())
    told = next(found[0] for found in health.by_photo.values() if found[0].code == "caption-tells-trait")
    assert "brown {trigger}" in told.message and told.remedy
    assert health.verdict.startswith("Not ready to train. 1 caption cannot be used.")


def test_photos_without_a_caption_are_told_what_they_get(made: Studio) -> None:
    first = keep(made, "rex", 1)
    keep(made, "rex", 2, caption="{trigger} asleep")
    health = made.photos.health("rex")
    assert health.uncaptioned == (first,)
    assert "1 photo has no caption of its own and gets 'a photo of rex_dog dog'." in [
        f.message for f in health.findings
    ]


def test_every_sentence_ends_and_has_a_remedy(made: Studio) -> None:
    for number in range(7):
        keep(made, "rex", number, 66, 66, exposure=0.5, codes=("blurred",), perceptual_hash="0" * 16, caption="Rex")
    for finding in made.photos.health("rex", base="flux1-dev").findings:
        assert finding.message.endswith(".") and finding.remedy.endswith(".")


def test_hundreds_of_photos_take_a_moment(made: Studio) -> None:
    for number in range(120):
        keep(
            made,
            "rex",
            number,
            64 + number % 9,
            64 + number // 9,
            caption=f"a photo of {{trigger}} dog number {number} with brown eyes",
        )
    began = time.perf_counter()
    assert len(made.photos.health("rex").by_photo) == 120
    assert time.perf_counter() - began < 5


# --- captions that are longer than is read ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "words", "severity"),
    [
        ("flux1-dev", 20, None),
        ("flux1-dev", 120, "note"),
        ("flux1-dev", 700, "warning"),
        ("flux1-schnell", 350, "warning"),
        ("flux2-klein-4b", 120, None),
        ("flux2-klein-4b", 700, "warning"),
        ("limner-tiny", 120, "warning"),
    ],
)
def test_a_caption_that_an_encoder_cuts_is_said(tmp_path: Path, base: str, words: int, severity: str | None) -> None:
    with stored(tmp_path / "home") as studio:
        digest = keep(studio, "rex", 1, caption="a photo of {trigger}" + " red" * words)
        keep(studio, "rex", 2, caption="a photo of {trigger}")
        found = [one for one in studio.photos.health("rex", base=base).findings if one.code == "caption-cut"]
        assert [one.severity.value for one in found] == ([severity] if severity else [])
        assert all(one.photos == (digest,) for one in found)
        mine = [one for one in studio.photos.findings("rex", digest, base=base) if one.code == "caption-cut"]
        assert len(mine) == len(found)
        before = [one for one in studio.trainings.offers("rex", base=base).findings if one.code == "caption-cut"]
        assert [one.severity for one in before] == [one.severity for one in found]
