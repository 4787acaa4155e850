"""The gallery's first page with 20,000 pictures, for 20 users at once while a training runs, beside a bare hello route.

    python benchmarks/gallery.py [--images 20000] [--users 20] [--rounds 40] [--no-browser]

A home is made with that many pictures; the server runs as a process of its own and so does a real training of
limner-tiny, which does not end before the benchmark. The users are an asyncio client in a third process: in a round all
of them ask for ``/hello``, a route of the same server that only says hello, and then all for ``/gallery``. The ratio is
that of the two 95th percentiles. Then Chromium opens the pages and its own entries say when something was first painted
and how far the layout moved.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import chromium

USERS = 20
PAGES = ("/", "/gallery", "/create")
WIDTHS = ((1440, 900), (390, 844))
MOST_PAINT = 1.0
MOST_SHIFT = 0.05
MOST_WEIGHT = 150_000
WATCH_SHIFTS = """
window.__shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.__shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


@dataclass(frozen=True)
class Painted:
    """One page in the browser: seconds to the first contentful paint, and the layout's shift (cumulative, no unit)."""

    path: str
    width: int
    paint: float
    shift: float

    @property
    def within(self) -> bool:
        return self.paint < MOST_PAINT and self.shift < MOST_SHIFT


@dataclass(frozen=True)
class Result:
    """Seconds of each answer in the same run; bytes of the first page as they go over the wire, without pictures."""

    images: int
    users: int
    hello: tuple[float, ...]
    gallery: tuple[float, ...]
    unseen: tuple[float, ...]
    weight: int
    training: str
    painted: tuple[Painted, ...] = field(default=())

    @property
    def ratio(self) -> float:
        return percentile(self.gallery, 95) / percentile(self.hello, 95)

    @property
    def within(self) -> bool:
        """Whether the promise is kept: 100 ms at the 95th percentile, or three times hello, and under 150 kB."""
        fast = percentile(self.gallery, 95) < 0.1 or self.ratio <= 3
        return fast and self.weight < MOST_WEIGHT and all(one.within for one in self.painted)


def percentile(values: tuple[float, ...], which: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[which - 1]


def measure(images: int = 20_000, users: int = USERS, rounds: int = 40, *, browser: bool = True) -> Result:
    """Make the home, start the server and the training, ask, and look."""
    from gallery_home import make_home
    from limner.studio import Studio

    with tempfile.TemporaryDirectory(prefix="limner-gallery-") as folder:
        home = Path(folder) / "home"
        settings = make_home(home, images)
        with Studio(settings=settings) as studio, _server(home) as port, _training(studio) as training:
            asked = json.loads(_run("ask", str(port), str(users), str(rounds)))
            state = studio.jobs.get(training)
            weight = _weight(port)
            painted = tuple(_painted(port)) if browser else ()
            steps = state.progress.done if state.progress else 0
            return Result(
                images,
                users,
                tuple(asked["hello"]),
                tuple(asked["gallery"]),
                tuple(asked["unseen"]),
                weight,
                f"{state.state.value}, step {steps}",
                painted,
            )


# --- the server, in a process of its own ------------------------------------------------------------------------


@contextmanager
def _server(home: Path) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = subprocess.Popen([sys.executable, __file__, "serve", str(home), str(port)])
    try:
        _wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/gallery", timeout=30) as answer:
                answer.read()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def serve(home: str, port: str) -> None:
    """The app as it is, and one route that only says hello."""
    import uvicorn
    from fastapi.responses import PlainTextResponse

    from limner.settings import Settings
    from limner.web.app import create_app

    app = create_app(Settings(home=Path(home)))

    @app.get("/hello", include_in_schema=False)
    def hello() -> PlainTextResponse:
        return PlainTextResponse("hello")

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_config=None, access_log=False)


# --- a training beside it ---------------------------------------------------------------------------------------


@contextmanager
def _training(studio: object) -> Iterator[str]:
    """A real training of limner-tiny that has begun its steps and does not end by itself."""
    import limner.demo
    from limner.studio import Studio

    assert isinstance(studio, Studio)
    studio.subjects.add("bench", kind="character", trigger="benchy")
    studio.wait(studio.photos.add("bench", [Path(str(limner.demo.__file__)).parent / "character"]))
    recipe = {"steps": 5_000, "sample_every": 0, "checkpoint_every": 5_000}
    job = studio.train("bench", settings=recipe, trainer="local", base="limner-tiny")
    try:
        for current in studio.watch(job):
            if current.progress is not None and current.progress.loss is not None:
                break
        else:
            studio.wait(job)
            raise SystemExit("The training ended before the benchmark began.")
        yield job.id
    finally:
        studio.cancel(job)
        for _ in studio.watch(job):
            pass


# --- the users, in a process of their own -----------------------------------------------------------------------


def ask(port: str, users: str, rounds: str) -> None:
    """Print the seconds of every answer as JSON."""
    print(json.dumps(asyncio.run(_rounds(int(port), int(users), int(rounds)))))


async def _rounds(port: int, users: int, rounds: int) -> dict[str, list[float]]:
    lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(users)]
    times: dict[str, list[float]] = {"hello": [], "gallery": [], "unseen": []}
    for number in range(-2, rounds):
        for name in times:
            # "unseen" is a search that nobody made before: nothing of it was looked up yet.
            paths = [f"/gallery?q=picture+{number * users + user}" for user in range(users)]
            if name != "unseen":
                paths = [f"/{name}"] * users
            took = await asyncio.gather(*(_get(line, path) for line, path in zip(lines, paths, strict=True)))
            if number >= 0:
                times[name] += took
    for _, writer in lines:
        writer.close()
    return times


async def _get(line: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str) -> float:
    reader, writer = line
    began = time.perf_counter()
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    if not head.startswith(b"HTTP/1.1 200") or length is None:
        raise SystemExit(f"{path}: {head[:200]!r}")
    await reader.readexactly(int(length[1]))
    return time.perf_counter() - began


def _run(*words: str) -> str:
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


# --- weight and browser -----------------------------------------------------------------------------------------


def _weight(port: int) -> int:
    """Bytes over the wire of the first page with its sheets and scripts, without pictures."""
    from urllib.request import Request

    base = f"http://127.0.0.1:{port}"
    with urlopen(f"{base}/gallery") as answer:
        page = answer.read()
    total = len(page)
    for path in sorted(set(re.findall(rb'<(?:link|script)[^>]*(?:src|href)="(/static/[^"]+)"', page))):
        with urlopen(Request(base + path.decode(), headers={"Accept-Encoding": "gzip"})) as answer:
            data = answer.read()
        assert answer.headers["content-encoding"] != "gzip" or gzip.decompress(data)
        total += len(data)
    return total


def _painted(port: int) -> Iterator[Painted]:
    """Each page at each width in a browser that has nothing kept."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        # The browser's own start and the server's first reading of its templates are nobody's page.
        tab = browser.new_page()
        for path in ("/hello", *PAGES):
            tab.goto(f"http://127.0.0.1:{port}{path}")
        tab.close()
        for width, height in WIDTHS:
            for path in PAGES:
                context = browser.new_context(viewport={"width": width, "height": height})
                tab = context.new_page()
                tab.add_init_script(WATCH_SHIFTS)
                tab.goto(f"http://127.0.0.1:{port}{path}", wait_until="load")
                tab.wait_for_timeout(1_500)
                paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 1e9")
                yield Painted(path, width, paint / 1000, round(tab.evaluate("window.__shift"), 4))
                context.close()
        browser.close()


def report(result: Result) -> str:
    lines = [f"{result.images:,} pictures, {result.users} users at once, training {result.training}"]
    for name, values in (("hello", result.hello), ("gallery", result.gallery), ("gallery, new search", result.unseen)):
        p50, p95 = percentile(values, 50) * 1000, percentile(values, 95) * 1000
        lines.append(f"{name:20} p50 {p50:7.1f} ms   p95 {p95:7.1f} ms   ({len(values)} answers)")
    lines.append(f"ratio of the p95     {result.ratio:.2f} x")
    lines.append(f"first page           {result.weight / 1000:.1f} kB without pictures")
    for one in result.painted:
        words = f"first paint {one.paint * 1000:5.0f} ms, layout shift {one.shift:.3f}"
        lines.append(f"{one.path:10} {one.width:5} px  {words}{'' if one.within else '   OVER BUDGET'}")
    lines.append("within the budgets" if result.within else "NOT within the budgets")
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        return serve(*sys.argv[2:])
    if sys.argv[1:2] == ["ask"]:
        return ask(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--rounds", type=int, default=40, help="each user asks so often for each page")
    parser.add_argument("--no-browser", action="store_true")
    chosen = parser.parse_args()
    result = measure(chosen.images, chosen.users, chosen.rounds, browser=not chosen.no_browser)
    print(report(result))
    return sys.exit(0 if result.within else 1)


if __name__ == "__main__":
    main()
