"""Comparing checkpoints, looking at grids and voting, as a browser without a script does it; and the live part."""

from __future__ import annotations

import html
import io
import re
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from limner.generation.local import LocalGenerator
from limner.operations.grids import actions as grids
from limner.records import Grid
from limner.settings import Settings
from limner.studio import Studio
from limner.types import Estimate
from tests.operations.loras_made import TRAINING, add_training, draw

HERE = f"/trainings/{TRAINING}/compare"
PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial"}


@pytest.fixture
def home_settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", start_worker=False, consent_above=Decimal("0.5"))


@pytest.fixture(autouse=True)
def made(studio: Studio) -> None:
    studio.subjects.add("zib", kind="character", name="<b>Zib</b>", trigger="zibbo")
    add_training(studio)


def form(**more: Any) -> dict[str, Any]:
    return {
        "wish": "0123456789abcdef",
        "checkpoint": ["10", "30"],
        "scales": "0.6, 1",
        "prompts": "a photo of {trigger}\n\n{trigger} <script>",
        "seed": "5",
        "steps": "1",
        "width": "64",
        "height": "64",
        "guidance": "1",
        **more,
    }


def start(client: TestClient, **more: Any) -> str:
    answer = client.post(HERE, data=form(**more))
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def drawn(client: TestClient, studio: Studio, **more: Any) -> Grid:
    return draw(studio, studio.grids.grid(start(client, **more).rpartition("/")[2]))


def test_the_form_shows_checkpoints_prompts_and_price(client: TestClient) -> None:
    page = client.get(HERE)
    assert page.status_code == 200
    assert re.findall(r'name="checkpoint" value="(\d+)" checked', page.text) == ["10", "20", "30"]
    assert "12 pictures" in page.text
    assert "Checkpoints lie on this machine only, so it draws them." in page.text
    assert "free" in page.text
    assert "<b>Zib" not in page.text
    assert client.get("/trainings/0123/compare").headers["location"] == HERE


def test_a_training_without_checkpoints_says_so(client: TestClient, studio: Studio) -> None:
    add_training(studio, name="training_aaaaaaaaaaaaaaaa", steps=())
    page = client.get("/trainings/training_aaaaaaaaaaaaaaaa/compare")
    assert page.status_code == 200
    assert "No checkpoints to compare" in page.text


def test_the_price_is_told_while_the_form_is_filled_in(client: TestClient, studio: Studio) -> None:
    part = client.post(HERE, data=form(do="price"), headers=PARTIAL)
    assert part.status_code == 200
    assert "<html" not in part.text
    assert "8 pictures" in part.text
    whole = client.post(HERE, data=form(do="price", scales="1"))
    assert "4 pictures" in whole.text
    assert studio.grids.list() == ()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("scales", "0.6, much", "'much' is no value of the axis 'scale'"),
        ("scales", "", "has no values"),
        ("checkpoint", [], "No checkpoint is chosen"),
        ("prompts", " \n ", "There is no prompt"),
        ("seed", "-1", "'-1' is no seed"),
        ("steps", "ten", "'ten' is no steps"),
        ("scales", ",".join(str(number / 8) for number in range(40)), "160 cells; 64 is the most"),
    ],
)
def test_a_refused_form_comes_back_filled_in(
    client: TestClient, studio: Studio, field: str, value: Any, words: str
) -> None:
    answer = client.post(HERE, data=form(**{field: value}))
    assert answer.status_code == 422
    text = html.unescape(answer.text)
    assert words in text
    assert "{trigger} <script>" in text or field == "prompts"
    assert "<script>\n" not in answer.text
    if isinstance(value, str) and field != "prompts":
        assert f'value="{value}"' in text
    assert studio.grids.list() == ()


def test_sent_twice_it_is_one_grid(client: TestClient, studio: Studio) -> None:
    first = start(client)
    assert start(client) == first
    assert len(studio.grids.list(TRAINING)) == 1
    assert first.rpartition("/")[2] in client.get(HERE).text


def test_the_api_builds_only_the_part_that_is_asked_for(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        start(client, scales=f"0.{number + 1}", checkpoint=["10"])
    built: list[str] = []
    looked_up = grids._generations
    monkeypatch.setattr(grids, "_generations", lambda *given: built.extend(given[2]) or looked_up(*given))
    part = client.get("/api/v1/grids?limit=2").json()
    assert len(part["items"]) == 2 and part["next"]
    assert len(built) == 3 * 2  # one more than is shown says that there is more; two prompts each


def test_changed_and_sent_again_it_is_another_grid(client: TestClient, studio: Studio) -> None:
    first = start(client)
    assert start(client, scales="0.5") != first == start(client)
    assert len(studio.grids.list(TRAINING)) == 2


def test_what_costs_much_asks_first_and_keeps_the_form(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalGenerator, "estimate", lambda self, order: Estimate(Decimal("0.10")))
    answer = client.post(HERE, data=form())
    assert answer.status_code == 402
    assert 'name="yes" value="yes"' in answer.text
    assert 'value="0.6, 1"' in answer.text
    assert studio.grids.list() == ()
    assert start(client, yes="yes").startswith("/grids/grid_")


def test_a_grid_shows_what_is_drawn_and_what_is_not(client: TestClient, studio: Studio) -> None:
    path = start(client)
    grid = studio.grids.grid(path.rpartition("/")[2])
    page = client.get(path)
    assert page.text.count("grid-coming") == 8
    assert "0 of 8" in page.text
    assert f'hx-sse:connect="{path}/live"' in page.text
    draw(studio, grid, only=[grid.generations[0].id])
    page = client.get(path)
    assert page.text.count("data-view") == 1
    grid = draw(studio, grid, only=[made.id for made in grid.generations[1:]])
    page = client.get(path)
    assert "sse:connect" not in page.text
    assert 'alt="step 10, scale 0.6"' in page.text
    assert html.escape("zibbo <script>") in page.text
    assert "<script>\n" not in page.text
    for image in grid.images:
        assert f"/images/{image.id}/thumb" in page.text
    assert client.get(f"/images/{grid.images[0].id}/thumb?w=640").status_code == 200


def test_a_grid_with_one_side_has_a_head_for_its_row(client: TestClient, studio: Studio) -> None:
    grid = studio.grids.start("a harbour", x=("seed", [1, 2]), generator="local")
    assert '<th scope="row"><span class="hidden">pictures</span></th>' in client.get(f"/grids/{grid.id}").text


def test_the_live_part_is_sent_until_all_is_drawn(client: TestClient, studio: Studio) -> None:
    grid = drawn(client, studio)
    answer = client.get(f"/grids/{grid.id}/live")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("data-view") == 8
    assert "event: end" in answer.text
    assert client.get("/grids/grid_ffffffffffffffff/live").status_code == 404


def test_what_went_wrong_is_said_once_with_what_to_do(client: TestClient, studio: Studio) -> None:
    from sqlalchemy import update

    from limner.store.models import GenerationRow

    path = start(client)
    error = {"code": "not-ready", "message": "No <room>.", "remedy": "Make some.", "thing": ""}
    with studio._workspace.database.write() as session:
        session.execute(update(GenerationRow).values(state="failed", error=error))
    page = client.get(path)
    assert page.text.count("No &lt;room&gt;.") == 1
    assert "8 cells" in page.text


def test_stopping_and_forgetting(client: TestClient, studio: Studio) -> None:
    path = start(client)
    assert client.post(f"{path}/cancel").headers["location"] == path
    assert all(job.cancel_requested for job in studio.jobs.all())
    assert client.post(f"{path}/delete").headers["location"] == HERE
    assert client.get(path).status_code == 404


def test_files_of_a_grid(client: TestClient, studio: Studio, tmp_path: Path) -> None:
    grid = drawn(client, studio)
    sheet = client.get(f"/grids/{grid.id}/sheet")
    assert Image.open(io.BytesIO(sheet.content)).format == "PNG"
    packed = client.get(f"/grids/{grid.id}/zip")
    assert f'filename="{grid.id}.zip"' in packed.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 8


# --- votes ------------------------------------------------------------------------------------------------------------


def shown(text: str) -> dict[str, str]:
    return dict(re.findall(r'name="(left|right|after|skipped)" value="([^"]*)"', text))


def test_labels_are_hidden_until_the_vote(client: TestClient, studio: Studio) -> None:
    grid = drawn(client, studio)
    page = client.get(f"/grids/{grid.id}/vote")
    assert "step 10" not in page.text
    assert "step 30" not in page.text
    fields = shown(page.text)
    answer = client.post(f"/grids/{grid.id}/vote", data={**fields, "do": "right"})
    assert answer.status_code == 303
    page = client.get(answer.headers["location"])
    labels = studio.grids.labels(grid.id)
    said = re.search(r"You chose <strong>(.+?)</strong> over (.+?)\.\n", page.text)
    assert said is not None
    assert said.groups() == (labels[int(fields["right"])], labels[int(fields["left"])])
    [vote] = studio.grids.votes(grid.id)
    assert (vote.winner.id, vote.loser.id) == (int(fields["right"]), int(fields["left"]))


def test_a_script_gets_only_the_part(client: TestClient, studio: Studio) -> None:
    grid = drawn(client, studio)
    fields = shown(client.get(f"/grids/{grid.id}/vote").text)
    part = client.post(f"/grids/{grid.id}/vote", data={**fields, "do": "left"}, headers=PARTIAL)
    assert part.status_code == 200
    assert "<html" not in part.text
    assert "You chose" in part.text
    assert shown(part.text)["after"] == "1"


def test_skipping_and_taking_back(client: TestClient, studio: Studio) -> None:
    grid = drawn(client, studio)
    path = f"/grids/{grid.id}/vote"
    first = shown(client.get(path).text)
    at = client.post(path, data={**first, "do": "skip"}).headers["location"]
    second = shown(client.get(at).text)
    assert {second["left"], second["right"]} != {first["left"], first["right"]}
    assert second["skipped"] == f"{first['left']}-{first['right']}"
    at = client.post(path, data={**second, "do": "left"}).headers["location"]
    assert f"skipped={second['skipped']}" in at
    assert studio.grids.grid(grid.id).votes == 1
    client.post(path, data={**shown(client.get(at).text), "do": "undo"})
    assert studio.grids.grid(grid.id).votes == 0
    page = client.get(f"{path}?said=undone")
    assert "taken back" in page.text


def test_a_vote_sent_twice_counts_once(client: TestClient, studio: Studio) -> None:
    grid = drawn(client, studio)
    fields = shown(client.get(f"/grids/{grid.id}/vote").text)
    for _ in range(3):
        client.post(f"/grids/{grid.id}/vote", data={**fields, "do": "left"})
    assert studio.grids.grid(grid.id).votes == 1


@pytest.mark.parametrize("fields", [{}, {"left": "1", "right": "x", "after": "0"}, {"left": "9" * 400, "right": "1"}])
def test_what_is_no_vote_is_refused(client: TestClient, studio: Studio, fields: dict[str, str]) -> None:
    grid = drawn(client, studio)
    assert client.post(f"/grids/{grid.id}/vote", data={**fields, "do": "left"}).status_code == 422
    assert client.get(f"/grids/{grid.id}/vote?skipped=<script>,1-2-3,--&said=<b>").status_code == 200
    assert studio.grids.grid(grid.id).votes == 0


def test_the_ranking_says_when_nothing_is_decided(client: TestClient, studio: Studio) -> None:
    grid = drawn(client, studio)
    assert "Nobody has voted yet" in client.get(f"/grids/{grid.id}").text
    fields = shown(client.get(f"/grids/{grid.id}/vote").text)
    client.post(f"/grids/{grid.id}/vote", data={**fields, "do": "left"})
    assert "Not decided yet" in client.get(f"/grids/{grid.id}").text


def test_a_checkpoint_is_picked_from_the_grid(client: TestClient, studio: Studio) -> None:
    grid = drawn(client, studio)
    assert "Pick step 30" in client.get(f"/grids/{grid.id}").text
    for _ in range(2):
        answer = client.post(f"/trainings/{TRAINING}/pick", data={"step": "30"})
        assert answer.headers["location"] == "/loras/zib@v1"
    assert [lora.step for lora in studio.loras.all()] == [30]
    assert "step 30 is zib@v1" in client.get(f"/grids/{grid.id}").text
    assert client.post(f"/trainings/{TRAINING}/pick", data={"step": "15"}).status_code == 404
    assert client.post(f"/trainings/{TRAINING}/pick", data={"step": "-1"}).status_code == 422


def test_pages_hold_no_inline_style_or_script(client: TestClient, studio: Studio) -> None:
    grid = drawn(client, studio)
    for path in (HERE, f"/grids/{grid.id}", f"/grids/{grid.id}/vote"):
        text = client.get(path).text
        assert not re.search(r"<[^>]+\s(style|on\w+)=", text), path
        assert not re.search(r"<script(?![^>]*src=)", text), path
