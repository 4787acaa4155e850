"""Run the whole pipeline while its processes are killed, and look at what is left.

    python -m tests.faults.killing --points 50

kills at 50 moments spread over the whole pipeline, one in each run, and compares each run with one that was left alone.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from limner import Studio
from limner.settings import Settings
from tests.operations.conftest import QUICK, draw_photos, kill_all, processes_of

PROMPT = "a drawing of {trigger} on the beach"
DYING = Path(__file__).with_name("dying_worker.py")


@dataclass(frozen=True)
class Outcome:
    """What must be the same however often processes died. Picture bytes hold a time, so their pixels are compared."""

    dataset: str
    lora: str
    photos: tuple[str, ...]
    pixels: tuple[str, ...]
    losses: tuple[tuple[int, float], ...]
    rows: tuple[tuple[str, int], ...]
    revisions: int
    blobs: int
    stray_blobs: int


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "LIMNER_HOME": str(home), "LIMNER_START_WORKER": "false", "OMP_NUM_THREADS": "1"}


def submit(home: Path, photos: Path) -> str:
    """Queue the whole pipeline; nothing works on it yet."""
    with Studio(settings=settings(home)) as studio:
        studio.subjects.add("zib", kind="character", trigger="zibbo")
        drawing = {"count": 2, "seed": 7, "width": 64, "height": 64, "steps": 2}
        return studio.run("zib", [photos], [PROMPT], train={"settings": QUICK}, generate=drawing).id


def settings(home: Path) -> Settings:
    return Settings(home=home, start_worker=False)


def worker(home: Path, deadly: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(DYING), str(deadly)], env=environment(home), stdout=subprocess.PIPE, text=True
    )


def outcome(home: Path, job: str) -> Outcome:
    """Look at everything that the run left."""
    from sqlalchemy import func, select

    from limner.generation.metadata.pixels import pixel_digest
    from limner.store.models import BlobRow, Row

    with Studio(settings=settings(home)) as studio:
        ended = studio.wait(job)
        workspace = studio._workspace
        with workspace.database.read() as session:
            rows = {
                table.name: session.scalar(select(func.count()).select_from(table)) or 0
                for table in Row.metadata.sorted_tables
            }
            named = set(session.scalars(select(BlobRow.digest)))
        stored = workspace.blobs.digests()
        revisions = home / "hub" / "limner" / "zib-lora"
        return Outcome(
            dataset=ended.result["dataset"],
            lora=ended.result["lora_digest"],
            photos=tuple(photo.digest for photo in studio.photos.all("zib")),
            pixels=tuple(pixel_digest(image.path.read_bytes()) for image in reversed(studio.generations.images())),
            losses=studio.trainings.get(ended.target).losses,
            rows=tuple(sorted(rows.items())),
            revisions=len({path.resolve() for path in revisions.parent.glob("zib-lora")}),
            blobs=len(stored),
            stray_blobs=len(set(stored) - named),
        )


def undisturbed(folder: Path) -> tuple[Outcome, int]:
    """A run that is left alone: its outcome, and how many moments its worker had."""
    home, photos = folder / "home", draw_photos(folder / "photos")
    job = submit(home, photos)
    process = worker(home, 0)
    words, _ = process.communicate(timeout=240)
    return outcome(home, job), int(words.split()[-1])


def killed(folder: Path, moments: list[int], *, everything: bool) -> tuple[Outcome, int]:
    """A run whose workers die at these moments, one after the other; the last is left alone. Gives how many died.

    ``everything`` also kills the trainer and what watches over it, as when the machine stops.
    """
    home, photos = folder / "home", draw_photos(folder / "photos")
    job = submit(home, photos)
    died = 0
    for deadly in moments:
        process = worker(home, deadly)
        process.communicate(timeout=240)
        died += process.returncode == -signal.SIGKILL
        if everything:
            kill_all(home)
    last = worker(home, 0)
    last.communicate(timeout=240)
    result = outcome(home, job)
    assert last.returncode == 0
    deadline = time.monotonic() + 30
    while processes_of(home) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(home) == [], "a process outlived its work"
    return result, died


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        wanted, count = undisturbed(Path(scratch) / "alone")
        print(f"left alone: {count} moments, lora {wanted.lora[:12]}, dataset {wanted.dataset[:12]}", flush=True)
        bad = deaths = 0
        for number in range(arguments.first, arguments.points):
            moment = 1 + round(number * (count - 2) / max(1, arguments.points - 1))
            found, died = killed(Path(scratch) / str(number), [moment], everything=number % 2 == 1)
            deaths += died
            same = found == wanted
            bad += not same
            print(
                f"{number + 1}/{arguments.points} at {moment}: died {died}, {'same' if same else f'DIFFERS {found}'}",
                flush=True,
            )
        print(f"{arguments.points} runs, {deaths} deaths, {bad} differ from the run that was left alone")
        sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
