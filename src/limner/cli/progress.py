"""A job's progress on a terminal: one line a stage, redrawn in place; plain lines where there is no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table
from rich.text import Text

from limner.cli.output import STAGE_WORDS
from limner.records import Job, StageRun
from limner.types import JobState, Progress

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Display", "duration"]

BAR = 28
MARKS = {
    JobState.DONE: ("✓", "green"),
    JobState.FAILED: ("✗", "red"),
    JobState.CANCELLED: ("■", "yellow"),
    JobState.RUNNING: ("●", "cyan"),
    JobState.WAITING: ("·", "dim"),
}


def duration(seconds: float) -> str:
    """Seconds in words: 3.2 s, 1 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _details(progress: Progress | None) -> Text:
    if progress is None:
        return Text("")
    parts: list[str] = []
    if progress.total:
        parts.append(f"{progress.done}/{progress.total}")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4f}")
    if progress.rate:
        parts.append(f"{progress.rate:.1f} {progress.unit or 'step'}s/s")
    if progress.seconds_left is not None and progress.done < progress.total:
        parts.append(f"{duration(progress.seconds_left)} left")
    if progress.message:
        parts.append(progress.message)
    return Text("  ".join(parts), style="dim")


def _bar(progress: Progress | None) -> Text:
    if progress is None or not progress.total:
        return Text("")
    filled = round(BAR * min(1.0, progress.done / progress.total))
    return Text.assemble(("━" * filled, "cyan"), ("━" * (BAR - filled), "bright_black"))


def _summary(run: StageRun) -> str:
    result = run.result
    if run.stage == "intake" and result:
        refused = f", {result['refused']} refused" if result.get("refused") else ""
        warned = f", {result['warned']} with a warning" if result.get("warned") else ""
        return f"{result.get('accepted', 0) + result.get('warned', 0)} accepted{warned}{refused}"
    if run.stage == "freeze" and result:
        return f"{result.get('photos')} photos, {str(result.get('dataset'))[:12]}"
    if run.stage == "train" and result:
        return str(result.get("lora"))
    if run.stage == "publish" and result:
        return f"{result.get('repo')} at {str(result.get('revision'))[:8]}"
    if run.stage == "generate" and result:
        return f"{result.get('images')} pictures" if result.get("images") != 1 else "1 picture"
    return ""


class Display:
    """Draws a job. On a terminal it redraws in place; elsewhere it prints a line when a stage ends."""

    def __init__(self, out: Console, *, quiet: bool = False) -> None:
        self._out = out
        self._quiet = quiet
        self._said: set[int] = set()
        self._live = None if quiet or not out.is_terminal else Live(console=out, refresh_per_second=8)

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, words: str) -> None:
        """Print a remark."""
        if not self._quiet:
            self._out.print(words)

    def update(self, job: Job) -> None:
        """Draw the job as it is now."""
        if self._live is not None:
            self._live.update(self._drawn(job))
        elif not self._quiet:
            for number, run in enumerate(job.stages):
                if run.state.ended and number not in self._said:
                    self._said.add(number)
                    words = STAGE_WORDS.get(run.stage, run.stage)
                    took = duration(run.seconds) if run.seconds is not None else ""
                    self._out.print(f"{words}: {run.state.value}, {took}. {_summary(run)}")

    @staticmethod
    def _drawn(job: Job) -> Table:
        grid = Table.grid(padding=(0, 2, 0, 0))
        for number, name in enumerate(job.stage_names):
            run = job.stages[number] if number < len(job.stages) else None
            state = run.state if run else JobState.WAITING
            mark, colour = MARKS[state]
            title = Text(STAGE_WORDS.get(name, name), style="" if run else "dim")
            if state is JobState.RUNNING:
                grid.add_row(Text(mark, style=colour), title, _bar(job.progress), _details(job.progress))
            elif run is not None and run.seconds is not None:
                summary = Text(_summary(run), style="dim")
                grid.add_row(Text(mark, style=colour), title, Text(duration(run.seconds), style="dim"), summary)
            else:
                grid.add_row(Text(mark, style=colour), title, Text(""), Text(""))
        return grid
