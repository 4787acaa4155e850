"""A studio of its own a test, with pictures small enough that the whole pipeline takes seconds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from limner import Studio
from limner.settings import Settings

QUICK = {
    "rank": 2,
    "alpha": 2.0,
    "steps": 6,
    "batch_size": 2,
    "resolution": 64,
    "checkpoint_every": 2,
    "sample_every": 0,
}
"""A training of a second or two; what it learns does not matter."""


def draw_photos(folder: Path, count: int = 5) -> Path:
    """Pictures that differ, with a sidecar caption on the first."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = Image.new("RGB", (192 + 16 * number, 192), (40 * number, 120, 200 - 30 * number))
        draw = ImageDraw.Draw(image)
        for k in range(12):
            at = (17 * k + 29 * number) % 160
            draw.ellipse(
                (at, (23 * k + 11 * number) % 150, at + 40, (23 * k) % 150 + 50), fill=(20 * k, 255 - 20 * k, 90)
            )
        image.save(folder / f"photo-{number}.png")
    (folder / "photo-0.txt").write_text("a drawing of {trigger} with circles", encoding="utf-8")
    return folder


def processes_of(home: Path) -> list[int]:
    """The processes that name this home in their environment or command line: workers, shims, trainers."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(home).encode() in words:
            found.append(int(entry.name))
    return found


def kill_all(home: Path) -> None:
    """SIGKILL to all of them, until none is left."""
    for _ in range(20):
        alive = processes_of(home)
        for number in alive:
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not alive:
            return


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw_photos(tmp_path / "photos")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "home"
    monkeypatch.setenv("LIMNER_HOME", str(folder))
    monkeypatch.setenv("LIMNER_WORKER_IDLE_SECONDS", "20")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield folder
    kill_all(folder)


@pytest.fixture
def studio(home: Path) -> Iterator[Studio]:
    with Studio(settings=Settings()) as made:
        made.subjects.add("zib", kind="character", trigger="zibbo")
        yield made
