"""A thousand trainings in flight at Replicate, followed by one worker: its memory, and how often it asks.

    python benchmarks/many_trainings.py [--count 1000] [--hold 60]

Everything of Limner is real: the studio submits the trainings as jobs, one worker process starts them, follows them and
keeps their loras. The vendor is Limner's stand-in on a socket of this machine, with Replicate's published limits (600
creates and 3,000 other calls a minute, 429 beyond). All trainings are held in their first step until the last one was
started, and ``hold`` seconds longer; then all end at once. Memory is the worker's resident set, sampled every second.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PER_MINUTE = (600, 3000)


@dataclass(frozen=True)
class Result:
    """What it took. ``calls`` are those of the busiest minute, by kind, ``refused`` how many came too early."""

    count: int
    done: int
    paid: int
    paid_twice: int
    peak_megabytes: float
    held_megabytes: float
    creates: int
    others: int
    polls_a_second: float
    refused: int
    start_seconds: float
    end_seconds: float


class Counting:
    """Counts what a vendor is asked, by minute, and what it refuses."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.calls: Counter[tuple[str, int]] = Counter()
        self.polls = 0
        self.refused = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            create = scope["method"] == "POST" and scope["path"].endswith(("/trainings", "/predictions"))
            self.calls["create" if create else "other", int(time.time()) // 60] += 1
            self.polls += scope["method"] == "GET" and "/trainings/" in scope["path"]

        async def watched(message: Any) -> None:
            self.refused += message["type"] == "http.response.start" and message["status"] == 429
            await send(message)

        await self.app(scope, receive, watched)

    def busiest(self, kind: str) -> int:
        return max((count for (what, _), count in self.calls.items() if what == kind), default=0)


class SmallEngine:
    """Gives a small real lora of limner-tiny without training, so that the machine's time is the worker's."""

    def __init__(self, lora: bytes) -> None:
        self.lora = lora

    def train(self, *_: Any, on_step: Any, steps: int, **__: Any) -> bytes:
        on_step(1, 0.5)
        on_step(steps, 0.4)
        return self.lora

    def draw(self, *_: Any, **__: Any) -> bytes:
        raise NotImplementedError("nothing is drawn here")


def measure(count: int = 1000, hold: float = 60.0, *, say: Any = lambda _: None) -> Result:
    """Run the benchmark in a home folder of its own."""
    import psutil

    from limner.stand_ins.catalog import write_catalog
    from limner.stand_ins.replicate.server import ReplicateStandIn
    from limner.stand_ins.serving import serve
    from limner.studio import Studio

    with tempfile.TemporaryDirectory(prefix="limner-many-") as folder:
        place = Path(folder)
        stand_in = ReplicateStandIn(SmallEngine(_lora(place)), tokens={"r8_benchmark": "bench"})
        stand_in.held, stand_in.per_minute = "processing", PER_MINUTE
        counting = Counting(stand_in.app)
        with (
            serve(counting, stand_in) as url,
            _environment(url, place, write_catalog(place / "catalog")),
            Studio() as studio,
        ):
            dataset = _dataset(studio, place)
            jobs = [
                studio.train(
                    "many",
                    dataset=dataset,
                    base="limner-tiny",
                    trainer="replicate",
                    yes=True,
                    settings={"seed": number},
                )
                for number in range(count)
            ]
            began = time.monotonic()
            worker = subprocess.Popen([sys.executable, "-m", "limner.operations.jobs.worker", "--forever"])
            process, peak = psutil.Process(worker.pid), 0.0
            try:
                while (started := _running(stand_in)) < count:
                    peak = max(peak, process.memory_info().rss / 1e6)
                    say(f"{started} of {count} started, {peak:.0f} MB")
                    time.sleep(1.0)
                start_seconds, polls, held = time.monotonic() - began, counting.polls, 0.0
                until = time.monotonic() + hold
                while time.monotonic() < until:
                    held = max(held, process.memory_info().rss / 1e6)
                    time.sleep(1.0)
                polls_a_second = (counting.polls - polls) / hold if hold else 0.0
                peak, began = max(peak, held), time.monotonic()
                stand_in.held = ""
                while (
                    any(not studio.jobs.get(job.id).state.ended for job in jobs[-20:])
                    or len(studio.loras.all("many")) < count
                ):
                    peak = max(peak, process.memory_info().rss / 1e6)
                    say(f"{len(studio.loras.all('many'))} of {count} kept, {peak:.0f} MB")
                    if time.monotonic() - began > 1200:
                        break
                    time.sleep(1.0)
            finally:
                worker.terminate()
                worker.wait(timeout=30)
            paid = Counter(entry.tag for entry in stand_in.paid)
            return Result(
                count=count,
                done=len(studio.loras.all("many")),
                paid=len(stand_in.paid),
                paid_twice=len(stand_in.paid) - count if len(paid) > count else 0,
                peak_megabytes=peak,
                held_megabytes=held,
                creates=counting.busiest("create"),
                others=counting.busiest("other"),
                polls_a_second=polls_a_second,
                refused=counting.refused,
                start_seconds=start_seconds,
                end_seconds=time.monotonic() - began,
            )


def _running(stand_in: Any) -> int:
    return sum(job.status == "processing" for job in list(stand_in.trainings.values()))


def _dataset(studio: Any, place: Path) -> str:
    from PIL import Image

    photos = place / "photos"
    photos.mkdir()
    for number in range(4):
        sink = io.BytesIO()
        Image.effect_noise((160, 160), 40 + 20 * number).convert("RGB").save(sink, "JPEG", quality=90)
        (photos / f"{number}.jpg").write_bytes(sink.getvalue())
    studio.subjects.add("many", kind="style", class_word="style", trigger="many_st")
    job = studio.photos.add("many", [photos])
    studio.work(idle_seconds=0.1)
    studio.wait(job)
    return str(studio.datasets.freeze("many").digest)


def _lora(place: Path) -> bytes:
    """A lora of rank 2 on the attention of limner-tiny."""
    import numpy as np
    from safetensors.numpy import save

    from limner.catalog import find_base

    shape = find_base("limner-tiny").shape
    width = shape["width"]
    tensors = {}
    for block in range(shape["double_blocks"]):
        for part in ("to_q", "to_k", "to_v"):
            name = f"transformer.transformer_blocks.{block}.attn.{part}"
            tensors[f"{name}.lora_A.weight"] = np.full((2, width), 0.01, np.float32)
            tensors[f"{name}.lora_B.weight"] = np.full((width, 2), 0.01, np.float32)
    del place
    return save(tensors)


@contextmanager
def _environment(url: str, place: Path, catalog: Path) -> Iterator[None]:
    values = {
        "LIMNER_HOME": str(place / "home"),
        "LIMNER_REPLICATE_URL": url,
        "LIMNER_CATALOG": str(catalog),
        "LIMNER_START_WORKER": "false",
        "REPLICATE_API_TOKEN": "r8_benchmark",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--hold", type=float, default=60.0, help="seconds for which all are in flight together")
    chosen = parser.parse_args()
    result = measure(chosen.count, chosen.hold, say=lambda words: print(f"\r{words}   ", end="", flush=True))
    print(
        f"\n{result.done} of {result.count} trainings ended with a lora; {result.paid} paid, "
        f"{result.paid_twice} twice\n"
        f"memory of the worker: {result.held_megabytes:.0f} MB with all in flight, "
        f"{result.peak_megabytes:.0f} MB at most\n"
        f"busiest minute: {result.creates} creates of {PER_MINUTE[0]} allowed, {result.others} other calls of "
        f"{PER_MINUTE[1]}; {result.refused} refused\n"
        f"all in flight: {result.polls_a_second:.1f} polls a second\n"
        f"{result.start_seconds:.0f} s to start them all, {result.end_seconds:.0f} s to keep all loras"
    )


if __name__ == "__main__":
    main()
