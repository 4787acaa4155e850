"""A generation whose process dies at any moment draws only what is missing, and no picture is there twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.store import Database
from limner.types import JobState

from .bench import Bench

pytestmark = pytest.mark.engine


class Crash(BaseException):
    """Stands for the end of the process: nothing catches it."""


class Moments:
    """Counts the gaps between two durable writes, and crashes in the one that is named."""

    def __init__(self, deadly: int) -> None:
        self.deadly = deadly
        self.seen: list[str] = []

    def pass_by(self, name: str) -> None:
        self.seen.append(name)
        if len(self.seen) == self.deadly:
            raise Crash

    @contextmanager
    def watching(self, workspace: Workspace) -> Iterator[None]:
        write = Database.write

        @contextmanager
        def watched_write(database: Database) -> Iterator[Any]:
            with write(database) as session:
                yield session
                self.pass_by("before a commit")
            self.pass_by("after a commit")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Database, "write", watched_write)
            patch.setattr(os, "replace", self._around(os.replace, "replace"))
            patch.setattr(workspace.blobs, "link", self._around(workspace.blobs.link, "blob"))
            patch.setattr(Path, "unlink", self._around(Path.unlink, "unlink"))
            # how often progress is written depends on the clock, and nothing depends on progress
            patch.setattr(lifecycle.JobProgress, "report", lambda *_: None)
            yield

    def _around(self, original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.pass_by(f"before {name}")
            result = original(*arguments, **options)
            self.pass_by(f"after {name}")
            return result

        return wrapped


def test_a_generation_that_dies_at_any_moment_draws_only_what_is_missing(bench: Bench, draws: list[int]) -> None:
    bench.run(bench.submit())  # makes the signing key
    whole = bench.submit(count=2)
    quiet = Moments(0)
    with quiet.watching(bench.workspace):
        bench.run(whole)
    assert len(quiet.seen) > 15
    wanted = bench.pixels(whole)
    for deadly in range(1, len(quiet.seen) + 1):
        job = bench.submit(count=2)
        draws.clear()
        moments = Moments(deadly)
        with pytest.raises(Crash), moments.watching(bench.workspace):
            bench.run(job)
        bench.run(job)
        assert bench.pixels(job) == wanted, moments.seen
        # a picture is lost only if it was drawn and its file was not yet in place
        lost = moments.seen[deadly - 1] == "before replace"
        assert len(draws) == 2 + lost, moments.seen
        assert bench.strays() == set()
        assert bench.state(job) is JobState.DONE


def test_a_file_that_the_disk_lost_a_part_of_is_drawn_again(bench: Bench, draws: list[int]) -> None:
    bench.run(bench.submit())  # makes the signing key
    quiet = Moments(0)
    with quiet.watching(bench.workspace):
        bench.run(bench.submit(count=2))
    deadly = quiet.seen.index("after replace") + 1
    job = bench.submit(count=2)
    with pytest.raises(Crash), Moments(deadly).watching(bench.workspace):
        bench.run(job)
    [left] = (bench.workspace.home / "runs" / job.target).glob("*.png")
    left.write_bytes(left.read_bytes()[:-40])
    draws.clear()
    bench.run(job)
    assert sorted(draws) == [7, 8]
    assert len(bench.images(job)) == 2


def test_a_stage_that_is_run_again_after_its_end_changes_nothing(bench: Bench, draws: list[int]) -> None:
    job = bench.submit(count=2)
    bench.run(job)
    before = bench.images(job)
    draws.clear()
    bench.run(job)
    assert (bench.images(job), draws, bench.state(job)) == (before, [], JobState.DONE)
