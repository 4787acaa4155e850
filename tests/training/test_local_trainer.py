"""The local trainer with real processes: trains once, survives kills, resumes to the same bytes, says why it failed."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from limner.errors import Conflict, NotReady, RecipeRefused
from limner.plugins import back_end, names
from limner.settings import Settings
from limner.training.local.run_directory import RunDirectory, identity_of
from limner.training.local.trainer import LocalTrainer
from limner.training.recipe import canonical_json
from limner.training.trainer import Trainer, TrainingOrder
from limner.types import JobState
from tests.waiting import until

from .orders import MakeOrder, wait, wait_for_step

pytestmark = pytest.mark.engine

LONG = {"steps": 300, "checkpoint_every": 40, "sample_every": 150, "ema_decay": 0.9}


def in_a_process_of_its_own(act: Callable[[], object]) -> int:
    """Do something in a forked process that then waits to be killed; gives its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
            while True:
                time.sleep(1)
        finally:
            os._exit(1)
    return pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def shim_of(run: RunDirectory) -> int:
    """The pid of the shim: the parent of the recorded trainer."""
    status = Path(f"/proc/{run.read(run.trainer)['pid']}/stat").read_text()
    return int(status.rpartition(")")[2].split()[1])


def starts(run: RunDirectory) -> int:
    """How many training processes began to work in a run directory."""
    return sum(line.get("phase") == "loading the base" for line in run.progress_lines())


@pytest.fixture(scope="module")
def kept() -> dict[str, bytes]:
    return {}


@pytest.fixture
def whole(kept: dict[str, bytes], trainer: LocalTrainer, make_order: MakeOrder) -> bytes:
    """The weights of the uninterrupted long training, run once for all tests."""
    if not kept:
        order = make_order("whole", sample_prompts=("a photo of john_doe",), **LONG)
        trainer.start_now(order)
        assert wait(trainer, order).state is JobState.DONE
        kept["weights"] = trainer.collected(order).weights.read_bytes()
    return kept["weights"]


@pytest.mark.slow
def test_trains_and_gives_everything(trainer: LocalTrainer, make_order: MakeOrder, kept: dict[str, bytes]) -> None:
    order = make_order(sample_prompts=("a photo of john_doe",), **LONG)
    reference = asyncio.run(trainer.start(order))
    report = wait(trainer, order)
    assert report.state is JobState.DONE, (report, (order.run_directory / "log.txt").read_text())
    assert (report.progress.done, report.progress.total, report.progress.unit) == (300, 300, "steps")
    collected = asyncio.run(trainer.collect(order, reference))
    assert [step for step, _ in collected.losses] == list(range(1, 301))
    assert [step for step, _ in collected.checkpoints] == [40, 80, 120, 150, 160, 200, 240, 280, 300]
    assert [(sample.step, sample.prompt) for sample in collected.samples] == [
        (150, "a photo of john_doe"),
        (300, "a photo of john_doe"),
    ]
    assert all(Image.open(sample.path).size == (32, 32) for sample in collected.samples)
    with safe_open(collected.weights, "pt") as file:
        header = file.metadata()
    assert header["limner.base"] == order.base.id
    assert header["limner.trigger"] == "john_doe"
    assert header["limner.dataset"] == order.manifest.digest
    assert header["limner.recipe"] == canonical_json(order.recipe)
    assert header["limner.licence"] == "Apache License 2.0"
    assert "lora_adapter_metadata" in header
    # a second start after the end does nothing
    assert asyncio.run(trainer.start(order)) == reference
    assert starts(RunDirectory(order.run_directory)) == 1
    kept["weights"] = collected.weights.read_bytes()


@pytest.mark.slow
def test_every_kind_of_kill_ends_in_the_same_bytes(trainer: LocalTrainer, make_order: MakeOrder, whole: bytes) -> None:
    order = make_order(sample_prompts=("a photo of john_doe",), **LONG)
    run = RunDirectory(order.run_directory)

    # the process that started it is killed: the training goes on, and a new start finds it
    parent = in_a_process_of_its_own(lambda: trainer.start_now(order))
    wait_for_step(trainer, order, 2)
    kill(parent)
    trainer.start_now(order)
    assert trainer.report(run.folder).state is JobState.RUNNING
    assert starts(run) == 1

    # the shim alone is killed: its trainer is an orphan, ended before another one starts
    orphan = run.read(run.trainer)
    os.kill(shim_of(run), signal.SIGKILL)
    until(lambda: not run.guarded())
    assert identity_of(orphan["pid"]) == orphan["identity"]
    trainer.start_now(order)
    until(lambda: starts(run) == 2)
    assert identity_of(orphan["pid"]) != orphan["identity"]

    # both are killed, as by a power cut
    seen = trainer.report(run.folder).progress.done
    wait_for_step(trainer, order, seen + 2)
    trainer_pid = run.read(run.trainer)["pid"]
    os.kill(shim_of(run), signal.SIGKILL)
    os.kill(trainer_pid, signal.SIGKILL)
    until(lambda: not run.guarded())
    assert trainer.report(run.folder).state is JobState.WAITING
    trainer.start_now(order)

    # the machine shuts down: the shim is told to end, and leaves no exit.json
    until(lambda: starts(run) == 3)
    os.kill(shim_of(run), signal.SIGTERM)
    until(lambda: not run.guarded())
    assert not run.exit.exists()
    trainer.start_now(order)
    assert wait(trainer, order).state is JobState.DONE, run.log.read_text()
    assert starts(run) == 4
    assert run.weights.read_bytes() == whole
    assert [step for step, _ in trainer.collected(order).losses] == list(range(1, 301))


@pytest.mark.slow
def test_many_starts_at_once_make_one_training_and_a_cancelled_one_reopens(
    trainer: LocalTrainer, make_order: MakeOrder, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "HF_TOKEN",
        "FAL_KEY",
        "LIMNER_HOME",
        "AWS_SECRET_ACCESS_KEY",
        "DBUS_SESSION_BUS_ADDRESS",
        "MY_PASSWORD",
    ):
        monkeypatch.setenv(name, "not-for-a-training")
    order = make_order(sample_prompts=("a photo of john_doe",), **LONG)
    run = RunDirectory(order.run_directory)
    parents = [in_a_process_of_its_own(lambda: trainer.start_now(order)) for _ in range(4)]
    wait_for_step(trainer, order, 3)
    for parent in parents:
        kill(parent)
    assert starts(run) == 1
    for pid in (shim_of(run), run.read(run.trainer)["pid"]):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"PATH=" in environment
        assert b"not-for-a-training" not in environment

    asyncio.run(trainer.cancel(order, f"local:{order.id}"))
    report = trainer.report(run.folder)
    assert report.state is JobState.CANCELLED
    assert 3 <= report.progress.done < 300
    assert (run.checkpoints / f"step-{report.progress.done:06d}" / "optimizer.safetensors").is_file()
    record = run.read(run.trainer)
    assert identity_of(record["pid"]) != record["identity"]
    trainer.start_now(order)
    trainer.cancel_now(run.folder)
    assert trainer.report(run.folder).state is JobState.CANCELLED
    assert starts(run) == 1, "a start after a cancel does nothing"
    with pytest.raises(Conflict, match="cancelled"):
        trainer.collected(order)

    asyncio.run(trainer.reopen(order))
    assert wait(trainer, order).state is JobState.DONE
    assert run.weights.read_bytes() == whole
    asyncio.run(trainer.reopen(order))
    assert starts(run) == 2, "what is done is not opened again"


@pytest.mark.slow
def test_a_killed_trainer_is_explained_and_can_go_on(trainer: LocalTrainer, make_order: MakeOrder) -> None:
    order = make_order(steps=200, checkpoint_every=100)
    run = RunDirectory(order.run_directory)
    trainer.start_now(order)
    until(lambda: bool(run.read(run.trainer)))
    os.kill(run.read(run.trainer)["pid"], signal.SIGKILL)
    report = wait(trainer, order)
    assert report.state is JobState.FAILED
    assert "memory" in report.error
    assert "resume" in report.remedy


def lose_a_picture(run: RunDirectory) -> None:
    (run.dataset / "001.png").unlink()


def spoil_a_picture(run: RunDirectory) -> None:
    data = (run.dataset / "001.png").read_bytes()
    (run.dataset / "001.png").write_bytes(data[: len(data) // 2])


def leave_little_space(run: RunDirectory) -> None:
    """The system cuts off every file of the training after 16 kilobytes, half-way through the first checkpoint."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "said", "remedy"),
    [
        (lose_a_picture, "lacks 001.png", "dataset"),
        (spoil_a_picture, "001.png cannot be read", "dataset"),
        (leave_little_space, "disk is full", "space"),
    ],
)
def test_a_failure_has_a_reason_and_a_remedy_and_a_trace_in_the_log(
    trainer: LocalTrainer, make_order: MakeOrder, damage: Callable[[RunDirectory], None], said: str, remedy: str
) -> None:
    order = make_order()
    run = RunDirectory(order.run_directory)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    damage(run)
    try:
        trainer.start_now(order)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    report = wait(trainer, order)
    assert report.state is JobState.FAILED
    assert said in report.error
    assert remedy in report.remedy
    assert "Traceback" not in report.error + report.remedy
    assert "Traceback" in run.log.read_text()


def test_cancel_before_anything_ran(trainer: LocalTrainer, make_order: MakeOrder) -> None:
    order = make_order()
    trainer.cancel_now(order.run_directory)
    trainer.start_now(order)
    assert trainer.report(order.run_directory).state is JobState.CANCELLED
    assert not (order.run_directory / "trainer.json").exists()
    trainer.cancel_now(order.run_directory.with_name("nowhere"))


def test_what_cannot_be_started_is_refused_at_once(
    trainer: LocalTrainer, make_order: MakeOrder, tmp_path: Path
) -> None:
    order = make_order()
    with pytest.raises(RecipeRefused, match="rank"):
        trainer.start_now(replace(order, recipe=replace(order.recipe, rank=0)))
    with pytest.raises(NotReady, match="no dataset"):
        trainer.start_now(replace(order, run_directory=tmp_path / "empty"))
    trainer.cancel_now(order.run_directory)
    other = replace(order, id="training-other")
    (order.run_directory / "order.json").write_text(json.dumps({"id": order.id, "digest": "x"}))
    (order.run_directory / "exit.json").unlink()
    with pytest.raises(Conflict, match="training-run"):
        trainer.start_now(other)
    with pytest.raises(Conflict, match="no training"):
        asyncio.run(trainer.poll(order, "local:training-other"))


def test_check_finds_what_would_fail(trainer: LocalTrainer, make_order: MakeOrder, tmp_path: Path) -> None:
    order = make_order()
    assert list(trainer.check(order)) == []
    bad = replace(
        order,
        recipe=replace(order.recipe, rank=0, resolution=1000, batch_size=50),
        base_path=str(tmp_path / "nowhere"),
        base=replace(order.base, parameters=12_000_000_000),
    )
    codes = [(finding.code, finding.severity.value) for finding in trainer.check(bad)]
    assert codes == [
        ("recipe", "refusal"),
        ("recipe", "refusal"),
        ("base", "refusal"),
        ("batch", "warning"),
        ("gpu", "warning"),
    ]


def test_progress_survives_torn_lines(trainer: LocalTrainer, make_order: MakeOrder) -> None:
    order = make_order()
    run = RunDirectory(order.run_directory)
    lines = [json.dumps({"step": n, "total": 6, "loss": 0.5, "rate": 2.0, "seconds_left": 1.0}) for n in (1, 2)]
    run.progress.write_text("\n".join([*lines, '{"step": 3, "tot']))
    progress = trainer.report(run.folder).progress
    assert (progress.done, progress.total, progress.loss, progress.seconds_left) == (2, 6, 0.5, None)


def test_it_is_found_and_says_what_it_is(order_base: str) -> None:
    assert "local" in names("limner.trainers")
    trainer = back_end("limner.trainers", "local", settings=Settings(device="cpu"))
    assert isinstance(trainer, Trainer)
    said = trainer.describe()
    assert said.ready
    assert order_base in said.bases


@pytest.fixture
def order_base() -> str:
    return "limner-tiny"


def test_an_order_is_not_written_twice(trainer: LocalTrainer, make_order: MakeOrder) -> None:
    order: TrainingOrder = make_order()
    trainer.cancel_now(order.run_directory)
    trainer.start_now(order)
    assert not (order.run_directory / "order.json").exists(), "an ended run is not touched"
