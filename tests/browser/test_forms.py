"""Whatever is typed, sent twice or gone back from: texts come back whole, nothing runs, nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, expect

from limner.settings import Settings
from limner.studio import Studio
from tests.operations.photos_kept import keep

from ..lora_rows import add_lora
from ..web.pictures_made import add_generation
from .chromium import LOOKS, Tab, tab
from .server import Server

CONSOLE = ("Failed to load resource",)
"""A refused form is answered by 422, which the browser's console tells of."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("forms") / "home", environment={"LIMNER_START_WORKER": "false"}).start()
    yield server
    server.stop()


@pytest.fixture
def studio(served: Server) -> Iterator[Studio]:
    with Studio(settings=Settings(home=served.home, start_worker=False)) as made:
        yield made


@pytest.fixture
def it(browser: Browser, served: Server) -> Iterator[Tab]:
    with tab(browser, served.url, LOOKS[0], allowed=CONSOLE) as made:
        made.page.on("dialog", lambda dialog: made.complaints.append(f"a dialog: {dialog.message}"))
        yield made
        assert made.page.evaluate("globalThis.ran") is None, "a script of somebody's ran"
        made.quiet()


def pet(studio: Studio, slug: str) -> None:
    studio.subjects.add(slug, name=slug.title(), kind="pet", class_word="dog", trigger=f"{slug}_dog")


SCRIPTS = (
    "كلب صغير على الشاطئ، 海辺の子犬、바닷가의 강아지, щенок на пляже, σκυλί, בַּיִת, हिन्दी, ไทย, "
    "🐶👩‍👩‍👧‍👦🏳️‍🌈, Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯a̴͍̪l̷̛g̵o, \u202eright to left\u202c, 𝔉𝔯𝔞𝔨𝔱𝔲𝔯, e\u0301, \u200bzero\u200bwidth"
)


@pytest.mark.parametrize(
    "words",
    ["a dog " * 1_667, SCRIPTS, "first line\nsecond line\ttab", "<b>{{ 7*7 }}</b> %s %00 ' OR 1=1 --"],
    ids=["long", "scripts", "lines", "code"],
)
def test_prompts_of_every_kind_are_drawn_and_shown_whole(it: Tab, studio: Studio, words: str) -> None:
    before = {one.id for one in studio.jobs.all(limit=500)}
    page = it.go("/create")
    page.locator("#f-prompt").fill(words)
    page.locator('input[name="generator"][value="local"]').check(force=True)
    page.locator("#create-draw").click()
    expect(page.locator("[data-generation]").first).to_be_visible()
    expect(page.locator("#f-prompt")).to_have_value(words)
    (new,) = [one for one in studio.jobs.all(limit=500) if one.id not in before]
    studio.cancel(new.id)
    assert studio.generations.get(new.target).prompt == words, "the prompt was changed on its way"
    page.goto(f"{it.base}/generations/{new.target}")
    shown = page.locator(".generation-prompt, main").first.text_content() or ""
    assert words.split("\n")[0][:400].strip() in shown


def test_a_prompt_that_is_refused_stays_in_its_field(it: Tab, studio: Studio) -> None:
    words = "<b>{{ 7*7 }}</b> {trigger} without a lora"
    before = len(studio.jobs.all(limit=500))
    page = it.go("/create")
    page.locator("#f-prompt").fill(words)
    page.locator("#create-draw").click()
    expect(page.locator("#f-prompt-error")).to_contain_text("{trigger}")
    expect(page.locator("#f-prompt")).to_have_value(words)
    assert len(studio.jobs.all(limit=500)) == before


@pytest.mark.parametrize(
    "words", ["nul\x00here", "bell\x07 escape\x1b[31m", "\ud7ff\ufffe\uffff", "only\u2028line\u2029"], ids=ascii
)
def test_control_characters_are_drawn_as_they_are(it: Tab, studio: Studio, words: str) -> None:
    """A browser cannot type these; a program that posts the form as a browser does can."""
    page = it.go("/create")
    token = page.locator('meta[name="csrf-token"]').get_attribute("content") or ""
    sent = {"prompt": words, "generator": "local", "count": "1", "csrf_token": token, "wish": uuid4().hex}
    answer = page.request.post(f"{it.base}/create", form=sent, max_redirects=0)
    assert answer.status == 303, (answer.status, answer.text()[:300])
    assert studio.generations.get(answer.headers["location"].rpartition("/")[2]).prompt == words


def test_a_form_sent_twice_does_it_once(it: Tab, studio: Studio) -> None:
    page = it.go("/subjects/new")
    page.get_by_label("Name", exact=True).fill("Double")
    page.locator('input[name="kind"][value="pet"]').check(force=True)
    page.evaluate(
        "() => { const b = document.querySelector('main form button[type=submit]'); b.click(); b.click(); b.click() }"
    )
    page.wait_for_url("**/subjects/double")
    assert [one.slug for one in studio.subjects.all() if one.slug.startswith("double")] == ["double"]

    # The same bytes twice at once, as from two tabs, where no script could hold the second back.
    page = it.go("/create")
    sent = page.evaluate(
        """async () => {
          const form = new URLSearchParams(new FormData(document.querySelector('form#create-form')));
          form.set('prompt', 'once only'); form.set('generator', 'local'); form.set('count', '1');
          const options = { method: 'POST', body: form, redirect: 'follow' };
          const answers = await Promise.all([1, 2, 3].map(() => fetch('/create', options)));
          return answers.map((one) => one.url);
        }"""
    )
    drawn = [one for one in studio.jobs.all(limit=50) if one.kind == "generate"]
    made = [one for one in drawn if studio.generations.get(one.target).prompt == "once only"]
    assert len(made) == 1 and len(set(sent)) == 1 and made[0].target in sent[0], json.dumps(sent)
    studio.cancel(made[0].id)


def test_a_training_sent_twice_is_one_and_back_does_no_harm(it: Tab, studio: Studio) -> None:
    pet(studio, "twice")
    for number in range(6):
        keep(studio, "twice", number, 512, 512)
    page = it.go("/subjects/twice/train")
    page.locator("#train-start").dblclick(no_wait_after=True)
    page.wait_for_url("**/trainings/training_*")
    assert len(studio.trainings.all("twice")) == 1
    first = page.url
    page.go_back()
    expect(page.locator("#train-start")).to_be_visible()
    assert "/trainings/" not in page.url, "back leads to the form, and sends nothing"
    assert len(studio.trainings.all("twice")) == 1
    page.go_forward()
    page.wait_for_url(first)
    page.reload()
    assert len(studio.trainings.all("twice")) == 1
    for job in studio.jobs.all("twice"):
        studio.cancel(job.id)


def test_a_training_gone_back_from_and_changed_is_another(it: Tab, studio: Studio) -> None:
    pet(studio, "changed")
    for number in range(6):
        keep(studio, "changed", number, 512, 512)
    page = it.go("/subjects/changed/train")
    page.locator("#train-start").click()
    page.wait_for_url("**/trainings/training_*")
    first = page.url
    page.go_back()
    page.locator("#train-more > summary").click()
    page.locator("#f-r_steps").fill("77")
    page.locator("#train-start").click()
    page.wait_for_url(lambda url: "/trainings/" in url and url != first)
    assert sorted(one.recipe["steps"] == 77 for one in studio.trainings.all("changed")) == [False, True]
    for job in studio.jobs.all("changed"):
        studio.cancel(job.id)


def test_back_after_a_refused_form_keeps_what_was_typed(it: Tab, studio: Studio) -> None:
    page = it.go("/subjects/new")
    page.get_by_label("Name", exact=True).fill("Half done")
    page.locator('input[name="kind"][value="person"]').check(force=True)
    page.locator("main form button[type=submit]").last.click()
    expect(page.locator(".notice-refusal")).to_contain_text("The subject was not added")
    expect(page.get_by_label("Name", exact=True)).to_have_value("Half done")
    page.go_back()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Half done")
    assert not [one for one in studio.subjects.all() if one.slug == "half-done"]


def test_a_link_stands_over_what_was_typed_before_which_can_be_brought_back(it: Tab, studio: Studio) -> None:
    pet(studio, "linked")
    lora = add_lora(studio, "linked")
    (number,) = add_generation(studio, "linked", prompt="what the picture shows", subjects=["linked"], loras=[lora])
    page = it.go("/create")
    prompt = page.locator("#f-prompt")
    prompt.press_sequentially("half a thought")
    it.go(f"/create?from={number}")
    expect(prompt).to_have_value("what the picture shows")
    page.get_by_role("button", name="Bring back what you typed").click()
    expect(prompt).to_have_value("half a thought")
    page.get_by_role("button", name="Discard it").click()
    expect(prompt).to_have_value("what the picture shows")
    it.go("/create")
    expect(prompt).to_have_value("")

    # Typed into what a link asked for, it is of that link: a page loaded anew has it, and another link has not.
    it.go(f"/create?lora={lora}")
    prompt.press_sequentially("of this lora")
    page.reload()
    expect(prompt).to_have_value("of this lora")
    it.go(f"/create?from={number}")
    expect(prompt).to_have_value("what the picture shows")
    # Nothing was typed here: what was typed there is not lost by looking on.
    it.go(f"/create?lora={lora}")
    expect(prompt).to_have_value("of this lora")


def test_the_offer_follows_what_is_put_into_the_form_and_what_is_taken_back(it: Tab, studio: Studio) -> None:
    pet(studio, "offered")
    for number in range(6):
        keep(studio, "offered", number, 512, 512)
    page = it.go("/subjects/offered/train")
    steps = page.locator("#train-offer .facts")
    usual = steps.inner_text()
    page.locator("#train-more > summary").click()
    page.locator("#f-r_steps").press_sequentially("777")
    expect(steps).to_contain_text("777")
    it.go("/")
    it.go("/subjects/offered/train")
    expect(page.locator("main")).to_contain_text("What you had typed before is back")
    expect(steps).to_contain_text("777")
    page.reload()
    expect(steps).to_contain_text("777")
    page.goto(f"{it.base}/subjects/offered/train?r_steps=555")
    expect(steps).to_contain_text("555")
    page.get_by_role("button", name="Bring back what you typed").click()
    expect(steps).to_contain_text("777")
    page.get_by_role("button", name="Discard it").click()
    expect(steps).to_contain_text("555")
    it.go("/subjects/offered/train")
    assert steps.inner_text() == usual


def test_a_favourite_that_fails_is_told_of_and_tried_again(browser: Browser, served: Server, studio: Studio) -> None:
    pet(studio, "liked")
    (number,) = add_generation(studio, "liked", subjects=["liked"])
    with tab(browser, served.url, LOOKS[3], allowed=("Failed to load", "net::ERR")) as it:
        page = it.go("/generations/generation_liked")
        heart = page.get_by_role("button", name="Favourite picture 1")
        page.route("**/favourite", lambda route: route.abort(), times=1)
        heart.click()
        failed = page.locator("#notices [data-failed]")
        expect(failed).to_contain_text("The favourite was not kept")
        expect(failed).to_be_in_viewport()
        it.sound("a-failure-told")
        heart.click()
        expect(heart).to_have_attribute("aria-pressed", "true")
        expect(failed).to_have_count(0)
        heart.click()
        expect(heart).to_have_attribute("aria-pressed", "false")
        assert not studio.generations.image(number).favourite

        # Over the viewer too, which covers the page.
        it.go("/gallery")
        page.locator("[data-shots] a").first.click()
        page.locator(".pswp--open").wait_for()
        page.route("**/favourite", lambda route: route.abort(), times=1)
        page.keyboard.press("f")
        failed = page.get_by_role("alert")
        expect(failed).to_contain_text("could not be changed")
        on_top = failed.evaluate(
            """(e) => {
              const { x, y } = e.getBoundingClientRect();
              return e.contains(document.elementFromPoint(x + 9, y + 9));
            }"""
        )
        assert on_top
        it.quiet()


def test_stopping_after_a_try_that_failed(browser: Browser, served: Server, studio: Studio) -> None:
    job = studio.generate("a dog", generator="local")
    with tab(browser, served.url, LOOKS[0], allowed=("Failed to load", "net::ERR")) as it:
        page = it.go(f"/generations/{job.target}")
        stop = page.get_by_role("button", name="Stop")
        page.route("**/cancel", lambda route: route.abort(), times=1)
        stop.click()
        expect(page.locator("#notices")).to_contain_text("It was not stopped")
        stop.click()
        expect(stop).to_have_count(0)
        assert studio.jobs.get(job.id).cancel_requested
        it.quiet()
