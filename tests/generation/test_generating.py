"""Generations as the pipeline runs them: what is stored, what is refused, cancelling and failures."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from limner import plugins
from limner.errors import Cancelled, InputRefused, NotFound, StorageFailed, WorkFailed
from limner.generation.generator import Drawn, GenerationOrder
from limner.generation.metadata.c2pa import verify
from limner.generation.metadata.pixels import encode_png
from limner.generation.metadata.provenance import read_record
from limner.operations.gallery.actions import Gallery
from limner.operations.generations import job as drawing_stage
from limner.operations.generations import submission as generations
from limner.operations.jobs import lifecycle
from limner.store.models import GenerationRow, ImageRow, JobRow, LoraRow
from limner.types import BackEnd, Estimate, JobState, Plan

from .bench import LORAS, Bench
from .making import many, picture

pytestmark = pytest.mark.engine


def test_a_generation_and_what_its_pictures_say(bench: Bench, draws: list[int]) -> None:
    job = bench.submit(count=3)
    assert bench.state(job) is JobState.WAITING
    result = bench.run(job)
    assert {"generation": job.target, "images": 3}.items() <= result.items()
    assert "second@v1 is far from what it was trained for" in result["warnings"][0]
    assert bench.state(job) is JobState.DONE
    assert draws == [7, 8, 9]
    first, *_ = bench.images(job)
    found = read_record(first)
    assert found.prompt == "a drawing of trig_first and trig_second"
    assert [(use.name, use.scale) for use in found.loras] == [("first@v1", 0.8), ("second@v1", -0.6)]
    assert (found.generator, found.base, found.seed) == ("local", "limner-tiny", 7)
    assert verify(first.read_bytes()).state == "valid"
    assert len(set(bench.pixels(job))) == 3
    assert bench.strays() == set()
    assert not (bench.workspace.home / "runs" / job.target).exists()
    for secret in (str(bench.workspace.home), str(Path.home()), "/runs/", "/blobs/"):
        assert secret.encode() not in first.read_bytes()


def test_signing_can_be_switched_off(bench: Bench) -> None:
    bench.workspace.settings.sign_images = False
    job = bench.submit()
    bench.run(job)
    [path] = bench.images(job)
    assert verify(path.read_bytes()).state == "absent"
    assert not (bench.workspace.home / "credentials").exists()


# --- cancelling and failing -------------------------------------------------------------------------------------


def test_cancelling_stops_within_a_picture_and_resuming_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing_stage, "GLANCE_SECONDS", 0.02)
    job = bench.submit(count=3, steps=60)
    real = lifecycle.JobProgress.check_cancelled
    looks = 0

    def soon(progress: lifecycle.JobProgress) -> None:
        """The user changes their mind while the second picture is drawn."""
        nonlocal looks
        with bench.workspace.database.read() as session:
            stored = session.scalars(select(ImageRow.id).where(ImageRow.generation == job.target)).all()
        looks += bool(stored)
        if looks == 3:
            with bench.workspace.database.write() as session:
                lifecycle.request_cancel(session, job.id)
            progress._looked = 0.0
        real(progress)

    monkeypatch.setattr(lifecycle.JobProgress, "check_cancelled", soon)
    with pytest.raises(Cancelled):
        bench.run(job)
    assert bench.state(job) is JobState.CANCELLED
    assert len(bench.images(job)) == 1
    monkeypatch.undo()
    with bench.workspace.database.write() as session:
        session.execute(update(JobRow).values(cancel_requested=False))
    bench.run(job)
    assert bench.state(job) is JobState.DONE
    assert len(bench.images(job)) == 3


def test_what_was_deleted_is_not_drawn_again(bench: Bench, draws: list[int]) -> None:
    job = bench.submit(count=3)
    bench.run(job)
    with bench.workspace.database.read() as session:
        second = session.scalars(
            select(ImageRow).where(ImageRow.generation == job.target, ImageRow.position == 1)
        ).one()
    left_over = bench.workspace.directory(job.target) / "0001-40.png"  # as a kill right after its row leaves it
    shutil.copyfile(bench.workspace.blobs.path(second.digest), left_over)
    assert Gallery(bench.workspace).delete([second.id]) == 1
    bench.run(job)
    assert bench.state(job) is JobState.DONE
    assert draws == [7, 8, 9]
    with bench.workspace.database.read() as session:
        left = session.scalars(select(ImageRow.position).where(ImageRow.generation == job.target)).all()
    assert sorted(left) == [0, 2]
    assert not left_over.exists()


def test_a_full_disk_loses_nothing(bench: Bench, draws: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    job = bench.submit(count=2)
    real, calls = os.replace, 0

    def full(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(*arguments)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageFailed, match="No space left") as told:
        bench.run(job)
    assert "Free some space" in told.value.remedy
    assert (bench.state(job), len(bench.images(job))) == (JobState.FAILED, 1)
    monkeypatch.undo()
    bench.run(job)
    assert (bench.state(job), len(bench.images(job))) == (JobState.DONE, 2)


class Odd:
    """A generator that gives the pictures of these indexes, whatever it is asked for."""

    def __init__(self, indexes: Sequence[int]) -> None:
        self._indexes = indexes

    def describe(self) -> BackEnd:
        return BackEnd("odd", "Odd", "Does as it likes.")

    def check(self, order: GenerationOrder) -> Sequence[Any]:
        return ()

    def estimate(self, order: GenerationOrder) -> Estimate:
        return Estimate()

    async def plan(self, order: GenerationOrder) -> Plan:
        return Plan("odd", "odd", (), Estimate())

    async def draw(self, order: GenerationOrder) -> AsyncIterator[Drawn]:
        for index in self._indexes:
            yield Drawn(index, order.seed + index, encode_png(picture(64, 64)), "image/png", 0.0)


@pytest.mark.parametrize(
    ("indexes", "reason"),
    [([], "gave 0 of 2 pictures"), ([0], "gave 1 of 2"), ([0, 0], "gave picture 0, which was not"), ([2], "picture 2")],
)
def test_a_generator_that_does_not_keep_to_the_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, indexes: list[int], reason: str
) -> None:
    monkeypatch.setattr(plugins, "back_end", lambda *_, **__: Odd(indexes))
    job = bench.submit(count=2)
    with pytest.raises(WorkFailed, match=reason) as told:
        bench.run(job)
    assert told.value.remedy
    assert bench.state(job) is JobState.FAILED


def test_a_lora_that_went_away_fails_the_generation_with_the_reason(bench: Bench) -> None:
    job = bench.submit()
    with bench.workspace.database.write() as session:
        session.delete(session.scalars(select(LoraRow).where(LoraRow.subject == "second")).one())
    with pytest.raises(NotFound, match="second"):
        bench.run(job)
    assert bench.state(job) is JobState.FAILED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"width": 100}, "The width 100 is not possible"),
        ({"height": 0}, "The height 0 is not possible"),
        ({"count": 0}, "0 pictures"),
        ({"count": 1001}, "1001 pictures"),
        ({"seed": -1}, "The seed -1"),
        ({"steps": 0}, "0 steps"),
        ({"guidance": -1.0}, "guidance -1"),
        ({"base": "flux1-dev", "width": 1024, "height": 1024}, "does not fit flux1-dev"),
        ({"base": "flux9"}, "no base 'flux9'"),
        ({"generator": "nobody"}, "no generator 'nobody'"),
        ({"prompt": "{trigger3}"}, "there are only 2"),
        ({"loras": [("first", 1.0), ("first@v1", 0.5)], "prompt": "a cat"}, "is named twice"),
    ],
)
def test_refusals_come_before_anything_is_queued(bench: Bench, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputRefused, match=reason) as told:
        bench.submit(**changes)
    assert told.value.remedy
    with bench.workspace.database.read() as session:
        assert session.scalars(select(GenerationRow.id)).all() == []
        assert session.scalars(select(JobRow.id)).all() == []


def test_loras_of_two_bases_need_a_base_that_both_fit(bench: Bench, lora_files: tuple[Path, Path]) -> None:
    with bench.workspace.database.write() as session:
        session.execute(update(LoraRow).where(LoraRow.subject == "first").values(base="flux1-dev"))
        session.execute(update(LoraRow).where(LoraRow.subject == "second").values(base="flux1-schnell"))
    with pytest.raises(InputRefused, match="different bases: flux1-dev, flux1-schnell"):
        generations.make_request(bench.workspace, prompt="a cat", loras=LORAS)
    assert generations.make_request(bench.workspace, prompt="a cat", loras=LORAS, base="flux1-dev").base == "flux1-dev"


@many
@given(st.from_regex(r"[a-z][a-z0-9-]{0,9}(@v[1-9])?", fullmatch=True), st.floats(-10, 10).map(lambda x: round(x, 4)))
def test_a_lora_is_named_with_its_scale(name: str, scale: float) -> None:
    assert generations.parse_lora(f" {name}:{scale:.4f} ") == (name, scale)
    assert generations.parse_lora(name) == (name, 1.0)


@pytest.mark.parametrize("words", ["", ":", ":0.5", "zib:", "zib:strong", "zib:0.5:0.5", "zib:nan", "zib:1e3"])
def test_words_that_name_no_lora(words: str) -> None:
    with pytest.raises(InputRefused, match="does not name a lora"):
        generations.parse_lora(words)
