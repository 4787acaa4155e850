"""Limner's intake beside the plain Pillow loop, on the same 12-megapixel JPEGs and the same cores.

    python benchmarks/intake.py [--photos FOLDER] [--count 200] [--threads 2] [--rounds 1]

The loop opens, turns, converts, resizes with LANCZOS to a shortest side of 1024 and saves as JPEG Q95, in as many
threads as the intake has. The intake does all its checks and stores up to a shortest side of 1280. Each runs in a
process of its own, one after the other, so many rounds as asked; peak memory is the whole process's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PHOTOS = Path(__file__).parent.parent / "src" / "limner" / "demo" / "photos"
SIZE = (4000, 3000)


@dataclass(frozen=True)
class Run:
    """What one of the two reached: photos a second, seconds of all cores a photo, peak memory in MB."""

    photos_a_second: float
    cpu_seconds: float
    peak_megabytes: float
    outcome: str


@dataclass(frozen=True)
class Comparison:
    """Both runs; ``faster`` says how many times as many photos a second the intake takes in."""

    count: int
    threads: int
    limner: Run
    pillow: Run

    @property
    def faster(self) -> float:
        return self.limner.photos_a_second / self.pillow.photos_a_second

    @property
    def less_work(self) -> float:
        """The same for processor time, which other programs on the machine disturb less."""
        return self.pillow.cpu_seconds / self.limner.cpu_seconds

    @property
    def memory(self) -> float:
        return self.limner.peak_megabytes / self.pillow.peak_megabytes


def measure(photos: Path = PHOTOS, *, count: int = 200, threads: int = 2, rounds: int = 1) -> Comparison:
    """Make ``count`` JPEGs of 12 megapixels from the pictures of a folder, and take them in both ways."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "photos"
        made.mkdir()
        _child("make", photos, made, count, scratch)
        runs: dict[str, list[dict[str, Any]]] = {"pillow": [], "limner": []}
        for number in range(rounds):
            for way, results in runs.items():
                out = Path(scratch) / f"{way}-{number}"
                out.mkdir()
                results.append(_child(way, made, out, threads, scratch))
        return Comparison(count, threads, _joined(runs["limner"], count), _joined(runs["pillow"], count))


def _joined(results: list[dict[str, Any]], count: int) -> Run:
    total = count * len(results)
    return Run(
        photos_a_second=total / sum(result["seconds"] for result in results),
        cpu_seconds=sum(result["cpu"] for result in results) / total,
        peak_megabytes=max(result["peak"] for result in results),
        outcome=results[-1]["outcome"],
    )


def _child(way: str, source: Path, out: Path, number: int, scratch: str) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).absolute()), "--child", way, str(source), str(out), str(number)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=scratch)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def make(source: Path, out: Path, count: int) -> str:
    """Cut different windows out of the pictures, each enlarged to 12 megapixels."""
    from PIL import Image

    pictures = [Image.open(file).convert("RGB") for file in sorted(source.rglob("*.jpg"))]
    if not pictures:
        raise SystemExit(f"{source} holds no .jpg.")

    def one(number: int) -> None:
        picture, chance = pictures[number % len(pictures)], random.Random(number)
        width = min(picture.width, picture.height * 4 // 3) * chance.uniform(0.6, 1.0)
        left, top = chance.uniform(0, picture.width - width), chance.uniform(0, picture.height - width * 3 / 4)
        window = (left, top, left + width, top + width * 3 / 4)
        enlarged = picture.resize(SIZE, Image.Resampling.LANCZOS, box=window)
        enlarged.save(out / f"{number:04}.jpg", quality=90)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(count)))
    return f"{count} made"


def pillow(source: Path, out: Path, threads: int) -> str:
    """The plain loop."""
    from PIL import Image, ImageOps

    def one(file: Path) -> None:
        image = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
        scale = min(1.0, 1024 / min(image.size))
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        image.save(out / file.name, quality=95)

    with ThreadPoolExecutor(threads) as pool:
        return f"{len(list(pool.map(one, sorted(source.iterdir()))))} saved"


def limner(source: Path, out: Path, threads: int) -> str:
    """The intake as the pipeline calls it, but for the database."""
    from limner.photos import IntakeLimits, find_sources, take_in
    from limner.store import Blobs
    from limner.types import Verdict

    limits = IntakeLimits()
    verdicts = []
    for result in take_in(find_sources([source], out, limits), limits=limits, threads=threads):
        verdicts.append(result.report.verdict)
        if result.data is not None:
            Blobs(out).put(result.data)
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict)


def _peak_megabytes() -> float:
    try:
        # A child that was forked from a large process has that process's peak in its resource usage.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _be_child(way: str, source: str, out: str, number: str) -> None:
    work = {"make": make, "pillow": pillow, "limner": limner}[way]
    began, busy = time.perf_counter(), time.process_time()
    outcome = work(Path(source), Path(out), int(number))
    result = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - busy,
        "peak": _peak_megabytes(),
        "outcome": outcome,
    }
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="a folder with JPEGs to make the photos from")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        _be_child(*chosen.child)
        return
    result = measure(chosen.photos.absolute(), count=chosen.count, threads=chosen.threads, rounds=chosen.rounds)
    print(f"{result.count} JPEGs of 12 megapixels, {result.threads} threads")
    for name, run in (("plain Pillow loop", result.pillow), ("limner, all checks", result.limner)):
        print(
            f"{name:20} {run.photos_a_second:6.1f} photos/s  {run.cpu_seconds * 1000:6.0f} ms of processor a photo  "
            f"{run.peak_megabytes:6.0f} MB  {run.outcome}"
        )
    print(f"limner is {result.faster:.2f} x as fast ({result.less_work:.2f} x by processor time),", end=" ")
    print(f"with {result.memory:.2f} x the memory")


if __name__ == "__main__":
    main()
