"""Many pictures through the generator of Together AI, against a server that allows so many requests a second.

    python benchmarks/fan_out.py [--count 200] [--rate 10] [--burst 10] [--seconds 0.5]

The generator and its HTTP client are the real ones and are not told the limit: they find it out from the refusals (429
with x-ratelimit-reset). The server is Limner's stand-in on a socket of this machine; it gives a turn back every
1/rate seconds, keeps up to ``burst`` of them, and takes ``seconds`` for a picture. The fastest that anybody could be is
(count - burst) / rate and the time of one picture; the share is that time divided by the time taken.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Result:
    """What was reached. ``share`` is of the fastest that the server allows; ``refused`` requests came too early."""

    count: int
    rate: float
    burst: int
    elapsed: float
    fastest: float
    drawn: int
    paid: int
    paid_twice: int
    refused: int

    @property
    def share(self) -> float:
        return self.fastest / self.elapsed

    @property
    def dropped(self) -> int:
        return self.count - self.drawn


class FlatEngine:
    """Draws one colour, so that the time is that of the client and the server alone."""

    def train(self, *_: Any, **__: Any) -> bytes:
        raise NotImplementedError("nothing is trained here")

    def draw(self, *_: Any, width: int, height: int, seed: int, **__: Any) -> bytes:
        from PIL import Image

        sink = io.BytesIO()
        Image.new("RGB", (width, height), (seed % 256, seed // 256 % 256, 90)).save(sink, "PNG", compress_level=1)
        return sink.getvalue()


def measure(*, count: int = 200, rate: float = 10.0, burst: int = 10, seconds: float = 0.5) -> Result:
    """Draw ``count`` pictures and compare with the fastest that the server allows."""
    from limner.settings import Settings
    from limner.stand_ins.serving import serve
    from limner.stand_ins.together.server import TogetherStandIn

    stand_in = TogetherStandIn(FlatEngine(), tokens={"benchmark-token": "benchmark"}, rate=rate, burst=burst)
    stand_in.seconds = seconds
    before = os.environ.get("TOGETHER_API_KEY")
    os.environ["TOGETHER_API_KEY"] = "benchmark-token"
    try:
        with tempfile.TemporaryDirectory() as home, serve(stand_in.app, stand_in) as url:
            settings = Settings(home=Path(home), together_url=url)
            began = time.perf_counter()
            drawn = asyncio.run(_draw(settings, count))
            elapsed = time.perf_counter() - began
    finally:
        if before is None:
            del os.environ["TOGETHER_API_KEY"]
        else:
            os.environ["TOGETHER_API_KEY"] = before
    times = Counter(entry.tag for entry in stand_in.paid)
    return Result(
        count=count,
        rate=rate,
        burst=burst,
        elapsed=elapsed,
        fastest=max(0, count - burst) / rate + seconds,
        drawn=len(set(drawn)),
        paid=len(stand_in.paid),
        paid_twice=sum(number - 1 for number in times.values()),
        refused=stand_in.refused_by_rate,
    )


async def _draw(settings: Any, count: int) -> list[int]:
    from limner.catalog import find_base
    from limner.generation.generator import GenerationOrder
    from limner.generation.together.generator import TogetherGenerator

    base = find_base("flux2-dev")
    order = GenerationOrder(
        id="benchmark",
        prompt="a picture of one colour",
        base=base,
        base_path=base.repo,
        loras=(),
        width=256,
        height=256,
        steps=base.steps,
        guidance=base.guidance,
        seed=1,
        count=count,
    )
    return [drawn.index async for drawn in TogetherGenerator(settings).draw(order)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rate", type=float, default=10.0, help="requests a second that the server allows")
    parser.add_argument("--burst", type=int, default=10, help="turns that the server keeps for later")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long a picture takes")
    chosen = parser.parse_args()
    result = measure(count=chosen.count, rate=chosen.rate, burst=chosen.burst, seconds=chosen.seconds)
    print(f"{result.count} pictures, {result.rate:g} requests a second allowed, bursts of {result.burst}")
    print(f"taken {result.elapsed:.1f} s, the fastest possible {result.fastest:.1f} s: {result.share:.1%} of it")
    print(f"{result.dropped} dropped, {result.paid} paid, {result.paid_twice} paid twice, {result.refused} too early")


if __name__ == "__main__":
    main()
