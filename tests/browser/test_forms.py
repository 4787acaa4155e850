"""Whatever is typed, sent twice or gone back from: texts come back whole, nothing runs, nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from limner.settings import Settings
from limner.studio import Studio

from ..pipeline.photos_kept import keep
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
    studio.add_subject(slug, name=slug.title(), kind="pet", class_word="dog", trigger=f"{slug}_dog")


SCRIPTS = (
    "كلب صغير على الشاطئ، 海辺の子犬、바닷가의 강아지, щенок на пляже, σκυλί, בַּיִת, हिन्दी, ไทย, "
    "🐶👩‍👩‍👧‍👦🏳️‍🌈, Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯a̴͍̪l̷̛g̵o, \u202eright to left\u202c, 𝔉𝔯𝔞𝔨𝔱𝔲𝔯, e\u0301, \u200bzero\u200bwidth"
)


def prompt_is_kept(it: Tab, studio: Studio, words: str) -> None:
    """A prompt comes back whole with what was made of it, or with its refusal in the field."""
    page = it.go("/create")
    page.locator("#f-prompt").fill(words)
    page.locator('input[name="generator"][value="local"]').check(force=True)
    before = {one.id for one in studio.jobs(limit=500)}
    page.locator("#create-draw").click()
    started = page.locator("#create-form .notice-refusal, #create-form .field-error, [data-generation]")
    expect(started.first).to_be_visible()
    new = [one for one in studio.jobs(limit=500) if one.id not in before]
    if not new:
        assert page.locator("#f-prompt").input_value() == words
        return
    assert len(new) == 1
    studio.cancel(new[0].id)
    kept = studio.generation(new[0].target).prompt
    assert kept == words, "the prompt was changed on its way"
    page.goto(f"{it.base}/generations/{new[0].target}")
    shown = page.locator(".generation-prompt, main").first.text_content() or ""
    assert words.split("\n")[0][:400].strip() in shown


@pytest.mark.parametrize(
    "words",
    ["a dog " * 1_667, SCRIPTS, "first line\nsecond line\ttab", "<b>{{ 7*7 }}</b> {trigger} %s %00 ' OR 1=1 --"],
    ids=["long", "scripts", "lines", "code"],
)
def test_prompts_of_every_kind_come_back_whole(it: Tab, studio: Studio, words: str) -> None:
    prompt_is_kept(it, studio, words)


def test_control_characters_are_refused_with_the_text_kept_or_kept_whole(it: Tab, studio: Studio) -> None:
    """A browser cannot type these; a program that posts the form as a browser does can."""
    page = it.go("/create")
    token = page.locator('meta[name="csrf-token"]').get_attribute("content") or ""
    for number, words in enumerate(
        ("nul\x00here", "bell\x07 escape\x1b[31m", "\ud7ff\ufffe\uffff", "only\u2028line\u2029")
    ):
        sent = {
            "prompt": words,
            "generator": "local",
            "count": "1",
            "csrf_token": token,
            "wish": f"control-{number:08}",
        }
        answer = page.request.post(f"{it.base}/create", form=sent, max_redirects=0)
        assert answer.status in (303, 422), (words, answer.status, answer.text()[:300])
        if answer.status == 303:
            generation = answer.headers["location"].rpartition("/")[2]
            assert studio.generation(generation).prompt == words
        else:
            assert "prompt" in answer.text()


def test_a_form_sent_twice_does_it_once(it: Tab, studio: Studio) -> None:
    page = it.go("/subjects/new")
    page.get_by_label("Name", exact=True).fill("Double")
    page.locator('input[name="kind"][value="pet"]').check(force=True)
    page.evaluate(
        "() => { const b = document.querySelector('main form button[type=submit]'); b.click(); b.click(); b.click() }"
    )
    page.wait_for_url("**/subjects/double")
    assert [one.slug for one in studio.subjects() if one.slug.startswith("double")] == ["double"]

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
    drawn = [one for one in studio.jobs(limit=50) if one.kind == "generate"]
    made = [one for one in drawn if studio.generation(one.target).prompt == "once only"]
    assert len(made) == 1 and len(set(sent)) == 1 and made[0].target in sent[0], json.dumps(sent)
    studio.cancel(made[0].id)


def test_a_training_sent_twice_is_one_and_back_does_no_harm(it: Tab, studio: Studio) -> None:
    pet(studio, "twice")
    for number in range(6):
        keep(studio, "twice", number, 512, 512)
    page = it.go("/subjects/twice/train")
    page.locator("#train-start").dblclick(no_wait_after=True)
    page.wait_for_url("**/trainings/training_*")
    assert len(studio.trainings("twice")) == 1
    first = page.url
    page.go_back()
    expect(page.locator("#train-start")).to_be_visible()
    assert "/trainings/" not in page.url, "back leads to the form, and sends nothing"
    assert len(studio.trainings("twice")) == 1
    page.go_forward()
    page.wait_for_url(first)
    page.reload()
    assert len(studio.trainings("twice")) == 1
    for job in studio.jobs("twice"):
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
    assert not [one for one in studio.subjects() if one.slug == "half-done"]
