"""limner images list, favourite, delete, download: on a home with pictures that nobody had to draw."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from limner.settings import Settings
from limner.studio import Studio
from tests.web.pictures_made import add_generation, add_subject

from .conftest import Shell


@pytest.fixture
def limner(tmp_path: Path) -> Shell:
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as studio:
        add_subject(studio, "zib")
        add_generation(studio, "aa", prompt="zibbo on the beach", subjects=["zib"], loras=["zib@v1"], count=3)
        add_generation(studio, "bb", prompt="plain", generator="together", day=30, seed=50)
    return Shell(tmp_path / "home")


def numbers(limner: Shell, *words: object) -> list[int]:
    found = limner("images", "list", *words, "--json")
    assert found.code == 0, found.err
    return [image["id"] for image in found.json]


def test_lists_take_the_gallerys_filters(limner: Shell) -> None:
    assert numbers(limner) == [4, 3, 2, 1]
    assert numbers(limner, "zib", "--limit", 2) == [3, 2]
    assert numbers(limner, "--text", "beach zibbo", "--lora", "zib") == [3, 2, 1]
    assert numbers(limner, "--generator", "together", "--seed", 50) == [4]
    assert numbers(limner, "--since", "2026-10-01") == [4]
    assert numbers(limner, "--until", "2026-09-14") == [3, 2, 1]
    assert "No picture matches" in limner("images", "list", "--text", "nowhere").out
    assert limner("images", "list", "--limit", 9000).code == 2
    assert limner("images", "list", "--since", "soon").code == 2


def test_favourites_are_marked_and_found(limner: Shell) -> None:
    assert "2 pictures marked as favourite" in limner("images", "favourite", 1, 3).out
    assert numbers(limner, "--favourites") == [3, 1]
    assert limner("images", "favourite", 1, "--remove").code == 0
    assert numbers(limner, "--favourites") == [3]
    assert limner("images", "favourite", 99).code == 3
    assert limner("images", "favourite").code == 2


def test_nothing_is_erased_where_nobody_can_be_asked(limner: Shell) -> None:
    assert limner("images", "delete", 1).code == 2
    assert numbers(limner) == [4, 3, 2, 1]
    assert "Erased 2 pictures" in limner("images", "delete", 1, 2, "--yes").out
    assert numbers(limner) == [4, 3]


def test_a_download_is_a_zip_with_what_is_known(limner: Shell, tmp_path: Path) -> None:
    done = limner("images", "download", tmp_path / "a.zip", "--subject", "zib", "--json")
    assert done.json["images"] == 3
    with zipfile.ZipFile(tmp_path / "a.zip") as packed:
        lines = [json.loads(line) for line in packed.read("metadata.jsonl").splitlines()]
    assert [line["image"] for line in lines] == [3, 2, 1]
    assert (tmp_path / "a.zip").stat().st_size == done.json["bytes"]
    assert limner("images", "download", tmp_path / "b.zip", 4, 2).code == 0
    assert limner("images", "download", tmp_path / "no" / "c.zip", 4).code != 0
    assert limner("images", "download", tmp_path / "d.zip", 99).code == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip", "home"]


def test_a_share_copy_is_of_one_picture(limner: Shell, tmp_path: Path) -> None:
    assert limner("images", "download", tmp_path / "a.png", 2, "--share").code == 0
    assert b"zibbo" not in (tmp_path / "a.png").read_bytes()
    assert limner("images", "download", tmp_path / "a.png", 1, 2, "--share").code == 2
