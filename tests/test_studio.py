"""The studio as a library: opening, settings, names, sync and async."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import limner
from limner import Studio
from limner.errors import InputRefused, NotFound, PhotoRefused
from limner.settings import Settings, read_settings
from limner.types import JobState
from tests.operations.conftest import draw_photos, kill_all


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "home"
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LIMNER_{name.upper()}", raising=False)
    monkeypatch.setenv("LIMNER_WORKER_IDLE_SECONDS", "5")
    monkeypatch.chdir(tmp_path)
    yield folder
    kill_all(folder)


def test_importing_limner_loads_no_database_and_no_model_library() -> None:
    code = "import sys, limner; print(sorted({'sqlalchemy', 'pydantic', 'torch', 'dbos', 'rich'} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "[]\n"


def test_opening_a_studio_loads_no_workflow_engine_and_no_picture_library(home: Path) -> None:
    code = (
        "import sys; from limner import Studio\n"
        f"with Studio({str(home)!r}) as studio: studio.subjects.all(), studio.loras.all(), "
        "studio.jobs.all(), studio.maintenance.bases()\n"
        "print(sorted({'torch', 'dbos', 'pyvips', 'PIL', 'huggingface_hub', 'rich', 'typer'} & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "[]\n"


def test_two_homes_know_nothing_of_each_other(home: Path) -> None:
    with Studio(home / "a") as one, Studio(home / "b") as two:
        one.subjects.add("rex", kind="pet")
        assert [subject.slug for subject in one.subjects.all()] == ["rex"]
        assert two.subjects.all() == []
        with pytest.raises(NotFound):
            two.subjects.get("rex")


def test_a_home_of_its_own_reads_its_own_settings_file(home: Path) -> None:
    home.mkdir()
    (home / "limner.toml").write_text('base = "flux1-dev"\nhub_namespace = "ann"\n', encoding="utf-8")
    with Studio(home) as studio:
        assert (studio.settings.base, studio.settings.hub_namespace) == ("flux1-dev", "ann")


def test_the_environment_goes_before_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    (home / "limner.toml").write_text('base = "from-file"\nhub = "from-file"\ntrainer = "from-file"\n')
    monkeypatch.setenv("LIMNER_HOME", str(home))
    monkeypatch.setenv("LIMNER_TRAINER", "from-environment")
    found = read_settings()
    assert (found.home, found.base, found.hub, found.trainer) == (home, "from-file", "from-file", "from-environment")


def test_nothing_is_taken_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a folder that was unpacked somewhere says: no setting of it holds, those of next year included."""
    monkeypatch.chdir(tmp_path)
    before = read_settings().model_dump()
    words = "".join(f"LIMNER_{name.upper()}=http://127.0.0.1:9/{name}\n" for name in Settings.model_fields)
    for name in (".env", "limner.toml", "bases.toml", "hosted.toml", "prices.toml"):
        (tmp_path / name).write_text(words if name == ".env" else "replicate_url = 'http://127.0.0.1:9'\n")
    assert read_settings().model_dump() == before


def test_settings_survive_the_way_to_a_worker(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(home=home, base_paths={"flux1-dev": Path("/models/x")}, sign_images=False, workers=3)
    for name, value in given.as_environment().items():
        monkeypatch.setenv(name, value)
    assert read_settings().model_dump() == given.model_dump()


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", "many"), ("workers", "-1"), ("start_worker", "perhaps"), ("max_zip_bytes", "1.5 GB")],
)
def test_a_wrong_setting_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"LIMNER_{name.upper()}", value)
    with pytest.raises(InputRefused, match=f"'{name}' is '{value}'") as refusal:
        Studio(home)
    assert f"LIMNER_{name.upper()}" in refusal.value.remedy
    assert not home.exists()


def test_jobs_and_trainings_are_found_by_their_first_digits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_START_WORKER", "false")
    photos = draw_photos(home.parent / "photos")
    with Studio(home) as studio:
        studio.subjects.add("rex", kind="pet")
        started = [studio.photos.add("rex", [photos]) for _ in range(2)]
        for job in started:
            digits = job.id.removeprefix("job_")
            assert studio.jobs.get(job.id) == studio.jobs.get(digits) == studio.jobs.get(digits[:10])
        for name in ("", "job_", "zz", "abc", "%", "job_%", "_" * 16):
            with pytest.raises(NotFound):
                studio.jobs.get(name)
        for look in (studio.trainings.get, studio.generations.get):
            with pytest.raises(NotFound, match="There is no"):
                look("0123456789abcdef")


def test_asyncio_waits_watches_and_raises_what_the_job_ended_with(home: Path) -> None:
    photos = draw_photos(home.parent / "photos")

    async def work() -> list[JobState]:
        async with Studio(home) as studio:
            studio.subjects.add("rex", kind="pet")
            job = studio.photos.add("rex", [photos])
            seen = [current.state async for current in studio.watch_async(job)]
            assert (await studio.wait_async(job)).state is JobState.DONE
            (home.parent / "nothing").mkdir()
            with pytest.raises(PhotoRefused, match="No photo"):
                await studio.wait_async(studio.photos.add("rex", [home.parent / "nothing"]))
            return seen

    seen = asyncio.run(work())
    assert seen[-1] is JobState.DONE
    with Studio(home) as studio:
        assert len(studio.photos.all("rex")) == 5


def test_the_doctor_names_what_is_wrong(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_TOKEN", "REPLICATE_API_TOKEN", "FAL_KEY", "TOGETHER_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with Studio(home) as studio:
        report = studio.maintenance.doctor()
    assert report.healthy, [check for check in report.checks if check.state == "problem"]
    missing = {check.name: check for check in report.checks if check.state == "missing"}
    assert "HF_TOKEN" in missing["Hugging Face"].remedy
    assert "https://huggingface.co/black-forest-labs/FLUX.1-dev" in missing["flux1-dev"].remedy
    assert all(check.remedy for check in missing.values())

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    wrong = Settings(home=home, trainer="horde", base="sdxl", base_paths={"flux1-dev": home})
    with Studio(settings=wrong) as studio:
        report = studio.maintenance.doctor()
    problems = {check.name: check for check in report.checks if check.state == "problem"}
    assert set(problems) == {"trainer", "base", "flux1-dev"}
    assert "no trainer 'horde'" in problems["trainer"].detail
    assert "LIMNER_TRAINER" in problems["trainer"].remedy
    assert not report.healthy
    assert "hf_secret" not in str(report)


def test_the_version_is_there() -> None:
    assert limner.__version__.count(".") == 2
