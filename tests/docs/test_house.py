"""The house as it is drawn and checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.house import PICTURE, ROOT, House, circles, picture, read_house

PAGES = ("CONTRIBUTING.md", "docs/architecture.md")
FOLDERS = ("", "src/limner/", "src/limner/web/", "src/limner/web/templates/", "docs/", "tests/")
OTHERS = ("static/vendor/", "NAME", "NOUN", "VENDOR", "blobs/", "uploads/")
"""Parts of names that stand for others, or are there only once Limner is built or at work."""


@pytest.fixture(scope="module")
def house() -> House:
    return read_house()


def test_drawing_is_current(house: House) -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(house), "run: make house"


def test_nothing_looks_upward_and_nothing_goes_round(house: House) -> None:
    assert not house.upward
    assert not circles(house.imports)
    assert not house.circles_of_rooms()


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        """
        [[tool.importlinter.contracts]]
        type = "layers"
        layers = ["limner.web", "limner.photos | limner.loras", "limner.store : limner.types"]
        """
    )
    files = {
        "web/page.py": "from limner.photos import intake\nfrom limner.web import form",
        "web/form.py": "def send():\n    from limner.web.page import draw",
        "photos/intake.py": "if TYPE_CHECKING:\n    from limner.loras.file import Lora",
        "photos/__init__.py": "",
        "loras/file.py": "import limner.store",
        "store.py": "def late():\n    import limner.web.page\n    from limner.types import Photo",
        "types.py": "",
        "store_room/shelf.py": "import limner.box.lid",
        "store_room/__init__.py": "",
        "box/lid.py": "",
        "box/key.py": "from limner.store_room import shelf",
        "box/__init__.py": "",
    }
    for name, text in files.items():
        (path := tmp_path / "src/limner" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    house = read_house(tmp_path)
    assert house.upward == [
        "limner.photos.intake imports limner.loras.file",
        "limner.store imports limner.web.page",
    ]
    assert circles(house.imports) == [
        ["limner.loras.file", "limner.photos.intake", "limner.store", "limner.web.form", "limner.web.page"]
    ]
    assert house.circles_of_rooms() == [["limner.box", "limner.store_room"]]


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    named = re.findall(r"`(?:limner/)?([\w./-]+(?:\.(?:py|toml|css|html)|/))`", text)
    files = {path.name for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.*")}
    there = [name for name in named if name in files or any((ROOT / folder / name).exists() for folder in FOLDERS)]
    lost = [name for name in named if name not in there and not any(part in name for part in OTHERS)]
    assert len(there) > 20 and not lost
