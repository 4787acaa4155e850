"""limner photos health, crop and captions."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from limner import Studio
from limner.settings import Settings
from tests.operations.photos_kept import keep

from .conftest import Shell


@pytest.fixture
def rex(limner: Shell) -> list[str]:
    limner("subjects", "add", "rex", "--kind", "pet", "--class-word", "dog", "--trigger", "rex_dog")
    with Studio(settings=Settings(home=limner.home, start_worker=False)) as studio:
        return [keep(studio, "rex", number, 320, 240, caption="a brown {trigger} dog") for number in range(4)]


def test_health_says_one_line_then_what_is_worth_a_look(limner: Shell, rex: list[str]) -> None:
    told = limner("photos", "health", "rex")
    assert told.code == 0
    assert told.out.splitlines()[0] == "Ready to train with 4 photos; 2 things are worth a look."
    assert "not measured" in told.out and "4 captions tell what the trigger should carry." in told.out
    assert rex[0][:8] in told.out
    data = limner("photos", "health", "rex", "--base", "flux1-dev", "--json").json
    assert (data["base"], data["resolution"], data["framing"]) == ("flux1-dev", 1024, None)
    assert {share["name"]: len(share["photos"]) for share in data["sizes"]}["too small"] == 4
    assert limner("photos", "health", "rex", "--resolution", "100").code == 2


def test_a_crop_is_shown_chosen_and_given_back(limner: Shell, rex: list[str], tmp_path: Path) -> None:
    before = limner("photos", "crop", "rex", rex[0][:8])
    assert before.code == 0 and "chosen by Limner" in before.out
    seen = tmp_path / "seen.jpg"
    after = limner("photos", "crop", "rex", rex[0][:8], "--at", "10,20,200,100", "--picture", str(seen), "--json")
    assert after.json["own"] is True
    assert Image.open(seen).size == tuple(after.json["bucket"])
    assert limner("photos", "crop", "rex", rex[0], "--automatic").out == before.out
    for at in ("1,2,3", "a,b,c,d", "0,0,999,999", "0,0,10,10"):
        assert limner("photos", "crop", "rex", rex[0], "--at", at).code == 2
    assert limner("photos", "crop", "rex", rex[0], "--at", "0,0,99,99", "--automatic").code == 2
    assert limner("photos", "crop", "rex", rex[0]).out == before.out


def test_many_captions_are_looked_at_changed_and_put_back(limner: Shell, rex: list[str]) -> None:
    words = ("photos", "captions", "rex", "--find", "brown ", "--suffix", ", outdoors")
    assert "4 captions would change." in limner(*words, "--what-if").out
    assert limner("photos", "list", "rex", "--json").json[0]["caption"] == "a brown {trigger} dog"
    done = limner(*words)
    assert "4 captions changed." in done.out and "+ a {trigger} dog, outdoors" in done.out
    assert "0 captions changed." in limner(*words).out
    assert len(limner("photos", "captions", "rex", "--undo", "--json").json["changes"]) == 4
    assert limner("photos", "captions", "rex", "--undo").code == 3
    assert limner("photos", "captions", "rex").code == 2


def test_a_package_of_folders_is_one_zip_if_told(limner: Shell, rex: list[str], tmp_path: Path) -> None:
    limner("datasets", "freeze", "rex")
    done = limner("datasets", "package", "rex", "--layout", "kohya", "--zip", "--out", str(tmp_path / "rex.zip"))
    assert done.code == 0 and (tmp_path / "rex.zip").read_bytes()[:2] == b"PK"
