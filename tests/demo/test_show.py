"""The demo itself, with a training of two seconds: every stage is the real one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from limner import Studio
from limner.demo.show import SUBJECTS, run_demo
from limner.errors import Conflict
from limner.records import Job
from tests.operations.conftest import QUICK, kill_all

pytestmark = pytest.mark.engine


@pytest.mark.long
def test_the_demo_ends_with_its_sheet_and_can_be_run_again(tmp_path: Path) -> None:
    titles = []

    def follow(studio: Studio, title: str, job: Job) -> Job:
        titles.append(title)
        return studio.wait(job)

    subjects = [replace(subject, prompts=subject.prompts[:1], count=1) for subject in SUBJECTS]
    out = tmp_path / "demo"
    try:
        made = run_demo(out, follow, subjects=subjects, recipe=QUICK)
    finally:
        kill_all(out / "home")
    assert titles == [subject.title for subject in SUBJECTS]
    with Image.open(made["sheet"]) as sheet:
        assert sheet.width == 1800
    assert len(made["pictures"]) == 4
    assert all(path.is_file() for path in made["pictures"])
    assert all((out / "hub" / "limner" / f"{subject.slug}-lora").exists() for subject in subjects)
    assert made["seconds"] > 0

    try:
        with pytest.raises(KeyboardInterrupt):
            run_demo(out, _interrupt, subjects=subjects, recipe=QUICK)
    finally:
        kill_all(out / "home")
    assert not (out / "pictures").exists(), "what an earlier demo made was shown as if it were this one's"


def _interrupt(studio: Studio, title: str, job: Job) -> Job:
    studio.cancel(job)
    raise KeyboardInterrupt


def test_a_home_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "home" / "diary.txt"
    precious.parent.mkdir()
    precious.write_text("mine", encoding="utf-8")
    with pytest.raises(Conflict, match="was not made by a demo"):
        run_demo(tmp_path, lambda *_: pytest.fail("it started"))
    assert precious.read_text(encoding="utf-8") == "mine"
