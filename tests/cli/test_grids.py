"""limner grid and what limner lora has for checkpoints and cards, over a home with a training in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from limner import Studio
from limner.cli.main import run
from limner.settings import Settings
from tests.operations.loras_made import TRAINING, add_training, draw


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIMNER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LIMNER_START_WORKER", "false")
    monkeypatch.setenv("NO_COLOR", "1")
    with Studio(settings=Settings()) as studio:
        studio.subjects.add("zib", kind="character", trigger="zibbo")
        add_training(studio)
    return tmp_path / "home"


def say(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert run(words) == code
    told = capsys.readouterr()
    return told.out + told.err


def test_a_grid_from_start_to_file(home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    axes = ("--across", "checkpoint=10,20", "--down", "scale=0.6,1", "--training", "0123")
    assert "In all: nothing is paid" in say(capsys, "grid", "start", "{trigger}", *axes, "--what-if")
    started = say(capsys, "grid", "start", "{trigger}", *axes, "--detach", "--json", "--generator", "local")
    grid = json.loads(started)["id"]
    assert "checkpoint × scale" in say(capsys, "grid", "list", "--training", "0123")
    with Studio(settings=Settings()) as studio:
        one, other = (image.id for image in draw(studio, studio.grids.grid(grid)).images[:2])
    short = grid.removeprefix("grid_")[:8]
    assert "step 10, scale 0.6 before step 20, scale 0.6." in say(capsys, "grid", "vote", short, str(one), str(other))
    assert re.search(r"checkpoint: not decided yet", say(capsys, "grid", "show", short))
    assert "Taken back" in say(capsys, "grid", "undo", short)
    assert "There is no vote" in say(capsys, "grid", "undo", short)
    for name in ("sheet.png", "all.zip"):
        assert name in say(capsys, "grid", "save", short, str(tmp_path / name))
        assert (tmp_path / name).stat().st_size > 200
    assert "stops" in say(capsys, "grid", "cancel", short)
    assert "Its pictures stay" in say(capsys, "grid", "delete", short)
    assert "No grid yet" in say(capsys, "grid", "list")


def test_a_grid_that_cannot_be_exits_2(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no axis 'size'" in say(capsys, "grid", "start", "x", "--across", "size=1", code=2)
    assert "There is no grid" in say(capsys, "grid", "show", "ffff", code=3)


def test_a_checkpoint_is_picked_written_about_and_deleted(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert f"{TRAINING}#20" in say(capsys, "lora", "pick", "0123")
    assert "Step 20 is zib@v1." in say(capsys, "lora", "pick", "0123", "20")
    words = tmp_path / "words.md"
    words.write_text("Best at [0.8].", encoding="utf-8")
    card = say(capsys, "lora", "card", "zib", "--words", str(words))
    assert "Best at [0.8]." in card
    assert "## Licence" in card
    assert "nothing was deleted" in say(capsys, "lora", "delete", "zib", "--json", code=2)
    assert "Deleted zib@v1." in say(capsys, "lora", "delete", "zib", "--yes")
    assert "There is no lora" in say(capsys, "lora", "show", "zib", code=3)
