"""The Create page: what is sent is drawn once or comes back filled in; links fill it in; pictures can be compared."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from decimal import Decimal
from html import unescape
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from limner.catalog import bases
from limner.errors import VendorFailed
from limner.generation.local import LocalGenerator
from limner.operations.jobs import lifecycle, worker
from limner.records import Grid
from limner.settings import Settings
from limner.store.models import GenerationRow, JobRow
from limner.studio import Studio
from limner.types import Estimate, JobState
from limner.vendors.secrets import tokens as credentials
from limner.web.app import create_app
from limner.web.pages.create.sizes import shape_of, sizes
from limner.web.pages.create_link import create_link
from tests.lora_rows import add_lora
from tests.operations.loras_made import TRAINING, add_training
from tests.web.pictures_made import add_generation

TOKENS = ("TOGETHER_API_KEY", "FAL_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "REPLICATE_API_TOKEN")
WISH = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TOKENS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(credentials, "_from_keyring", lambda _: "")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Studio]]:
    """One app with two loras, for tests that are about one answer each."""
    settings = Settings(home=tmp_path_factory.mktemp("create") / "home", start_worker=False)
    with (
        Studio(settings=settings) as studio,
        TestClient(create_app(settings), base_url="http://localhost", follow_redirects=False) as client,
    ):
        add_lora(studio, "zibbo"), add_lora(studio, "rex", base="flux2-dev")
        yield client, studio


def token_of(client: TestClient) -> str:
    found = re.search(r'name="csrf-token" content="([^"]*)"', client.get("/compare").text)
    assert found is not None
    return found[1]


def send(client: TestClient, where: str = "/create", *, partial: bool = False, **fields: object):
    data = {"csrf_token": token_of(client), "wish": WISH, "count": "1", "size": "square", **fields}
    headers = {"HX-Request": "true"} if partial else {}
    return client.post(where, data=data, headers={"Origin": "http://localhost", **headers})


def checked(html: str, name: str) -> list[str]:
    """The values of the boxes and radios of a name that are ticked."""
    found = re.findall(rf'<input type="(?:checkbox|radio)"[^>]*name="{name}"[^>]*value="([^"]*)"[^>]*>', html)
    ticked = re.findall(rf'<input type="(?:checkbox|radio)"[^>]*name="{name}"[^>]*value="([^"]*)"[^>]* checked', html)
    assert set(ticked) <= set(found)
    return ticked


def value(html: str, name: str) -> str:
    tag = next(tag for tag in re.findall(r"<input [^>]*>", html) if f'name="{name}"' in tag)
    found = re.search(r'value="([^"]*)"', tag)
    assert found is not None
    return unescape(found[1])


def prompt_in(html: str) -> str:
    found = re.search(r'<textarea[^>]*name="prompt"[^>]*>\n(.*?)</textarea>', html, re.DOTALL)
    assert found is not None
    return unescape(found[1])


def jobs_of(studio: Studio) -> list[str]:
    return [job.target for job in studio.jobs.all()]


# --- the form ---------------------------------------------------------------------------------------------------


def test_an_empty_home_says_what_to_do(client: TestClient) -> None:
    answer = client.get("/create")
    assert answer.status_code == 200
    assert "There is no LoRA yet" in answer.text and "This machine" in answer.text
    assert checked(answer.text, "generator") == ["local"]


def test_the_page_has_no_inline_script_or_style(client: TestClient, studio: Studio) -> None:
    add_lora(studio, "zibbo")
    numbers = add_generation(studio, "one", count=2)
    pages = ("/create", "/generations/generation_one", f"/compare?a={numbers[0]}&b={numbers[1]}")
    for path in pages:
        html = client.get(path).text
        assert not re.search(r"\sstyle=|\son[a-z]+=|hx-on|<style|javascript:|js:", html)
        assert not re.search(r"<script(?![^>]* src=)", html)


def test_what_is_sent_is_drawn_and_the_page_is_permanent(client: TestClient, studio: Studio) -> None:
    lora = add_lora(studio, "zibbo")
    fields = {
        "lora": lora,
        f"scale:{lora}": "0.75",
        "count": "3",
        "seed": "7",
        "size": "portrait",
        "generator": "local",
    }
    answer = send(client, prompt="a drawing of {trigger}", **fields)
    assert answer.status_code == 303
    made = studio.generations.get(answer.headers["location"].removeprefix("/generations/"))
    assert (made.prompt, made.count, made.seed) == ("a drawing of zibbo_trg", 3, 7)
    assert (made.width, made.height) == (112, 144)
    assert made.loras[0].name == lora and made.loras[0].scale == 0.75
    shown = client.get(answer.headers["location"])
    assert shown.status_code == 200
    assert shown.text.count("is not drawn yet") == 3 and "0 of 3 pictures" in shown.text


def test_one_picture_is_not_several(client: TestClient) -> None:
    target = send(client, prompt="a harbour").headers["location"]
    assert "0 of 1 picture<" in client.get(target).text


def test_the_same_form_sent_twice_draws_once(client: TestClient, studio: Studio) -> None:
    first, second = (send(client, prompt="a harbour") for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    assert len(jobs_of(studio)) == 1


def test_a_form_that_was_changed_is_drawn_though_its_id_was_used(client: TestClient, studio: Studio) -> None:
    first, second, again = (send(client, prompt=prompt) for prompt in ("a harbour", "a forest", "a harbour"))
    assert first.headers["location"] == again.headers["location"] != second.headers["location"]
    assert sorted(studio.generations.get(one).prompt for one in jobs_of(studio)) == ["a forest", "a harbour"]


def test_htmx_gets_the_new_generation_and_a_form_for_the_next_wish(client: TestClient, studio: Studio) -> None:
    answer = send(client, partial=True, prompt="a harbour", seed="9", lock="1")
    assert answer.status_code == 200 and "<html" not in answer.text
    assert jobs_of(studio)[0] in answer.text
    assert value(answer.text.replace("data-", ""), "seed") == "9"
    wish = re.search(r'id="create-wish" value="([^"]*)"', answer.text)
    assert wish is not None and wish[1] != WISH
    pushed = urlsplit(answer.headers["HX-Push-Url"])
    assert pushed.path == "/create" and parse_qs(pushed.query) == {"from": [jobs_of(studio)[0]]}
    again = client.get(answer.headers["HX-Push-Url"]).text
    assert prompt_in(again) == "a harbour" and jobs_of(studio)[0] in again


@pytest.mark.parametrize(
    ("fields", "beside"),
    [
        ({"prompt": ""}, "f-prompt-error"),
        ({"prompt": "  \n "}, "f-prompt-error"),
        ({"prompt": "{trigger} walks"}, "f-prompt-error"),
        ({"prompt": "{trigger2} walks", "lora": "zibbo@v1"}, "f-prompt-error"),
        ({"prompt": "x" * 20_001}, "f-prompt-error"),
        ({"prompt": "a", "count": "0"}, "f-count-error"),
        ({"prompt": "a", "count": "many"}, "f-count-error"),
        ({"prompt": "a", "seed": "seven"}, "f-seed-error"),
        ({"prompt": "a", "seed": "9" * 40}, "f-seed-error"),
        ({"prompt": "a", "size": "own", "width": "128"}, "f-width-error"),
        ({"prompt": "a", "steps": "1e3"}, "f-steps-error"),
        ({"prompt": "a", "guidance": "nan"}, "f-guidance-error"),
        ({"prompt": "a", "lora": "zibbo@v1", "scale:zibbo@v1": "strong"}, "f-loras-error"),
        ({"prompt": "a", "lora": "nobody@v1"}, "f-loras-error"),
        ({"prompt": "a", "lora": ["zibbo@v1", "rex@v1"]}, "f-loras-error"),
    ],
)
def test_what_is_refused_comes_back_filled_in_with_the_reason_beside_the_field(
    shared: tuple[TestClient, Studio], fields: dict[str, object], beside: str
) -> None:
    client, studio = shared
    before = jobs_of(studio)
    answer = send(client, **{"wish": uuid4().hex, **fields})
    assert answer.status_code in (404, 422)
    assert f'id="{beside}"' in answer.text
    assert prompt_in(answer.text) == fields["prompt"]
    assert jobs_of(studio) == before


@pytest.mark.parametrize(
    "words",
    ["x " * 5_000, "東京の夜景", "مدينة في الليل", "עיר בלילה", "🦊" * 300, "zi\0bbo", "<script>alert(1)</script>",
     "{{ 7*7 }} {% raw %}", "ﷺ\u202e desrever", '"}; drop table'],
)  # fmt: skip
def test_prompts_of_every_script_are_drawn_as_they_are(shared: tuple[TestClient, Studio], words: str) -> None:
    client, studio = shared
    answer = send(client, prompt=words, wish=uuid4().hex)
    assert answer.status_code == 303
    assert studio.generations.get(answer.headers["location"].rpartition("/")[2]).prompt == words
    shown = client.get(answer.headers["location"]).text
    assert "<script>alert" not in shown and "49" not in shown.partition("<h1")[2].partition("</h1>")[0]


def test_a_prompt_that_cannot_be_drawn_comes_back_whole(shared: tuple[TestClient, Studio]) -> None:
    client, studio = shared
    before, words = jobs_of(studio), "<b>{trigger}</b> & others, 東京\n on the beach"
    answer = send(client, prompt=words, wish=uuid4().hex)
    assert answer.status_code == 422 and 'id="f-prompt-error"' in answer.text
    assert prompt_in(answer.text) == words
    assert jobs_of(studio) == before


def test_own_sizes_are_those_that_were_written(client: TestClient, studio: Studio) -> None:
    assert send(client, prompt="a", size="own", width="192", height="96").status_code == 303
    made = studio.generations.get(jobs_of(studio)[0])
    assert (made.width, made.height) == (192, 96)
    refused = send(client, prompt="a", size="own", width="100", height="4096", wish="f" * 32)
    assert refused.status_code == 422
    assert value(refused.text, "height") == "4096"


def test_a_lora_of_another_base_is_greyed_with_the_reason(client: TestClient, studio: Studio) -> None:
    add_lora(studio, "zibbo"), add_lora(studio, "rex", base="flux2-dev")
    html = client.get("/create?lora=zibbo").text
    assert checked(html, "lora") == ["zibbo@v1"]
    row = html.partition('data-lora="rex@v1"')[2].partition("</li>")[0]
    assert "disabled" in row and "It belongs to flux2-dev; what is chosen belongs to limner-tiny." in row


def test_a_lora_from_elsewhere_that_cannot_be_is_refused_beside_its_field(client: TestClient, studio: Studio) -> None:
    for address in ("ftp://example.com/x.safetensors", "file:///etc/passwd", "a/b/c d", "..//.."):
        answer = send(client, prompt="a", address=address, address_scale="0.5")
        assert answer.status_code == 422, address
        assert 'id="f-address-error"' in answer.text
        assert value(answer.text, "address") == address
    assert not jobs_of(studio)


# --- generators, prices and a yes -------------------------------------------------------------------------------


def test_unusable_generators_are_greyed_with_what_mends_them(client: TestClient) -> None:
    html = client.get("/create?base=flux2-dev&count=3").text
    card = html.partition('value="together" disabled')[2].partition('class="create-generator create')[0]
    assert "needs a token of Together AI" in unescape(card) and 'href="/accounts"' in card
    assert "about $" in html or "perhaps $" in html


def test_what_costs_much_waits_for_a_yes_to_that_generator_at_that_price(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_KEY", "id:secret")
    fields = {"prompt": "a harbour", "base": "flux2-dev", "generator": "fal", "count": "100"}
    asked = send(client, **fields)
    assert asked.status_code == 402
    assert "Nothing was sent." in asked.text and prompt_in(asked.text) == "a harbour"
    yes = re.search(r'name="yes" value="(fal=[0-9.]+)"', asked.text)
    assert yes is not None and Decimal(yes[1].partition("=")[2]) > 1
    for other in ("fal=0.01", "together=2.10", "1"):
        assert send(client, **fields, yes=other).status_code == 402
    assert not jobs_of(studio)
    assert send(client, **fields, yes=yes[1]).status_code == 303
    assert len(jobs_of(studio)) == 1


def test_looking_at_the_price_starts_nothing(client: TestClient, studio: Studio) -> None:
    answer = send(client, prompt="a harbour", count="12", do="price")
    assert answer.status_code == 200 and "Draw 12 pictures" in answer.text
    parts = send(client, "/create/choices", partial=True, prompt="a harbour", count="12")
    assert parts.status_code == 200 and "<form" not in parts.text and "Draw 12 pictures" in parts.text
    assert not jobs_of(studio)


def test_publishing_is_only_done_if_said(client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "secret-token")
    lora = add_lora(studio, "rex", base="flux2-dev")
    html = client.get(f"/create?lora={lora}&publish=1").text
    assert 'name="publish"' in html and not checked(html, "publish")
    assert "Tick “Publish it for everyone”" in html
    refused = send(client, prompt="{trigger}", lora=lora, generator="together")
    assert refused.status_code == 422 and not jobs_of(studio)
    # Its price is a guess, so a yes is needed too.
    fields = {"prompt": "{trigger}", "lora": lora, "generator": "together", "publish": "1"}
    asked = send(client, **fields)
    yes = re.search(r'name="yes" value="(together=[0-9.]+)"', asked.text)
    assert asked.status_code == 402 and yes is not None
    assert checked(asked.text, "publish") == ["1"]
    assert send(client, **fields, yes=yes[1]).status_code == 303


def test_a_usual_order_of_generators_can_be_chosen(home_settings: Settings, studio: Studio) -> None:
    settings = home_settings.model_copy(update={"generator": "together,local"})
    with TestClient(create_app(settings), base_url="http://localhost", follow_redirects=False) as client:
        html = client.get("/create").text
        assert "Together AI, then This machine" in html and checked(html, "generator") == ["together,local"]
        assert send(client, prompt="a", generator="together,local").status_code == 303
    assert studio.generations.get(jobs_of(studio)[0]).generator == "together,local"


# --- links ------------------------------------------------------------------------------------------------------


def test_links_fill_the_form_in(client: TestClient, studio: Studio) -> None:
    lora = add_lora(studio, "zibbo")
    sent = {"lora": lora, f"scale:{lora}": "0.6", "count": "4", "seed": "40", "steps": "9", "size": "wide"}
    target = send(client, prompt="a {trigger}", **sent).headers["location"].removeprefix("/generations/")
    html = client.get(create_link(target)).text
    assert prompt_in(html) == "a {trigger}" and checked(html, "lora") == [lora] and checked(html, "size") == ["wide"]
    assert (value(html, f"scale:{lora}"), value(html, "steps")) == ("0.6", "9")
    assert (value(html, "seed"), value(html, "count")) == ("40", "4")
    assert checked(html, "lock") == ["1"]
    varied = client.get(create_link(target, vary="seed")).text
    assert value(varied, "seed") == "" and not checked(varied, "lock")
    over = client.get(create_link(target, prompt="another", steps=3, loras=["zibbo:1.2"])).text
    assert (prompt_in(over), value(over, "steps"), value(over, f"scale:{lora}")) == ("another", "3", "1.2")


def test_a_link_to_one_picture_asks_for_that_picture(client: TestClient, studio: Studio) -> None:
    numbers = add_generation(studio, "three", count=3, seed=50)
    html = client.get(create_link(numbers[2])).text
    assert (value(html, "seed"), value(html, "count"), prompt_in(html)) == ("52", "1", "a photo of zibbo")
    focused = client.get(create_link(numbers[2], vary="prompt")).text
    assert "autofocus" in focused and value(focused, "seed") == "52"


@pytest.mark.parametrize(
    "query",
    ["from=999", "from=generation_0", "from=../../etc", "from=" + "9" * 50, "subject=nobody", "lora=nobody@v9",
     "base=nothing", "generator=nobody", "template=nothing", "size=huge", "width=1&height=x", "count=-4", "seed=a"],
)  # fmt: skip
def test_a_link_to_what_is_not_there_still_shows_the_form(shared: tuple[TestClient, Studio], query: str) -> None:
    answer = shared[0].get(f"/create?{query}&prompt=kept")
    assert answer.status_code == 200 and prompt_in(answer.text) == "kept"


def test_templates_are_links_that_fill_in_the_prompt(client: TestClient) -> None:
    html = client.get("/create").text
    links = re.findall(r'href="(/create\?template=[a-z-]+)" data-template="([^"]*)"', html)
    assert len(links) > 10
    assert prompt_in(client.get(links[0][0]).text) == unescape(links[0][1])


# --- a generation -----------------------------------------------------------------------------------------------


def fail(studio: Studio, target: str, code: str) -> None:
    """End a generation as its stage would, with an error."""
    error = {"code": code, "message": f"It was {code}.", "remedy": "Do something.", "thing": "", "status": 502}
    with studio._workspace.database.write() as session:
        row = session.get_one(GenerationRow, target)
        row.state, row.error = "failed", error
        job = session.query(JobRow).filter_by(target=target).one()
        job.state, job.error = "failed", error


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("content-refused", "Change the prompt"),
        ("vendor-busy", "Try again"),
        ("account-refused", 'href="/accounts"'),
        ("out-of-credit", 'href="/costs"'),
        ("storage-failed", "Try again"),
    ],
)
def test_an_error_is_shown_with_what_mends_it(shared: tuple[TestClient, Studio], code: str, remedy: str) -> None:
    client, studio = shared
    target = send(client, prompt="a harbour", wish=uuid4().hex).headers["location"]
    fail(studio, target.removeprefix("/generations/"), code)
    html = client.get(target).text
    assert f"It was {code}." in html and "Do something." in html and remedy in html


def test_going_on_makes_one_new_job_however_often_it_is_sent(client: TestClient, studio: Studio) -> None:
    target = send(client, prompt="a harbour").headers["location"]
    fail(studio, target.removeprefix("/generations/"), "vendor-busy")
    html = client.get(target).text
    wish = re.search(rf'action="{target}/resume">.*?name="wish" value="([^"]+)"', html)
    assert wish is not None
    for _ in range(2):
        assert send(client, f"{target}/resume", wish=wish[1]).status_code == 303
    assert len(jobs_of(studio)) == 2


def test_going_on_from_this_page_and_from_the_jobs_makes_one_job(client: TestClient, studio: Studio) -> None:
    target = send(client, prompt="a harbour").headers["location"]
    generation = target.removeprefix("/generations/")
    fail(studio, generation, "vendor-busy")
    stopped = studio.jobs.get(generation)
    html = client.get(target).text
    wish = re.search(rf'action="{target}/resume">.*?name="wish" value="([^"]+)"', html)
    assert wish is not None
    assert send(client, f"/jobs/{stopped.id}/resume", wish=f"resume-{stopped.id}").status_code == 303
    again = studio.jobs.get(generation)
    assert again.id != stopped.id
    # The other tab still shows the button, and the jobs page the old job.
    assert send(client, f"{target}/resume", wish=wish[1]).headers["location"] == target
    assert send(client, f"/jobs/{stopped.id}/resume", wish="e" * 32).headers["location"] == f"/jobs/{stopped.id}"
    assert again.id in client.get(f"/jobs/{stopped.id}").text
    assert len(jobs_of(studio)) == 2


def test_a_generation_cancelled_before_it_began_is_over_and_waits_again_when_resumed(
    client: TestClient, studio: Studio
) -> None:
    target = send(client, prompt="a harbour").headers["location"]
    job = studio.cancel(target.removeprefix("/generations/"))
    run_stage = worker._runner(studio._workspace)
    assert not asyncio.run(run_stage(job.id, 0))
    lifecycle.end_job(studio._workspace.database, job.id)
    assert studio.generations.get(job.target).state is JobState.CANCELLED
    html = client.get(target).text
    wish = re.search(rf'action="{target}/resume">.*?name="wish" value="([^"]+)"', html)
    assert wish is not None
    assert "event: end" in client.get("/generations/live", params={"id": job.target}).text
    assert send(client, f"{target}/resume", wish=wish[1]).status_code == 303
    assert studio.generations.get(job.target).state is JobState.WAITING
    assert f"{target}/cancel" in client.get(target).text


def test_cancelling_goes_back_to_where_the_visitor_was(client: TestClient, studio: Studio) -> None:
    target = send(client, prompt="a harbour").headers["location"]
    answer = send(client, f"{target}/cancel", next="/create?from=1")
    assert answer.headers["location"] == "/create?from=1"
    assert studio.jobs.get(target.removeprefix("/generations/")).cancel_requested
    assert send(client, f"{target}/cancel", partial=True).status_code == 204
    assert ">Stopping<" in client.get(target).text
    assert send(client, f"{target}/cancel", next="//evil.example").headers["location"] == target


def test_all_that_is_drawn_on_a_page_is_followed_by_one_stream(client: TestClient, studio: Studio) -> None:
    first = send(client, prompt="a harbour").headers["location"].removeprefix("/generations/")
    page = client.get(f"/create?from={first}").text
    assert f'hx-sse:connect="/generations/live?id={first}"' in page and page.count("hx-sse:connect") == 1
    assert f'name="following" value="{first}" form="create-form"' in page
    part = send(client, partial=True, prompt="a pier", wish="f" * 32, following=first).text
    second = next(job.target for job in studio.jobs.all() if job.target != first)
    assert f'hx-sse:connect="/generations/live?id={second}&id={first}"' in unescape(part)
    assert part.count("hx-sse:connect") == 1
    assert client.get("/generations/live").status_code == 422


def test_a_generation_that_is_not_there_is_not_found(client: TestClient) -> None:
    for name in ("generation_0000000000000000", "x", "%2e%2e", "generation_' or 1=1"):
        assert client.get(f"/generations/{name}").status_code == 404
        assert client.get("/generations/live", params={"id": name}).status_code == 404


def test_the_live_stream_of_what_has_ended_sends_it_and_ends(client: TestClient, studio: Studio) -> None:
    numbers = add_generation(studio, "two", count=2)
    other = add_generation(studio, "one", count=1)
    gone = "generation_0000000000000000"
    body = client.get("/generations/live", params={"id": ["generation_two", gone, "generation_one"]}).text
    assert all(f'id="picture-{number}"' in body for number in (*numbers, *other)) and "event: end" in body
    assert body.count("<hx-partial") == 2


# --- grids ------------------------------------------------------------------------------------------------------


def grid_of(studio: Studio, answer: Response) -> Grid:
    assert answer.status_code == 303, answer.text
    return studio.grids.grid(answer.headers["location"].removeprefix("/grids/"))


def test_a_grid_is_drawn_from_the_form_or_refused_with_the_form_kept(client: TestClient, studio: Studio) -> None:
    assert 'name="x_values"' in client.get("/create").text
    fields = {"prompt": "a harbour", "seed": "7", "count": "4", "do": "grid"}
    refused = send(client, x="steps", x_values="five, six", **fields)
    assert refused.status_code == 422 and 'value="five, six"' in refused.text and 'id="f-grid-error"' in refused.text
    assert not jobs_of(studio)
    fields |= {"x": "steps", "x_values": "5, 6", "y": "guidance", "y_values": "1,2"}
    priced = send(client, **{**fields, "do": "price"})
    assert "Draw the grid: 4 pictures, <span" in priced.text
    parts = send(client, "/create/choices", partial=True, **fields)
    assert "Draw the grid: 4 pictures, <span" in parts.text and 'data-part="grid"' in parts.text
    grid = grid_of(studio, send(client, **fields))
    assert (grid.x.values, grid.y.values, grid.request["seed"]) == ((5, 6), (1.0, 2.0), 7)
    assert grid_of(studio, send(client, **fields)).id == grid.id and len(jobs_of(studio)) == 4
    partial = send(client, partial=True, **fields)
    assert partial.headers["HX-Redirect"] == f"/grids/{grid.id}"


def test_a_grid_of_checkpoints_is_of_the_training_of_the_first_lora(client: TestClient, studio: Studio) -> None:
    studio.subjects.add("zib", kind="character", trigger="zibbo")
    add_training(studio)
    lora = studio.trainings.pick(TRAINING, 20).name
    other = add_lora(studio, "rex")
    fields = {"prompt": "{trigger}", "x": "checkpoint", "x_values": "10, 30", "do": "grid", "steps": "1"}
    refused = send(client, lora=other, **fields)
    assert refused.status_code == 422 and f"{other} was not trained here." in refused.text
    assert "kept steps 10, 20, 30" in send(client, "/create/choices", partial=True, lora=lora, **fields).text
    grid = grid_of(studio, send(client, lora=lora, **{f"scale:{lora}": "0.5"}, **fields))
    assert grid.training == TRAINING and grid.x.values == (10, 30)
    assert [made.loras[0].scale for made in grid.generations] == [0.5, 0.5]


def test_a_grid_that_costs_is_drawn_at_the_price_that_was_shown(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = {"picture": Decimal("0.02")}
    monkeypatch.setattr(LocalGenerator, "estimate", lambda self, order: Estimate(prices["picture"]))
    fields = {"prompt": "a harbour", "generator": "local", "x": "seed", "x_values": "1,2,3", "do": "grid"}
    asked = send(client, **fields)
    assert asked.status_code == 402 and "3 pictures" in asked.text and "about $0.06" in asked.text
    assert value(asked.text, "grid_seen") == "0.06" and not jobs_of(studio)
    assert send(client, **fields, grid_seen="0.05").status_code == 402
    prices["picture"] = Decimal(1)
    asked = send(client, **fields, grid_seen="3")
    assert asked.status_code == 402 and value(asked.text, "grid_yes") == "3"
    assert send(client, **fields, grid_seen="3", grid_yes="0.06").status_code == 402
    assert not jobs_of(studio)
    assert len(grid_of(studio, send(client, **fields, grid_seen="3", grid_yes="3")).generations) == 3


def test_grids_are_found_again(client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.web.pages.grids.page.MOST_LISTED", 6)
    assert "Earlier grids" not in client.get("/create").text and "No grids here" in client.get("/grids").text
    made = [
        studio.grids.start(f"harbour {number}", x=("seed", [1, 2]), steps=1, generator="local") for number in range(8)
    ]
    shown = client.get("/create").text
    assert "Earlier grids" in shown and 'href="/grids"' in shown
    assert re.findall(r'href="/grids/(grid_\w+)"', shown) == [one.id for one in made[:-6:-1]]
    first = client.get("/grids").text
    assert re.findall(r'href="/grids/(grid_\w+)"', first) == [one.id for one in made[:1:-1]]
    older = re.search(r'href="(/grids[?]before=[^"]+)"', first)
    assert older is not None
    assert re.findall(r'href="/grids/(grid_\w+)"', client.get(older[1]).text) == [made[1].id, made[0].id]
    cell = made[3].generations[1]
    assert f'href="/grids/{made[3].id}"' in client.get(f"/generations/{cell.id}").text
    assert f'href="/grids/{made[3].id}"' in client.get(f"/jobs/{studio.jobs.get(cell.id).id}").text
    alone = studio.generate("a harbour", generator="local")
    assert 'href="/grids/' not in client.get(f"/jobs/{alone.id}").text


# --- two pictures -----------------------------------------------------------------------------------------------


def test_two_pictures_are_compared_with_what_differs(client: TestClient, studio: Studio) -> None:
    one, two = add_generation(studio, "pair", count=2, seed=3)
    answer = client.get(f"/compare?pick={one}&pick={two}")
    assert answer.headers["location"] == f"/compare?a={one}&b={two}"
    html = client.get(answer.headers["location"]).text
    differs, _, same = html.partition("The same in both")
    assert "Seed" in differs and "Guidance" not in differs and "Guidance" in same
    assert create_link(one) in html


@pytest.mark.parametrize("query", ["", "a=1", "a=1&b=x", "pick=1", "pick=1&pick=2&pick=3", "a=-1&b=2", "a=²&b=1"])
def test_anything_but_two_pictures_is_refused(shared: tuple[TestClient, Studio], query: str) -> None:
    client, _ = shared
    assert client.get(f"/compare?{query}").status_code == 422
    assert client.get("/compare?a=98&b=99").status_code == 404


def test_shapes_of_every_base_can_be_drawn() -> None:
    for base in bases().values():
        for size in sizes(base):
            assert size.width % base.size_multiple == 0 == size.height % base.size_multiple
            assert base.size_min <= min(size.width, size.height) <= max(size.width, size.height) <= base.size_max
            assert shape_of(base, size.width, size.height) == size.key
        assert shape_of(base, base.size_min, base.size_max) == "own"


def test_a_link_on_a_page_elsewhere_makes_nobody_look_at_an_address(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def start(self: object, url: str, *_: object, **__: object) -> None:
        looked.append(url)
        raise VendorFailed("It cannot be read.")

    monkeypatch.setattr("limner.vendors.http.public_web.PublicWeb.start", start)
    address = "https://evil.example/a.safetensors"
    for site in ("cross-site", "same-site"):
        sent = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        answer = client.get("/create", params={"prompt": "a pier", "lora": f"{address}:0.5"}, headers=sent)
        assert answer.status_code == 200
        assert (value(answer.text, "address"), value(answer.text, "address_scale")) == (address, "0.5")
        assert prompt_in(answer.text) == "a pier"
        assert "was not looked at" in answer.text
        assert "data-not-looked" in answer.text  # the page's own script does not ask either
    assert looked == []
    # what the page elsewhere names of this home alone is as before
    answer = client.get(
        "/create", params={"prompt": "a pier"}, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    )
    assert "was not looked at" not in answer.text
    for site in ("same-origin", "none"):
        answer = client.get("/create", params={"lora": address}, headers={"Sec-Fetch-Site": site})
        assert "It cannot be read." in answer.text
        assert "data-not-looked" not in answer.text
    assert looked == [address]  # what was found a moment ago is not looked for again
