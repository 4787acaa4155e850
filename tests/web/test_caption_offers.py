"""Captions that wait for an answer: on the subject's page, by the API, by the client and on the command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
from typing import Any
from unittest import mock

import pytest
from fastapi.testclient import TestClient

from limner.cli.main import run
from limner.operations.photos.late_captions import OFFERED
from limner.store.models import JobRow, TrainingRow, now
from limner.studio import Studio
from tests.operations.photos_kept import keep

HOSTILE = "<script>alert(1)</script> \u202e {trigger}"


@pytest.fixture
def rex(studio: Studio) -> list[str]:
    """Three photos, for two of which other captions came."""
    studio.subjects.add("rex", name="Rex", kind="pet", class_word="dog", trigger="rex_dog")
    photos = [keep(studio, "rex", number, caption=f"old {number}") for number in range(3)]
    with studio._workspace.database.write() as session:
        session.add(
            JobRow(
                id="job_0123456789abcdef",
                kind="intake",
                subject="rex",
                request={"stages": [{"stage": "intake"}]},
                state="done",
                stages=[],
                result={OFFERED: {photos[0]: "new 0", photos[1]: HOSTILE}, "caption_findings": []},
                ended_at=now(),
            )
        )
    return photos


def captions(studio: Studio) -> list[str]:
    return [photo.caption for photo in studio.photos.all("rex")]


def test_the_page_asks_and_takes_one_all_or_none(client: TestClient, studio: Studio, rex: list[str]) -> None:
    text = client.get("/subjects/rex").text
    assert "2 photos have another caption already" in text
    assert "old 0" in text and "new 0" in text and "&lt;script&gt;" in text and "<script>alert" not in text
    path = "/subjects/rex/captions/offered"
    assert client.post(path, data={"action": "replace", "photo": rex[0]}).status_code in (200, 303)
    assert captions(studio) == ["new 0", "old 1", "old 2"]
    assert "1 photo has another caption already" in client.get("/subjects/rex").text
    client.post(path, data={"action": "keep"})
    assert captions(studio) == ["new 0", "old 1", "old 2"]
    assert "another caption already" not in client.get("/subjects/rex").text
    assert client.post(path, data={"action": "replace", "photo": rex[0]}).status_code == 404


def test_the_api_lists_and_answers(client: TestClient, studio: Studio, rex: list[str]) -> None:
    path = "/api/v1/subjects/rex/caption-offers"
    offers = client.get(path).json()["changes"]
    assert [(one["photo"], one["before"], one["after"]) for one in offers] == [
        (rex[0], "old 0", "new 0"),
        (rex[1], "old 1", HOSTILE),
    ]
    assert client.post(path, json={}).status_code == 422
    assert client.post(path, json={"replace": True, "photos": ["f" * 64]}).status_code == 404
    done = client.post(path, json={"replace": True, "photos": [rex[1]]}).json()
    assert [one["photo"] for one in done["changes"]] == [rex[1]] and done["made_at"]
    assert captions(studio) == ["old 0", HOSTILE, "old 2"]
    assert client.delete("/api/v1/subjects/rex/caption-edits/last").status_code == 200
    assert captions(studio) == ["old 0", "old 1", "old 2"]


def limner(studio: Studio, *words: str) -> tuple[int, str]:
    out = io.StringIO()
    environment = {"LIMNER_HOME": str(studio.settings.home), "COLUMNS": "200"}
    with mock.patch.dict(os.environ, environment), contextlib.redirect_stdout(out):
        return run(words), out.getvalue()


def test_the_command_line_lists_and_answers(studio: Studio, rex: list[str]) -> None:
    code, text = limner(studio, "photos", "offered", "rex")
    assert code == 0 and "new 0" in text and "\u202e" not in text
    code, text = limner(studio, "photos", "offered", "rex", "--json")
    assert json.loads(text)["changes"][1]["after"] == HOSTILE and "\u202e" not in text
    assert limner(studio, "photos", "offered", "rex", "--keep", "--replace")[0] == 2
    assert limner(studio, "photos", "offered", "rex", "--replace", "--photo", rex[0][:8])[0] == 0
    assert captions(studio) == ["new 0", "old 1", "old 2"]
    assert limner(studio, "photos", "offered", "rex", "--keep")[0] == 0
    assert "No caption waits" in limner(studio, "photos", "offered", "rex")[1]


def test_a_training_that_diverged_says_so_everywhere(client: TestClient, studio: Studio, rex: list[str]) -> None:
    dataset = studio.datasets.freeze("rex", base="limner-tiny", allow_few=True).digest
    curve = [[step, 0.4 if step < 50 else 3.0] for step in range(1, 101)]
    values: dict[str, Any] = {
        "subject": "rex",
        "dataset": dataset,
        "base": "limner-tiny",
        "trainer": "local",
        "sample_prompts": [],
    }
    with studio._workspace.database.write() as session:
        for name, losses in (("a", curve), ("b", [[step, 0.4] for step, _ in curve])):
            recipe = {"learning_rate": 0.01, "steps": 100, "schedule": "constant"}
            row = TrainingRow(id=f"training_{name * 16}", state="done", losses=losses, recipe=recipe)
            for field, value in values.items():
                setattr(row, field, value)
            session.add(row)
    bad, good = "training_" + "a" * 16, "training_" + "b" * 16
    assert "has diverged" in client.get(f"/trainings/{bad}").text
    assert "diverged" not in client.get(f"/trainings/{good}").text
    (found,) = client.get(f"/api/v1/trainings/{bad}").json()["findings"]
    assert found["code"] == "diverged" and "such as 0.002" in found["remedy"]
    code, text = limner(studio, "trainings", "show", bad, "--json")
    assert code == 0 and json.loads(text)["findings"][0]["code"] == "diverged"
    log = studio.settings.home / "logs/trainings" / f"{good}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("step 90 loss: nan")
    assert "has diverged" in client.get(f"/trainings/{good}").text
