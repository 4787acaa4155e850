"""All benchmarks, as the README's table: each row a ratio against the peer that was measured in the same run.

    python benchmarks/table.py [--peer CHECKOUT_OF_DIFFUSERS] [--markdown FILE] [--count 200] [--rounds 2]

Without --peer the trainer is measured alone and its row says so. Expect a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import browser_intake
import fan_out
import gallery
import intake
import many_trainings
import trainer

__all__ = [
    "Row",
    "browser_rows",
    "fan_out_rows",
    "gallery_rows",
    "intake_rows",
    "many_rows",
    "markdown",
    "trainer_rows",
]

PARTS = ("torch", "diffusers", "pillow", "pyvips")


@dataclass(frozen=True)
class Row:
    """One line: what was measured beside whom, ratios (ours to the peer's), and the figures behind them."""

    what: str
    peer: str
    speed: str
    work: str
    memory: str
    figures: str

    @property
    def cells(self) -> tuple[str, ...]:
        return self.what, self.peer, self.speed, self.work, self.memory, self.figures


HEAD = Row("measured", "beside", "speed", "speed by processor time", "peak memory", "Limner, peer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="a checkout of diffusers, for the trainer's row")
    parser.add_argument("--markdown", type=Path, help="write the table to this file too")
    parser.add_argument("--count", type=int, default=200, help="photos for the intake")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each side, in turns")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of every side")
    chosen = parser.parse_args()
    print("The intake ...", flush=True)
    rows = intake_rows(intake.measure(count=chosen.count, threads=chosen.threads, rounds=chosen.rounds))
    print("The trainer ...", flush=True)
    plan = trainer.Plan(rounds=chosen.rounds, threads=chosen.threads)
    rows += trainer_rows(trainer.measure(chosen.peer, plan))
    print("The fan-out ...", flush=True)
    rows += fan_out_rows(fan_out.measure())
    print("A thousand trainings at a vendor ...", flush=True)
    rows += many_rows(many_trainings.measure())
    print("Photos from the browser ...", flush=True)
    rows += browser_rows(browser_intake.measure())
    print("The gallery ...", flush=True)
    rows += gallery_rows(gallery.measure())
    text = f"{markdown(rows)}\n\n{machine(chosen.threads)}\n"
    print(text)
    if chosen.peer is None:
        print("The trainer's peer was not measured: give --peer CHECKOUT_OF_DIFFUSERS (make bench PEER=...).")
    if chosen.markdown:
        chosen.markdown.write_text(text, encoding="utf-8")


def intake_rows(result: intake.Comparison) -> list[Row]:
    """The intake beside the plain Pillow loop."""
    ours, theirs = result.limner, result.pillow
    return [
        Row(
            f"photo intake, {result.count} JPEGs of 12 megapixels, every check included",
            "plain Pillow loop",
            times(result.faster),
            times(result.less_work),
            times(result.memory),
            f"{ours.photos_a_second:.1f} and {theirs.photos_a_second:.1f} photos/s; "
            f"{ours.peak_megabytes:.0f} and {theirs.peak_megabytes:.0f} MB",
        )
    ]


def trainer_rows(pairs: Sequence[trainer.Pair]) -> list[Row]:
    """The local trainer beside each way of running the peer; alone where there was none."""
    rows = []
    for pair in pairs:
        what = f"LoRA training of limner-tiny, batch {pair.batch_size}, float32"
        ours = pair.ours
        if not pair.peers:
            figures = f"{ours.samples_a_second:.1f} samples/s; {ours.peak_megabytes:.0f} MB"
            rows.append(Row(what, "not measured", "", "", "", figures))
        for name, theirs in pair.peers.items():
            figures = (
                f"{ours.samples_a_second:.1f} and {theirs.samples_a_second:.1f} samples/s; "
                f"{ours.peak_megabytes:.0f} and {theirs.peak_megabytes:.0f} MB"
            )
            peer = f"diffusers' train_dreambooth_lora_flux.py, {name}"
            speed, work = times(pair.faster[name]), times(pair.less_work[name])
            rows.append(Row(what, peer, speed, work, times(pair.memory(name)), figures))
    return rows


def fan_out_rows(result: fan_out.Result) -> list[Row]:
    """Pictures of a hosted model beside the fastest that the server's limit allows; nobody can be above 1."""
    figures = (
        f"{result.elapsed:.1f} and {result.fastest:.1f} s; {result.dropped} dropped, {result.paid_twice} paid twice, "
        f"{result.refused} requests too early"
    )
    what = f"{result.count} hosted pictures, {result.rate:g} requests a second allowed, bursts of {result.burst}"
    return [Row(what, "the fastest that the limit allows", times(result.share), "", "", figures)]


def many_rows(result: many_trainings.Result) -> list[Row]:
    """Trainings in flight beside what the vendor allows: the share of its calls a minute that was used."""
    allowed = many_trainings.PER_MINUTE[1]
    figures = (
        f"{result.others} and {allowed} calls in the busiest minute, {result.refused} refused; {result.done} of "
        f"{result.count} loras, {result.paid_twice} paid twice; {result.held_megabytes:.0f} MB with all in flight, "
        f"{result.peak_megabytes:.0f} MB at most"
    )
    what = f"{result.count} trainings in flight at a vendor, followed by one process"
    return [Row(what, "the vendor's limit of calls", times(result.others / allowed), "", "", figures)]


def browser_rows(result: browser_intake.Comparison) -> list[Row]:
    """Photos dropped on the page beside the bare intake of the same files."""
    figures = (
        f"{result.count / result.browser:.1f} and {result.count / result.bare:.1f} photos/s; "
        f"all bytes there after {result.sent:.1f} s"
    )
    each = result.megabytes / result.count
    what = f"{result.count} JPEGs of {each:.1f} MB dropped in Chromium, until their report is there"
    return [Row(what, "the bare intake of the same files", times(result.ratio), "", "", figures)]


def gallery_rows(result: gallery.Result) -> list[Row]:
    """The gallery's first page beside a route of the same server that only says hello; nobody can be above 1."""
    ours, bare = (gallery.percentile(values, 95) * 1000 for values in (result.gallery, result.hello))
    figures = f"{ours:.0f} and {bare:.0f} ms at the 95th percentile; {result.weight / 1000:.0f} kB without pictures"
    if result.painted:
        paint, shift = (max(getattr(one, name) for one in result.painted) for name in ("paint", "shift"))
        figures += f"; in Chromium at worst first paint {paint * 1000:.0f} ms, layout shift {shift:.3f}"
    what = f"first page of {result.images:,} pictures, {result.users} users at once, while a training runs"
    return [Row(what, "a route that says hello", times(1 / result.ratio), "", "", figures)]


def times(ratio: float) -> str:
    return f"{ratio:.2f} x"


def markdown(rows: Sequence[Row]) -> str:
    """The table, its columns aligned for reading as plain text."""
    lines = [row.cells for row in (HEAD, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD.cells))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def machine(threads: int) -> str:
    """When and on what the table was measured, in one sentence."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    parts = ", ".join(f"{part} {version(part)}" for part in PARTS)
    cores = f"{os.cpu_count()} cores ({platform.machine()}), {gpu}, {threads} {'thread' if threads == 1 else 'threads'}"
    return f"Measured on {datetime.now(UTC):%Y-%m-%d}: {cores}; Python {platform.python_version()}, {parts}."


if __name__ == "__main__":
    main()
