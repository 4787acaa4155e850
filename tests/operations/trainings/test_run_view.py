"""What a training shows: samples, checkpoints, curves and log while it runs, and its choices before it."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import event

from limner import Studio
from limner.catalog import find_base
from limner.errors import NotFound
from limner.operations.jobs import lifecycle
from limner.operations.jobs.context import StageContext
from limner.operations.trainings import job as training_job
from limner.operations.trainings import submission as trainings
from limner.operations.trainings.artifacts import MOST_POINTS, Arrivals, Curves, curve_of, log_file
from limner.operations.trainings.job import order_of
from limner.operations.trainings.request import TrainRequest
from limner.options import parse_setting
from limner.settings import Settings
from limner.store.models import BlobRow, DatasetRow, PhotoRow, TrainingRow, now
from limner.training import recipe as recipes
from limner.training.local.run_directory import RunDirectory
from limner.training.local.trainer import LocalTrainer
from limner.training.recipe import from_mapping
from limner.training.recipe_fields import recipe_fields
from limner.training.trainer import TrainingOrder, TrainingReport
from limner.types import JobState, Progress
from limner.vendors.secrets.redaction import Secret
from tests.written_bytes import written


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    made = Studio(settings=Settings(home=tmp_path / "home", start_worker=False))
    made.subjects.add("rex", kind="pet", class_word="dog")
    return made


def add_photos(studio: Studio, count: int) -> None:
    workspace = studio._workspace
    for number in range(count):
        digest = workspace.blobs.put(f"photo {number}".encode())
        report = {"source": f"{number}.png", "verdict": "accepted"}
        with workspace.database.write() as session:
            session.add(BlobRow(digest=digest, media_type="image/png", byte_size=9))
            session.flush()
            session.add(PhotoRow(subject="rex", digest=digest, width=512, height=512, source="x", report=report))


def add_training(
    studio: Studio, *, prompts: tuple[str, ...] = ("a dog", "a dog at sea"), trainer: str = "local"
) -> str:
    workspace = studio._workspace
    request = trainings.make_request(
        workspace, subject="rex", kind="pet", trainer=trainer, preset="quick", sample_prompts=prompts
    )
    with workspace.database.write() as session:
        if session.get(DatasetRow, "d" * 64) is None:
            manifest = {
                "subject": {"slug": "rex", "name": "Rex", "kind": "pet", "class_word": "dog", "trigger": "rex"},
                "resolution": 128,
                "items": [],
            }
            session.add(DatasetRow(digest="d" * 64, subject="rex", resolution=128, photos=12, manifest=manifest))
            session.flush()
        training_job.add_row(session, request, "d" * 64)
        lifecycle.add_job(session, kind="train", stages=[request], subject="rex", target=request.training)
    return request.training


def order_for(studio: Studio, training: str) -> TrainingOrder:
    found = studio.trainings.get(training)
    request = TrainRequest(
        subject=found.subject,
        training=training,
        base=found.base,
        trainer="local",
        recipe=from_mapping(found.recipe),
        sample_prompts=found.sample_prompts,
    )
    return order_of(studio._workspace, request, studio.datasets.get("d" * 64).manifest)


def a_run(order: TrainingOrder) -> RunDirectory:
    """The folder of a run as it is in the midst of training."""
    run = RunDirectory(order.run_directory)
    for folder in (run.samples, run.checkpoints / "step-000010"):
        folder.mkdir(parents=True)
    for position in range(2):
        Image.new("RGB", (8, 8), (position, 10, 10)).save(run.samples / f"step-000010-{position}.png")
    (run.checkpoints / "step-000010" / "weights.safetensors").write_bytes(b"weights")
    (run.checkpoints / ".step-000020").mkdir()
    lines: list[dict[str, object]] = [{"phase": "loading the base", "time": "2026-01-01T10:00:00+00:00"}]
    lines += [
        {"step": step, "total": 150, "loss": 1 / step, "lr": 1e-3, "rate": 2.0, "time": "2026-01-01T10:00:01+00:00"}
        for step in range(1, 13)
    ]
    run.progress.write_text("\n".join(map(json.dumps, lines)) + '\n{"torn')
    return run


def test_samples_and_checkpoints_arrive_while_it_trains(studio: Studio) -> None:
    training = add_training(studio)
    order = order_for(studio, training)
    a_run(order)
    report = asyncio.run(LocalTrainer(studio.settings).poll(order, f"local:{training}"))
    assert not report.state.ended
    arrivals = Arrivals(studio._workspace, training)
    for _ in range(2):
        arrivals.keep(report)
    Arrivals(studio._workspace, training).keep(report)  # another process, after a crash
    found = studio.trainings.samples(training)
    assert [(one.step, one.position, one.prompt) for one in found] == [(10, 0, "a dog"), (10, 1, "a dog at sea")]
    assert all(studio._workspace.blobs.has(one.digest) for one in found)
    assert [one.step for one in studio.trainings.checkpoints(training)] == [10]
    run = studio.trainings.view(training)
    assert run.samples == tuple(found)
    assert run.photos == 12
    assert not run.over


def test_a_sample_that_is_gone_again_does_no_harm(studio: Studio) -> None:
    training = add_training(studio)
    order = order_for(studio, training)
    run = a_run(order)
    report = asyncio.run(LocalTrainer(studio.settings).poll(order, f"local:{training}"))
    (run.samples / "step-000010-1.png").unlink()
    Arrivals(studio._workspace, training).keep(report)
    assert [one.position for one in studio.trainings.samples(training)] == [0]


def test_losses_rates_and_log_come_from_the_run(studio: Studio) -> None:
    training = add_training(studio)
    order = order_for(studio, training)
    a_run(order)
    report = asyncio.run(LocalTrainer(studio.settings).poll(order, f"local:{training}"))
    follow(studio, training, report)
    found = studio.trainings.get(training)
    assert found.losses[0] == (1, 1.0)
    assert found.rates == tuple((step, 1e-3) for step in range(1, 13))
    Arrivals(studio._workspace, training).keep(report)
    words = studio.trainings.log(training)
    assert words.splitlines()[0] == "10:00:00  loading the base"
    assert "step 10 of 150, loss 0.1000, 2.00 steps a second" in words
    assert "step 9" not in words


def test_a_log_is_without_secrets_and_goes_with_its_subject(studio: Studio) -> None:
    Secret("r8_verysecrettoken123456")
    training = add_training(studio)
    report = TrainingReport(JobState.RUNNING, Progress("training"), log="token r8_verysecrettoken123456 was sent")
    Arrivals(studio._workspace, training).keep(report)
    assert "verysecret" not in studio.trainings.log(training)
    assert "verysecret" not in log_file(studio._workspace, training).read_text()
    job = studio.jobs.get(training).id
    lifecycle.end_job(studio._workspace.database, job)
    studio.erasure.erase("rex")
    assert not log_file(studio._workspace, training).exists()


def test_a_training_without_a_log_has_none(studio: Studio) -> None:
    assert studio.trainings.log(add_training(studio)) == ""
    with pytest.raises(NotFound):
        studio.trainings.log("training_none")


def follow(studio: Studio, training: str, *reports: TrainingReport) -> None:
    """Note reports as the stage does, each with time enough since the one before."""
    curves = training_job._curves(studio._workspace, training)
    context = StageContext(studio._workspace, studio.jobs.get(training).id, {})
    for report in reports:
        context.progress._written = 0.0
        assert training_job._note(context, curves, report)


def a_report(steps: Iterable[int], total: int) -> TrainingReport:
    points = tuple((step, 1 / step) for step in steps)
    progress = Progress("training", points[-1][0], total, "steps", loss=points[-1][1])
    return TrainingReport(JobState.RUNNING, progress, losses=points, rates=points)


def test_of_a_long_training_as_many_points_are_kept_as_can_be_shown(studio: Studio) -> None:
    training = add_training(studio)
    follow(studio, training, *(a_report(range(max(1, at - 300), at + 1), 10_000) for at in range(100, 10_001, 100)))
    found = studio.trainings.get(training).losses
    assert MOST_POINTS * 0.9 < len(found) <= MOST_POINTS + 1
    assert found[-1] == (10_000, 1 / 10_000) and list(found) == sorted(found)


def test_what_was_trained_anew_takes_the_place_of_what_came_before(studio: Studio) -> None:
    training = add_training(studio)
    follow(studio, training, a_report(range(1, 8), 20))
    again = TrainingReport(JobState.RUNNING, Progress("training", 4, 20, "steps"), losses=((3, 9.0), (4, 9.0)))
    follow(studio, training, again)
    found = studio.trainings.get(training)
    assert [step for step, _ in found.losses] == [1, 2, 3, 4] and found.losses[2] == (3, 9.0)
    assert len(found.rates) == 7, "of which nothing was said"
    with studio._workspace.database.write() as session:
        Curves(session, training).keep(session, "loss", [(5, math.nan)], 20)
        assert math.isnan(curve_of(session, training, "loss")[-1][1])


def test_a_step_is_written_once_and_without_the_curve_before_it(studio: Studio) -> None:
    training = add_training(studio)
    follow(studio, training, a_report(range(1, 1500), 2000))
    curves = training_job._curves(studio._workspace, training)
    context = StageContext(studio._workspace, studio.jobs.get(training).id, {})
    changes: list[str] = []

    def count(*words: Any) -> None:
        changes.extend(re.findall(r"^(?:UPDATE|INSERT INTO|DELETE FROM) (\w+)", words[2]))

    event.listen(studio._workspace.database._writer, "before_cursor_execute", count)
    before = written()
    for step in range(1500, 1510):
        context.progress._written = 0.0
        assert training_job._note(context, curves, a_report(range(1200, step + 1), 2000))
    assert changes == ["limner_jobs", "limner_curve_points", "limner_curve_points"] * 10
    # A page of the database has 4 kB; with both curves it were 150 kB.
    assert (written() - before) / 10 < 40_000
    found = studio.trainings.get(training)
    assert found.progress is not None and found.progress.done == 1509 and len(found.losses) == 1509


# --- before -----------------------------------------------------------------------------------------------------


def test_choices_say_who_can_train_and_why_others_cannot(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FAL_KEY", "REPLICATE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    add_photos(studio, 6)
    found = studio.trainings.offers("rex")
    assert found.photos == 6
    assert found.chosen is not None
    assert found.chosen.trainer == "local"
    assert not found.findings
    by_name = {one.trainer: one for one in found.choices}
    assert not by_name["fal"].usable
    assert any("limner-tiny" in one.message for one in by_name["fal"].refusals)
    assert found.choices[0].usable
    paid = {one.trainer: one for one in studio.trainings.offers("rex", base="flux1-dev").choices}["replicate"]
    assert paid.cost > 0
    assert paid.asks == (paid.cost > studio.settings.consent_above or not paid.certain)
    assert any(one.code == "need" and one.remedy for one in paid.refusals)


def test_a_budget_that_would_be_exceeded_is_said_before(tmp_path: Path) -> None:
    studio = Studio(settings=Settings(home=tmp_path / "h", start_worker=False, budget_total=Decimal("0.01")))
    studio.subjects.add("rex", kind="pet")
    add_photos(studio, 4)
    found = studio.trainings.offers("rex", base="flux1-dev")
    [replicate] = [one for one in found.choices if one.trainer == "replicate"]
    assert any(one.code == "budget" for one in replicate.refusals)
    assert [budget.kind for budget in found.budgets] == ["total"]


@pytest.mark.parametrize(
    ("photos", "few", "codes"), [(0, False, "photos-none"), (2, False, "photos-few"), (4, False, "")]
)
def test_too_few_photos_are_said(studio: Studio, photos: int, few: bool, codes: str) -> None:
    add_photos(studio, photos)
    found = studio.trainings.offers("rex", allow_few=few)
    assert "".join(one.code for one in found.findings) == codes


def test_settings_that_cannot_be_used_are_named_one_by_one_and_all_else_is_judged(studio: Studio) -> None:
    add_photos(studio, 4)
    settings = {"rank": 0, "steps": 77, "schedule": "cosin", "learning_rate": "fast", "trainer.nonsense": 1}
    found = studio.trainings.offers("rex", settings=settings)
    assert found.problems is not None
    assert set(found.problems) == {"rank", "schedule", "learning_rate"}
    assert "Did you mean cosine?" in found.problems["schedule"]
    assert found.recipe["steps"] == 77
    assert found.chosen is None or found.chosen.trainer == "local"


def test_the_time_is_that_of_earlier_runs(studio: Studio) -> None:
    add_photos(studio, 4)
    assert studio.trainings.offers("rex", preset="quick").chosen.seconds is None  # type: ignore[union-attr]
    training = add_training(studio)
    with studio._workspace.database.write() as session:
        row = session.get_one(TrainingRow, training)
        row.state, row.ended_at = JobState.DONE, now()
        row.started_at = row.ended_at - timedelta(seconds=60)
    chosen = studio.trainings.offers("rex", preset="quick").chosen
    assert chosen is not None
    assert chosen.measured
    assert chosen.seconds == pytest.approx(60)
    twice = studio.trainings.offers("rex", preset="quick", settings={"steps": 300}).chosen
    assert twice is not None
    assert twice.seconds == pytest.approx(120)


def test_every_recipe_field_has_its_words_and_a_value_that_can_be_used() -> None:
    base = find_base("limner-tiny")
    start = recipes.preset("balanced", base)
    found = recipe_fields(base, recipes.plain(start))
    assert {one.name for one in found} == {one.name for one in fields(start)} - {"base", "extra"}
    for one in found:
        assert one.title
        assert one.help.endswith(".")
        if one.kind == "choice":
            assert str(one.value) in one.choices
    assert recipes.from_mapping({one.name: one.value for one in found}, replace(start)) == start


def test_a_setting_is_read_as_it_was_written() -> None:
    assert parse_setting("rank", " 8 ") == 8
    assert parse_setting("learning_rate", "2e-4") == 2e-4
    assert parse_setting("schedule", "cosine") == "cosine"
    assert parse_setting("x", "True") is True
    assert parse_setting("layer_ranks", "attn 8 8\nff 4 2.5") == [["attn", 8, 8], ["ff", 4, 2.5]]
