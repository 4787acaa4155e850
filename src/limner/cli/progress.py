"""Following a job on a terminal: one line a stage, redrawn in place; plain lines where there is no terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from limner.cli.output import console, short, show, size
from limner.humanize import spoken
from limner.plain_text import one_line
from limner.types import JobState, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from limner.records import Job, StageRun
    from limner.studio import Studio

__all__ = ["Display", "details", "drawn", "follow"]

LONGEST_BAR, SHORTEST_BAR = 28, 8
DETAILS = 70
"""The room that everything but the bar takes on a line."""
PLAIN_SECONDS = 30.0
BYTE = "byte"
INTERRUPTED = 130
STAGE_WORDS = {
    "intake": "Photos",
    "freeze": "Dataset",
    "train": "Training",
    "publish": "Publishing",
    "import": "Import",
    "generate": "Pictures",
    "verify": "Verify",
}
MARKS = {
    JobState.DONE: ("✓", "green"),
    JobState.FAILED: ("✗", "red"),
    JobState.CANCELLED: ("■", "yellow"),
    JobState.RUNNING: ("●", "cyan"),
    JobState.WAITING: ("·", "dim"),
}


def _rate(progress: Progress) -> str:
    unit = progress.unit.removesuffix("s") or "step"
    rate = progress.rate or 0.0
    if unit == BYTE:
        return f"{size(round(rate))}/s"
    return f"{rate:.1f} {unit}s/s" if rate >= 1 else f"{1 / rate:.1f} s a {unit}"


def details(progress: Progress | None) -> str:
    """How far, how fast, how long still: ``120/1000  1.5 steps/s  9 min 47 s left  loss 0.4213``."""
    if progress is None:
        return ""
    if not progress.total:
        return one_line(progress.message)
    done, total = progress.done, progress.total
    parts = [f"{size(done)} of {size(total)}" if progress.unit == BYTE else f"{done}/{total}"]
    if progress.rate:
        parts.append(_rate(progress))
    if progress.seconds_left is not None and progress.done < progress.total:
        parts.append(f"{spoken(progress.seconds_left)} left")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4f}")
    if progress.message and progress.message != progress.stage and not progress.rate:
        parts.append(one_line(progress.message))
    return "  ".join(parts)


def _summary(run: StageRun) -> str:
    result = run.result
    if not result:
        return ""
    if run.stage == "intake":
        refused = f", {result['refused']} refused" if result.get("refused") else ""
        warned = f", {result['warned']} with a warning" if result.get("warned") else ""
        return f"{result.get('accepted', 0) + result.get('warned', 0)} accepted{warned}{refused}"
    if run.stage == "freeze":
        return f"{result.get('photos')} photos, {short(str(result.get('dataset')))}"
    if run.stage in ("train", "import"):
        return str(result.get("lora"))
    if run.stage == "publish":
        return f"{result.get('repo')} at {short(str(result.get('revision')))}"
    if run.stage == "verify":
        return f"{result.get('files')} files read"
    if run.stage == "generate":
        return f"{result.get('images')} pictures" if result.get("images") != 1 else "1 picture"
    return ""


def _bar(progress: Progress | None, width: int) -> list[tuple[str, str]]:
    length = min(LONGEST_BAR, width - DETAILS)
    if progress is None or not progress.total or length < SHORTEST_BAR:
        return []
    filled = round(length * min(1.0, progress.done / progress.total))
    return [("━" * filled, "cyan"), ("━" * (length - filled), "bright_black"), ("  ", "")]


def drawn(job: Job, width: int) -> Table:
    """A job as one line a stage, none of them wider than the terminal."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    titles = [STAGE_WORDS.get(name, name) for name in job.stage_names]
    for least in (1, max(map(len, titles), default=0)):
        grid.add_column(no_wrap=True, min_width=least)
    # Only a column that may wrap is narrowed; its texts are cut instead.
    grid.add_column(overflow="ellipsis")
    for number, name in enumerate(titles):
        run = job.stages[number] if number < len(job.stages) else None
        mark, colour = MARKS[run.state if run else JobState.WAITING]
        title = Text(name, style="" if run else "dim")
        rest = Text()
        if run is not None and run.state is JobState.RUNNING:
            rest = Text.assemble(*_bar(job.progress, width), (details(job.progress), "dim"))
        elif run is not None and run.seconds is not None:
            rest = Text(f"{spoken(run.seconds):<13}{_summary(run)}", style="dim")
        rest.no_wrap = True
        grid.add_row(Text(mark, style=colour), title, rest)
    return grid


class Display:
    """Draws a job. On a terminal it redraws in place; elsewhere it prints a line now and then."""

    def __init__(self, out: Console, *, quiet: bool = False) -> None:
        self._out = out
        self._quiet = quiet
        self._said: set[int] = set()
        self._spoke = time.monotonic()
        self._live = None
        if not quiet and out.is_terminal:
            from rich.live import Live

            self._live = Live(console=out, refresh_per_second=8)

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, job: Job) -> None:
        """Draw the job as it is now."""
        if self._live is not None:
            self._live.update(drawn(job, self._out.width))
        elif not self._quiet:
            self._speak(job)

    def _speak(self, job: Job) -> None:
        for number, run in enumerate(job.stages):
            words = STAGE_WORDS.get(run.stage, run.stage)
            if run.state.ended and number not in self._said:
                self._said.add(number)
                self._spoke = time.monotonic()
                took = spoken(run.seconds) if run.seconds is not None else ""
                self._out.print(f"{words}: {run.state.value}, {took}. {_summary(run)}".rstrip())
            elif run.state is JobState.RUNNING and time.monotonic() - self._spoke > PLAIN_SECONDS:
                self._spoke = time.monotonic()
                self._out.print(f"{words}: {details(job.progress)}")


def follow(studio: Studio, job: Job, *, detach: bool = False, as_json: bool) -> Job:
    """Show a job's progress until it has ended; raise the error that it ended with. Detached, the command ends here.

    Ctrl-C only stops the watching: the worker goes on, and the user is told how to watch or cancel. Exit code 130.
    """
    if detach:
        words = f"Started {job.id}.\nWatch it: limner jobs watch {short(job.id)}"
        show(job, as_json, lambda out: out.print(words))
        studio.jobs.wait_for_worker()
        raise typer.Exit
    try:
        with Display(console(stderr=True), quiet=as_json) as display:
            for current in studio.watch(job):
                display.update(current)
        return studio.wait(job)
    except KeyboardInterrupt:
        console(stderr=True).print(
            "\nThe work goes on in the background.\n"
            f"  Watch it: limner jobs watch {short(job.id)}\n"
            f"  Stop it:  limner jobs cancel {short(job.id)}"
        )
        raise typer.Exit(INTERRUPTED) from None
