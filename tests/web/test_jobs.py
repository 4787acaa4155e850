"""Jobs: the list and one job, live and without a script; cancelling and resuming from two tabs."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from fastapi.testclient import TestClient

from limner.errors import BaseUnclear, WorkFailed
from limner.operations.jobs import lifecycle
from limner.records import Job
from limner.studio import Studio
from limner.types import Progress
from limner.web.pages.jobs import line_of
from tests.stage_requests import StoredRequest


def add(studio: Studio, kind: str = "intake", *, subject: str | None = "rex", target: str = "") -> str:
    stages = [StoredRequest("intake"), StoredRequest("freeze")] if kind == "run" else [StoredRequest(kind)]
    with studio._workspace.database.write() as session:
        return lifecycle.add_job(session, kind=kind, stages=stages, subject=subject, target=target).id


def fail(studio: Studio, job: str) -> None:
    database = studio._workspace.database
    lifecycle.start_stage(database, job, 0)
    lifecycle.end_stage(database, job, 0, error=WorkFailed("The zip is <broken>.", remedy="Pack it again."))
    lifecycle.end_job(database, job)


def post(client: TestClient, path: str, page: str, **more: str) -> Any:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    return client.post(path, data={"csrf_token": found[1], **more}, headers={"Origin": "http://localhost"})


def test_the_list_says_what_runs_and_what_it_makes(client: TestClient, studio: Studio) -> None:
    running, failed = add(studio, "train", target="training_1"), add(studio)
    lifecycle.start_stage(studio._workspace.database, running, 0)
    lifecycle.JobProgress(studio._workspace.database, running).report(Progress("training", 30, 120, "steps"))
    fail(studio, failed)
    page = client.get("/jobs").text
    for words in ("Train rex", "30 of 120 steps", "/trainings/training_1", "The zip is &lt;broken&gt;.", "Resume"):
        assert words in page
    assert 'hx-sse:connect="/jobs/live?state=all"' in page
    assert "Train rex" not in client.get("/jobs?state=stopped").text
    assert "Take in photos of rex" in client.get("/jobs?state=stopped").text
    assert client.get("/jobs?state=nonsense").status_code == 200
    assert "No jobs here" in client.get("/jobs?subject=nobody").text


def test_one_job_shows_its_stages_its_error_and_what_happened(client: TestClient, studio: Studio) -> None:
    job = add(studio, "run", target="training_2")
    lifecycle.start_stage(studio._workspace.database, job, 0)
    page = client.get(f"/jobs/{job}").text
    assert "To come" in page
    assert f'hx-sse:connect="/jobs/{job}/live"' in page
    fail(studio, job)
    page = client.get(f"/jobs/{job}").text
    for words in ("Pack it again.", "Running", "Failed", "/trainings/training_2"):
        assert words in page
    assert "hx-sse:connect" not in page
    assert not re.search(r"<script(?![^>]*src)| style=| on[a-z]+=", page)


def test_an_import_that_asks_for_a_base_offers_those_that_fit(client: TestClient, studio: Studio) -> None:
    job, database = add(studio, "import"), studio._workspace.database
    question = BaseUnclear("It fits a or b.", thing="https://x.org/a b.safetensors?t=1&u=2", candidates=("a", "b"))
    lifecycle.start_stage(database, job, 0)
    lifecycle.end_stage(database, job, 0, error=question)
    lifecycle.end_job(database, job)
    page = unescape(client.get(f"/jobs/{job}").text)
    for base in "ab":
        assert re.search(
            rf'href="/loras\?source=https%3A//x.org/a%20b.safetensors%3Ft%3D1%26u%3D2[^"]*base={base}#', page
        )
    assert client.get(f"/api/v1/jobs/{job}").json()["error"]["candidates"] == ["a", "b"]


def test_the_stream_of_a_job_ends_with_it(client: TestClient, studio: Studio) -> None:
    job = add(studio)
    fail(studio, job)
    answer = client.get(f"/jobs/{job}/live")
    assert answer.text.count("\nid: ") == 2
    assert "event: end" in answer.text


def test_two_tabs_cancel_and_resume_one_job(client: TestClient, studio: Studio) -> None:
    job = add(studio)
    tabs = [client.get(f"/jobs/{job}").text for _ in range(2)]
    for tab in tabs:
        assert post(client, f"/jobs/{job}/cancel", tab).headers["location"] == f"/jobs/{job}"
    assert studio.jobs.get(job).cancel_requested
    fail(studio, job)
    tabs = [client.get(f"/jobs/{job}").text for _ in range(2)]
    wishes = [tab.split('name="wish" value="')[1].split('"')[0] for tab in tabs]
    places = {
        post(client, f"/jobs/{job}/resume", tab, wish=wish).headers["location"]
        for tab, wish in zip(tabs, wishes, strict=True)
    }
    assert len(places) == 1
    assert len(studio.jobs.all()) == 2
    again = studio.jobs.get(job).resumed_as
    assert places == {f"/jobs/{again}"}
    for page in (f"/jobs/{job}", "/jobs?state=stopped"):
        html = client.get(page).text
        assert f'href="/jobs/{again}"' in html
        assert f"/jobs/{job}/resume" not in html
    late = post(client, f"/jobs/{job}/cancel", tabs[0])
    assert late.status_code == 303


def test_resuming_what_cannot_be_resumed_is_said(client: TestClient, studio: Studio) -> None:
    job = add(studio)
    page = client.get(f"/jobs/{job}").text
    answer = post(client, f"/jobs/{job}/resume", page)
    assert answer.status_code == 303
    assert "is waiting" in client.get(f"/jobs/{job}").text


@pytest.mark.parametrize("job", ["job_none", "..%2f..%2fetc", "<script>"])
def test_a_job_that_is_not_there(client: TestClient, job: str) -> None:
    for path in (f"/jobs/{job}", f"/jobs/{job}/live"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("kind", "target", "makes"),
    [
        ("train", "training_1", "/trainings/training_1"),
        ("generate", "generation_1", "/generations/generation_1"),
        ("publish", "rex@v1", "/loras/rex%40v1"),
        ("intake", "", "/subjects/rex/photos"),
        ("something", "", "/subjects/rex/photos"),
    ],
)
def test_each_kind_leads_to_what_it_makes(studio: Studio, kind: str, target: str, makes: str) -> None:
    job: Job = studio.jobs.get(add(studio, kind, target=target))
    assert line_of(job).makes == makes
    assert line_of(job).title.endswith("rex")


def test_a_running_training_is_never_hidden_by_the_cells_of_a_grid(client: TestClient, studio: Studio) -> None:
    studio.subjects.add("rex", kind="pet")
    training = add(studio, "train", target="training_9")
    lifecycle.start_stage(studio._workspace.database, training, 0)
    cells = [add(studio, "generate", target=f"generation_{number}") for number in range(70)]
    for page in ("/", "/subjects/rex"):
        html = client.get(page).text
        assert f"/jobs/{training}" in html
        assert "69 more" in html
        assert html.count('href="/jobs/') == 2
    html = client.get("/jobs?state=now&subject=rex").text
    assert cells[-1] in html
    assert training not in html
    (older,) = re.findall(r'href="(/jobs\?[^"]*before=[^"]+)"', html)
    html = client.get(unescape(older)).text
    assert training in html
    assert cells[0] in html
    assert cells[-1] not in html
    assert "hx-sse:connect" not in html
    assert 'href="/jobs?state=now&amp;subject=rex"' in html
    assert client.get("/jobs?before=nonsense").status_code == 200
