"""Photos dropped on the page in a real Chromium, beside the bare intake of the same folder, in one run.

    python benchmarks/browser_intake.py [--count 500] [--rounds 2] [--photos FOLDER]

The bare intake is ``studio.add_photos`` of the folder until its job has ended, with a worker that it starts itself. The
browser is given the same files; its time runs from the drop until the page shows the report. Each round does both, in
homes of their own, in turns. The photos are those of intake.py, JPEGs of 12 megapixels, with as much grain as makes
them 3 MB each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import chromium
import intake

LONGEST = 1200.0
# Handing the names over is no part of the drop: the clock starts when the page gets the files. To wait for a selector
# would draw the page sixty times a second.
CLOCK = """(() => {
  document.addEventListener("change", () => (window.began ??= performance.now()), true);
  new MutationObserver(() => {
    if (document.querySelector("[data-intake]")) window.sent ??= performance.now() - window.began;
    if (document.querySelector("#h-report")) window.whole ??= performance.now() - window.began;
  }).observe(document, { childList: true, subtree: true });
})()"""
GRAIN, QUALITY = 9.0, 84
"""What gives about 3 MB for 12 megapixels."""


@dataclass(frozen=True)
class Comparison:
    """Seconds of both ways for ``count`` photos of ``megabytes`` in all, the mean of the rounds."""

    count: int
    megabytes: float
    bare: float
    browser: float
    sent: float
    """Of the browser's seconds those until the last byte had arrived."""

    @property
    def ratio(self) -> float:
        """The browser's speed as a part of the bare intake's."""
        return self.bare / self.browser


def measure(photos: Path = intake.PHOTOS, *, count: int = 500, rounds: int = 2) -> Comparison:
    """Make the photos and take them in both ways."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "photos"
        made.mkdir()
        subprocess.run([sys.executable, __file__, "--make", str(photos), str(made), str(count)], check=True)
        megabytes = sum(file.stat().st_size for file in made.iterdir()) / 1e6
        bare, browser, sent = [], [], []
        for number in range(rounds):
            home = Path(scratch) / f"home-{number}"
            # Each way is the first of every other round: a machine that worked hard just now is slower.
            for way in ("bare", "browser")[:: -1 if number % 2 else 1]:
                # What was written before is not to be brought to the disk while the next one runs.
                os.sync()
                if way == "bare":
                    bare.append(bare_intake(home / way, made, count))
                else:
                    whole, until = browser_intake(home / way, made, count)
                    browser.append(whole)
                    sent.append(until)
            shutil.rmtree(home, ignore_errors=True)
        return Comparison(count, megabytes, sum(bare) / rounds, sum(browser) / rounds, sum(sent) / rounds)


def make(source: Path, out: Path, count: int) -> None:
    """The photos of intake.py with grain on them, because what is enlarged packs too well to be a camera's."""
    from concurrent.futures import ThreadPoolExecutor

    from PIL import Image, ImageChops

    with tempfile.TemporaryDirectory() as scratch:
        intake.make(source, Path(scratch), count)
        plain = sorted(Path(scratch).iterdir())
        grain = Image.effect_noise(intake.SIZE, GRAIN).convert("RGB")

        def add_grain(file: Path) -> None:
            picture = Image.open(file)
            ImageChops.add(picture, grain, offset=-128).save(out / file.name, quality=QUALITY)
            file.unlink()

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(add_grain, plain))


def bare_intake(home: Path, made: Path, count: int) -> float:
    """Seconds of ``add_photos`` until its job has ended."""
    from limner import Studio
    from limner.settings import Settings

    with Studio(settings=Settings(home=home, worker_idle_seconds=1.0)) as studio:
        studio.subjects.add("bench", kind="style")
        began = time.perf_counter()
        studio.wait(studio.photos.add("bench", [made]))
        seconds = time.perf_counter() - began
        _check(len(studio.photos.report("bench")), count)
    _wait_for_worker(home)
    return seconds


def browser_intake(home: Path, made: Path, count: int) -> tuple[float, float]:
    """Seconds from the drop until the report is on the page, and until all bytes had arrived."""
    from playwright.sync_api import sync_playwright

    from limner import Studio
    from limner.settings import Settings

    with Studio(settings=Settings(home=home)) as studio:
        studio.subjects.add("bench", kind="style")
    files = [str(file) for file in sorted(made.iterdir())]
    with _serving(home) as address, sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{address}/subjects/bench")
        page.evaluate(CLOCK)
        page.set_input_files("input[name=photos]", files)
        end = time.monotonic() + LONGEST
        while not page.evaluate("window.whole ?? 0"):
            if time.monotonic() > end:
                raise SystemExit(f"The report was not there after {LONGEST:.0f} s.")
            time.sleep(1)
        sent, seconds = (value / 1000 for value in page.evaluate("[window.sent, window.whole]"))
        browser.close()
    with Studio(settings=Settings(home=home)) as studio:
        _check(len(studio.photos.report("bench")), count)
    _wait_for_worker(home)
    return seconds, sent


@contextmanager
def _serving(home: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"LIMNER_HOME": str(home), "LIMNER_WORKER_IDLE_SECONDS": "20"}
    command = [str(Path(sys.executable).with_name("limner")), "serve", "--port", str(port), "--no-browser"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            with suppress(OSError), urllib.request.urlopen(address, timeout=5):
                break
            time.sleep(0.1)
        yield address
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


def _wait_for_worker(home: Path) -> None:
    """Until the worker has gone: it would share the cores with the next run."""
    from limner.operations.home.worker_start import worker_lives

    end = time.monotonic() + 30
    while worker_lives(home) and time.monotonic() < end:
        time.sleep(0.2)


def _check(found: int, count: int) -> None:
    if found != count:
        raise SystemExit(f"{found} of {count} photos are in the report.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--photos", type=Path, default=intake.PHOTOS, help="a folder with JPEGs to make the photos from"
    )
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.make:
        make(Path(chosen.make[0]), Path(chosen.make[1]), int(chosen.make[2]))
        return
    found = measure(chosen.photos.absolute(), count=chosen.count, rounds=chosen.rounds)
    print(f"{found.count} JPEGs of 12 megapixels, {found.megabytes / found.count:.1f} MB each")
    for name, seconds in (("bare intake", found.bare), ("from the browser", found.browser)):
        print(f"{name:18} {seconds:6.1f} s  {found.count / seconds:5.1f} photos/s")
    print(f"all bytes had arrived after {found.sent:.1f} s; the browser reaches {found.ratio:.0%} of the bare intake")


if __name__ == "__main__":
    main()
