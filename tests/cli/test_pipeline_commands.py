"""The commands on a home where the pipeline ran: what they say, and that their JSON is what the studio gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until

from .conftest import SMALL_PICTURE, Trained

pytestmark = pytest.mark.engine
LONG = ["--set", "steps=5000", "--set", "rank=2", "--set", "batch_size=1", "--set", "resolution=64"]


def test_the_whole_pipeline_in_one_command(trained: Trained) -> None:
    assert trained.run.code == 0, trained.run.err
    assert "zib@v1, published to limner/zib-lora on folder" in trained.run.out
    [picture] = trained.pictures.iterdir()
    assert str(picture) in trained.run.out
    for stage in ("Photos: done", "Dataset: done", "Training: done", "Publishing: done", "Pictures: done"):
        assert stage in trained.run.err
    assert "\x1b" not in trained.run.out + trained.run.err


def test_every_listing_has_a_row_and_the_same_in_json(trained: Trained) -> None:
    limner = trained.limner
    for words, cell in {
        ("subjects", "list"): "zibbo",
        ("subjects", "show", "zib"): "zibbo",
        ("photos", "list", "zib"): "photo-0.png",
        ("photos", "report", "zib"): "5 accepted",
        ("datasets", "list", "zib"): "64 px",
        ("datasets", "show", "zib"): "a drawing of zibbo with circles",
        ("trainings", "list", "zib"): "zib@v1",
        ("loras", "list", "zib"): "limner-tiny",
        ("loras", "show", "zib"): "on folder",
        ("images", "list", "zib"): "a drawing of zibbo",
        ("jobs", "list", "zib"): "run",
        ("bases",): "flux1-dev",
        ("backends",): "ready",
        ("doctor",): "Ready.",
    }.items():
        shown = limner(*words)
        assert (shown.code, shown.err) == (0, ""), words
        assert cell in shown.out, words
        assert limner(*words, "--json").json, words


def test_first_digits_name_a_job_and_a_training(trained: Trained) -> None:
    [training] = trained.limner("trainings", "list", "zib", "--json").json
    digits = training["id"].removeprefix("training_")[:8]
    assert trained.limner("trainings", "show", digits, "--json").json["id"] == training["id"]
    [job] = [job for job in trained.limner("jobs", "list", "zib", "--json").json if job["kind"] == "run"]
    shown = trained.limner("jobs", "show", job["id"].removeprefix("job_")[:8])
    assert "Invalid" not in shown.err
    assert "intake" in shown.out
    assert trained.limner("jobs", "watch", job["id"]).code == 0
    assert trained.limner("trainings", "resume", digits).code == 4


def test_draw_inspect_reproduce_export_package(trained: Trained, tmp_path: Path) -> None:
    limner = trained.limner
    drawn = limner("generate", "{trigger} at sea", "--lora", "zib:0.8", "--seed", 3, *SMALL_PICTURE, "--out", tmp_path)
    assert drawn.code == 0, drawn.err
    [picture] = tmp_path.glob("*.png")
    assert str(picture) in drawn.out
    inspected = limner("inspect", picture)
    assert inspected.code == 0
    assert "zibbo at sea" in inspected.out
    assert limner("inspect", picture, "--json").json["record"]["seed"] == 3
    again = limner("reproduce", picture, "--out", tmp_path / "again.png")
    assert again.code == 0, again.err
    assert "pixel for pixel" in again.out
    exported = limner("loras", "export", "zib", tmp_path / "zib.safetensors")
    assert exported.code == 0
    assert limner("inspect", tmp_path / "zib.safetensors", "--json").json["trigger"] == "zibbo"
    packed = limner("datasets", "package", "zib", "--layout", "replicate", "--out", tmp_path / "zib.zip", "--json")
    assert Path(packed.json["path"]).is_file()
    sheet = tmp_path / "crops.png"
    assert limner("datasets", "show", "zib", "--sheet", sheet).code == 0
    assert sheet.stat().st_size > 0


def test_publishing_again_names_the_same_publication(trained: Trained) -> None:
    before = trained.limner("loras", "show", "zib", "--json").json["publications"]
    other = trained.limner("publish", "zib", "--repo", "ann/other")
    assert "ann/other on folder (private)" in other.out
    again = trained.limner("publish", "zib", "--json").json
    assert again["repo"] == before[0][1] == "limner/zib-lora"


@pytest.mark.timeout(1200)
def test_ctrl_c_leaves_the_work_to_the_worker_and_says_how_to_go_on(trained: Trained) -> None:
    """A real SIGINT to the whole group of the terminal; then cancel, watch, resume."""
    limner = trained.limner
    child = subprocess.Popen(
        [sys.executable, "-m", "limner.cli.main", "train", "zib", *LONG],
        env=limner.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def training() -> Any:
        return limner("trainings", "list", "zib", "--json").json[0]

    until(lambda: training()["state"] == "running" and (training()["progress"] or {}).get("done"))
    name = training()["id"]

    def done() -> int:
        return int(limner("trainings", "show", name, "--json").json["progress"]["done"])

    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate()
    assert child.returncode == 130, err
    assert out == ""
    assert "The work goes on in the background." in err
    assert "Traceback" not in err
    job = err.rpartition("limner jobs cancel ")[2].strip()
    first = done()
    until(lambda: done() > first)  # the training does not stop with its watcher

    assert "resume" in limner("jobs", "cancel", job).out
    watched = limner("trainings", "watch", name, "--json")
    assert watched.code == 6
    assert watched.problem["title"] == "cancelled"
    assert "limner trainings resume" in watched.problem["remedy"]
    assert limner("trainings", "show", name, "--json").json["state"] == "cancelled"

    resumed = limner("trainings", "resume", name, "--detach", "--json").json
    assert resumed["target"] == name
    assert limner("trainings", "cancel", name).code == 0
    assert limner("jobs", "watch", resumed["id"]).code == 6


def test_json_stays_alone_on_its_stream(trained: Trained) -> None:
    shown = trained.limner("generate", "{trigger}", "--lora", "zib", *SMALL_PICTURE, "--json")
    assert shown.err == ""
    assert json.loads(shown.out)["count"] == 1
