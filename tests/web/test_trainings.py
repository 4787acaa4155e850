"""The Train page and the page of a run: price before the start, refused forms come back filled in, no double start."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete

from limner.operations.jobs import lifecycle, worker
from limner.operations.trainings import job as training_job
from limner.operations.trainings import submission as trainings
from limner.operations.trainings.artifacts import Curves
from limner.store.models import BlobRow, CheckpointRow, CurvePointRow, DatasetRow, PhotoRow, SampleRow, TrainingRow, now
from limner.studio import Studio
from limner.types import JobState
from limner.web.pages.training.curves import MOST_POINTS, curve
from limner.web.pages.training.form import read_form
from tests.operations.photos_kept import keep

PROMPT = 'a <b>dog</b> & "sea"'


@pytest.fixture(autouse=True)
def no_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FAL_KEY", "REPLICATE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def rex(studio: Studio) -> Studio:
    studio.subjects.add("rex", kind="pet", class_word="dog")
    workspace = studio._workspace
    for number in range(5):
        digest = workspace.blobs.put(f"photo {number}".encode())
        report = {"source": f"{number}.png", "verdict": "accepted"}
        with workspace.database.write() as session:
            session.add(BlobRow(digest=digest, media_type="image/png", byte_size=9))
            session.flush()
            session.add(PhotoRow(subject="rex", digest=digest, width=512, height=512, source="x", report=report))
    return studio


def token(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    return found[1]


def fields(page: str) -> dict[str, str]:
    wish = re.search(r'name="wish" value="([^"]+)"', page)
    assert wish
    return {"csrf_token": token(page), "wish": wish[1], "base": "limner-tiny", "trainer": "local", "preset": "quick"}


def send(client: TestClient, path: str, sent: Mapping[str, str], **more: Any) -> Any:
    return client.post(path, data=dict(sent), headers={"Origin": "http://localhost", **more})


def test_the_page_shows_trainers_price_and_budget_before_the_start(client: TestClient, rex: Studio) -> None:
    page = client.get("/subjects/rex/train").text
    for words in ("This machine", "Replicate", "fal", "5 photos", "Train on this machine", "nobody but this machine"):
        assert words in page
    assert page.count('<input type="radio" name="trainer"') == len(rex.trainings.offers("rex").choices)
    paid = client.get("/subjects/rex/train?base=flux1-dev&trainer=replicate").text
    assert re.search(r"Train for (about|perhaps) \$\d", paid)
    assert "no commercial use" in paid
    assert not re.search(r"<script(?![^>]*src)| style=| on[a-z]+=", page + paid)


def test_a_price_may_be_asked_for_without_a_script(client: TestClient, rex: Studio) -> None:
    sent = fields(client.get("/subjects/rex/train").text)
    answer = send(client, "/subjects/rex/train", {**sent, "preset": "thorough", "do": "price"})
    assert answer.status_code == 200
    assert re.search(r'value="thorough" checked', answer.text)
    assert not rex.jobs.all()


def test_the_same_form_sent_twice_starts_one_training(
    client: TestClient, rex: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.operations.datasets.job.freeze", lambda *_, **__: frozen(rex))
    sent = fields(client.get("/subjects/rex/train").text) | {"prompts": PROMPT, "r_steps": "42"}
    first, second = (send(client, "/subjects/rex/train", sent) for _ in range(2))
    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"]
    [job] = rex.jobs.all()
    assert first.headers["location"] == f"/trainings/{job.target}"
    training = rex.trainings.get(job.target)
    assert training.recipe["steps"] == 42
    assert training.sample_prompts == (PROMPT,)


def test_a_form_that_was_changed_is_trained_though_its_id_was_used(
    client: TestClient, rex: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.operations.datasets.job.freeze", lambda *_, **__: frozen(rex))
    sent = fields(client.get("/subjects/rex/train").text)
    for steps in ("40", "50", "40"):
        assert send(client, "/subjects/rex/train", {**sent, "r_steps": steps}).status_code == 303
    assert sorted(one.recipe["steps"] for one in rex.trainings.all("rex")) == [40, 50]


def frozen(studio: Studio) -> Any:
    with studio._workspace.database.write() as session:
        if session.get(DatasetRow, "d" * 64) is None:
            subject = {"slug": "rex", "name": "rex", "kind": "pet", "class_word": "dog", "trigger": "rex"}
            items = [
                {
                    "photo": "0" * 64,
                    "media_type": "image/png",
                    "width": 512,
                    "height": 512,
                    "caption": "a dog",
                    "crop": {"left": 0, "top": 0, "width": 512, "height": 512},
                    "bucket": [128, 128],
                }
            ]
            manifest = {"subject": subject, "resolution": 128, "items": items}
            session.add(DatasetRow(digest="d" * 64, subject="rex", resolution=128, photos=5, manifest=manifest))
    return studio.datasets.get("d" * 64)


def test_a_refused_form_comes_back_filled_in_with_the_error_at_its_field(client: TestClient, rex: Studio) -> None:
    sent = fields(client.get("/subjects/rex/train").text)
    wrong = {**sent, "r_rank": "0", "r_learning_rate": "<fast>", "prompts": PROMPT, "extra": "a = b"}
    answer = send(client, "/subjects/rex/train", wrong)
    assert answer.status_code == 422
    page = answer.text
    for name in ("rank", "learning_rate"):
        assert re.search(rf'id="f-r_{name}-error"', page)
    assert 'value="&lt;fast&gt;"' in page
    assert PROMPT in html.unescape(page)
    assert "<b>dog</b>" not in page
    assert sent["wish"] in page
    assert '<details class="disclosure" id="train-more" open' in page
    assert not rex.jobs.all()


def test_what_costs_more_than_goes_without_asking_waits_for_a_yes_to_that_sum(
    client: TestClient, rex: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_" + "x" * 37)
    monkeypatch.setattr("limner.operations.datasets.job.freeze", lambda *_, **__: frozen(rex))
    path = "/subjects/rex/train"
    sent = fields(client.get(path).text) | {"base": "flux1-dev", "trainer": "replicate", "preset": "thorough"}
    choice = next(
        one
        for one in rex.trainings.offers("rex", base="flux1-dev", preset="thorough").choices
        if one.trainer == "replicate"
    )
    assert choice.asks
    for answer in ("", "0.01", "yes"):  # none, another sum, and what a forged form might send
        page = send(client, path, {**sent, "yes": answer})
        assert page.status_code == 402
        assert f'name="yes" value="{choice.cost}"' in page.text
    assert not rex.jobs.all()


def test_the_parts_that_depend_on_the_form_come_as_partials(client: TestClient, rex: Studio) -> None:
    sent = fields(client.get("/subjects/rex/train").text)
    more = {"HX-Request": "true", "HX-Request-Type": "partial"}
    answer = client.post("/subjects/rex/train/offer", data=sent, headers={"Origin": "http://localhost", **more})
    assert answer.status_code == 200
    assert answer.text.count("<hx-partial") == answer.text.count("</hx-partial>") == 7
    shown = {**sent, "shown": "limner-tiny quick"}
    answer = client.post("/subjects/rex/train/offer", data=shown, headers={"Origin": "http://localhost", **more})
    assert "train-fields" not in answer.text  # what is being typed into is left alone


def test_a_dataset_is_trained_on_itself_however_the_photos_are_now(client: TestClient, studio: Studio) -> None:
    studio.subjects.add("rex", kind="pet", class_word="dog")
    photos = [keep(studio, "rex", number) for number in range(6)]
    dataset = studio.datasets.freeze("rex", base="limner-tiny").digest
    studio.photos.remove("rex", photos[0])
    listed = client.get("/subjects/rex/datasets").text
    link = re.search(r'href="(/subjects/rex/train[^"]+)"', listed)
    assert link
    page = client.get(link[1]).text
    assert f'name="dataset" value="{dataset}"' in page
    assert f"{dataset[:8]}</code></a>: 6 photos at" in page
    sent = fields(page) | {"dataset": dataset}
    refused = send(client, "/subjects/rex/train", {**sent, "r_rank": "0"})
    assert refused.status_code == 422
    assert f'name="dataset" value="{dataset}"' in refused.text
    answer = send(client, "/subjects/rex/train", sent)
    assert studio.trainings.get(answer.headers["location"].rpartition("/")[2]).dataset == dataset
    assert [one.digest for one in studio.datasets.all("rex")] == [dataset]
    now = send(client, "/subjects/rex/train", {**sent, "r_steps": "42", "do": "photos"})
    assert now.status_code == 200
    assert 'name="dataset" value=""' in now.text
    assert 'name="r_steps" value="42"' in now.text
    assert "5 photos</a>" in now.text


def test_a_dataset_of_another_subject_is_refused(client: TestClient, rex: Studio) -> None:
    rex.subjects.add("max", kind="pet")
    dataset = frozen(rex).digest
    assert client.get(f"/subjects/max/train?dataset={dataset}").status_code == 409
    assert client.get("/subjects/rex/train?dataset=none").status_code == 404


def test_train_again_asks_for_the_whole_of_the_run(client: TestClient, rex: Studio) -> None:
    frozen(rex)
    workspace = rex._workspace
    settings = {"steps": 77, "layer_ranks": [["attn", 4, 2.0]], "trainer.mood": "calm", "trainer.lift": 0.5}
    prompts = [PROMPT, "{trigger} at sea"]
    request = trainings.make_request(workspace, subject="rex", kind="pet", settings=settings, sample_prompts=prompts)
    with workspace.database.write() as session:
        training_job.add_row(session, request, "d" * 64)
        lifecycle.add_job(session, kind="train", stages=[request], subject="rex", target=request.training)
    shown = client.get(f"/trainings/{request.training}").text
    link = re.search(r'href="(/subjects/rex/train[?][^"]+)"', shown)
    assert link
    page = client.get(html.unescape(link[1])).text
    assert f'name="dataset" value="{"d" * 64}"' in page
    assert 'name="r_steps" value="77"' in page
    areas = {
        name: html.unescape(text) for name, text in re.findall(r'name="(\w+)" rows[^>]*>\n(.*?)</textarea>', page, re.S)
    }
    assert areas["prompts"].splitlines() == prompts
    form = read_form({**areas, "r_steps": "77", "base": "limner-tiny"})
    again = trainings.make_request(workspace, subject="rex", kind="pet", settings=form.settings())
    assert again.recipe == request.recipe


@pytest.mark.parametrize("slug", ["nobody", "..%2f..%2fetc", "<script>", "a" * 3000])
def test_a_subject_that_is_not_there_is_a_page_that_says_so(client: TestClient, slug: str) -> None:
    answer = client.get(f"/subjects/{slug}/train")
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text


# --- a run ------------------------------------------------------------------------------------------------------


def a_training(studio: Studio, state: JobState = JobState.RUNNING, *, error: dict[str, Any] | None = None) -> str:
    frozen(studio)
    workspace = studio._workspace
    request = trainings.make_request(
        workspace, subject="rex", kind="pet", preset="quick", settings={"steps": 100}, sample_prompts=[PROMPT]
    )
    digest = workspace.blobs.put(b"picture")
    with workspace.database.write() as session:
        training_job.add_row(session, request, "d" * 64)
        job = lifecycle.add_job(session, kind="train", stages=[request], subject="rex", target=request.training)
        job.state = state
        session.add(BlobRow(digest=digest, media_type="image/png", byte_size=7))
        session.flush()
        row = session.get_one(TrainingRow, request.training)
        row.state, row.error = state, error
        row.started_at = now() - timedelta(seconds=50)
        row.ended_at = now() if state.ended else None
        row.progress = {"stage": "training", "done": 40, "total": 100, "unit": "steps", "rate": 2.5, "seconds_left": 24}
        curves = Curves(session, row.id)
        curves.keep(session, "loss", [(step, 1 / step) for step in range(1, 41)], 100)
        curves.keep(session, "rate", [(step, 1e-3 - step * 1e-6) for step in range(1, 41)], 100)
        for step in (20, 40):
            session.add(SampleRow(training=row.id, step=step, position=0, prompt=PROMPT, digest=digest))
            session.add(CheckpointRow(training=row.id, step=step, digest=digest))
    return request.training


def test_a_run_shows_everything_without_a_script(client: TestClient, rex: Studio) -> None:
    training = a_training(rex)
    page = client.get(f"/trainings/{training}").text
    for words in ("40", "of 100", "2.50", "24 s", "Cancel", f"/samples/{training}/20/0", "polyline", "As a table"):
        assert words in page
    assert f'hx-sse:connect="/trainings/{training}/live"' in page
    assert html.escape(PROMPT, quote=False).replace('"', "&#34;") in page
    assert "<b>dog</b>" not in page
    assert page.count('<li id="checkpoint-') == 2
    assert not re.search(r"<script(?![^>]*src)| style=| on[a-z]+=", page)


def test_a_learning_rate_that_nobody_says_is_not_made_up(client: TestClient, rex: Studio) -> None:
    training = a_training(rex)
    with rex._workspace.database.write() as session:
        session.execute(delete(CurvePointRow).where(CurvePointRow.curve == "rate"))
    page = client.get(f"/trainings/{training}").text
    assert "does not say its learning rate" in page
    assert 'data-curve="rate"' not in page


def test_a_run_that_ended_is_its_record_and_no_stream(client: TestClient, rex: Studio) -> None:
    error = {"code": "work-failed", "message": "The disk is <full>.", "remedy": "Free some space.", "thing": ""}
    training = a_training(rex, JobState.FAILED, error=error)
    page = client.get(f"/trainings/{training}").text
    assert "hx-sse:connect" not in page
    assert "The disk is &lt;full&gt;." in page
    assert "Free some space." in page
    assert "Resume" in page
    assert "Took" in page


def test_the_stream_sends_the_whole_and_ends_with_the_run(client: TestClient, rex: Studio) -> None:
    training = a_training(rex, JobState.DONE)
    answer = client.get(f"/trainings/{training}/live")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.startswith("retry: ")
    assert 'id="run-samples"' in answer.text
    assert answer.text.endswith("event: end\ndata: end\nid: 2\n\n")


def test_curves_are_continued_from_a_step(client: TestClient, rex: Studio) -> None:
    training = a_training(rex)
    whole = client.get(f"/trainings/{training}/curves").json()
    assert whole["total"] == 100
    assert len(whole["loss"]["steps"]) == len(whole["loss"]["smooth"]) == 40
    part = client.get(f"/trainings/{training}/curves?since=38").json()
    assert part["loss"]["steps"] == [39, 40]
    assert part["loss"]["values"] == whole["loss"]["values"][38:]
    assert client.get(f"/trainings/{training}/curves?since=x").status_code == 422


def test_cancelling_twice_and_in_two_tabs_is_harmless(client: TestClient, rex: Studio) -> None:
    training = a_training(rex)
    csrf = {"csrf_token": client.get(f"/trainings/{training}").text.split('name="csrf_token" value="')[1].split('"')[0]}
    for _ in range(2):
        answer = send(client, f"/trainings/{training}/cancel", csrf)
        assert answer.status_code == 303
    assert rex.jobs.get(training).cancel_requested
    page = client.get(f"/trainings/{training}").text
    assert "Stopping at the next safe point" in page
    assert f"/trainings/{training}/cancel" not in page


def test_a_training_cancelled_before_it_began_is_over_and_can_be_resumed(client: TestClient, rex: Studio) -> None:
    training = a_training(rex, JobState.WAITING)
    job = rex.cancel(training)
    # What the worker does with it: it looks for the wish before it begins the stage.
    run_stage = worker._runner(rex._workspace)
    assert not asyncio.run(run_stage(job.id, 0))
    lifecycle.end_job(rex._workspace.database, job.id)
    assert rex.trainings.get(training).state is JobState.CANCELLED
    page = client.get(f"/trainings/{training}").text
    assert f"/trainings/{training}/resume" in page
    assert "hx-sse:connect" not in page
    assert client.get(f"/trainings/{training}/live").text.endswith("event: end\ndata: end\nid: 2\n\n")
    sent = {"csrf_token": token(page), "wish": page.split('name="wish" value="')[1].split('"')[0]}
    assert send(client, f"/trainings/{training}/resume", sent).status_code == 303
    assert rex.trainings.get(training).state is JobState.WAITING


def test_resuming_in_two_tabs_makes_one_job(client: TestClient, rex: Studio) -> None:
    training = a_training(rex, JobState.CANCELLED)
    pages = [client.get(f"/trainings/{training}").text for _ in range(2)]
    sent = [{"csrf_token": token(page), "wish": page.split('name="wish" value="')[1].split('"')[0]} for page in pages]
    for one in sent:
        assert send(client, f"/trainings/{training}/resume", one).status_code == 303
    assert len(rex.jobs.all()) == 2  # the one that stopped, and the one that goes on


def test_a_shortened_id_leads_to_the_whole_one_and_an_unknown_one_to_a_page(client: TestClient, rex: Studio) -> None:
    training = a_training(rex)
    assert client.get(f"/trainings/{training[:14]}").headers["location"] == f"/trainings/{training}"
    for path in ("/trainings/training_none", "/trainings/..%2f..%2fetc", "/trainings/none/live", "/trainings/none/log"):
        assert client.get(path).status_code == 404


def test_a_curve_is_smoothed_thinned_and_drawn() -> None:
    found = curve([(step, 1.0 if step % 2 else 0.0) for step in range(1, 5001)], 10_000)
    assert found is not None
    assert len(found.steps) <= MOST_POINTS
    assert found.steps[-1] == 5000
    assert 0.4 < found.smooth[-1] < 0.6
    last_x, _ = found.line.split()[-1].split(",")
    assert float(last_x) == pytest.approx(300.0)
    assert len(found.rows) <= 24
    assert curve([]) is None
    flat = curve([(1, 2.0), (2, 2.0)])
    assert flat is not None
    assert "nan" not in flat.line
