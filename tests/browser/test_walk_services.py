"""The whole walk with vendors: Replicate trains, the Hub takes the publications, Together draws. All are stand-ins."""

from __future__ import annotations

import importlib
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from limner import Studio
from limner.settings import Settings
from limner.stand_ins.rehearsal import Rehearsal, rehearsal
from tests.operations.conftest import kill_all
from tests.servers.quick_engine import QuickEngine
from tests.servers.services_bench import until

from . import walk
from .chromium import EVERY_LOOK, LOOKS, Look, Tab, tab
from .server import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WORK = 30_000
"""Milliseconds that work may take which is nothing for the engine here."""
WIDE_LIGHT, NARROW_DARK = LOOKS[0], LOOKS[3]
STEPS = 40
TWICE = """async (form) => {
  const send = () => fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  return (await Promise.all([send(), send()])).map((answer) => answer.url);
}"""
"""What two impatient clicks send where no script holds the second back; where each of them is led to."""


@dataclass(frozen=True)
class Vendors:
    """``limner serve`` as a process, and the stand-ins that it reaches."""

    server: Server
    made: Rehearsal

    @property
    def paid(self) -> dict[str, int]:
        """How much each vendor was paid for, of those that were."""
        counts = {name: len(getattr(self.made, name).paid) for name in ("replicate", "fal", "huggingface", "together")}
        return {name: count for name, count in counts.items() if count}


Open = Callable[..., AbstractContextManager[Vendors]]


@pytest.fixture
def vendors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens stand-ins and a server with their tokens; ``without`` are tokens that it has not, the rest are settings."""
    bases = importlib.import_module("limner.catalog.bases")
    monkeypatch.setattr(bases, "_own", [])
    monkeypatch.setattr(importlib.import_module("limner.catalog.hosted"), "_own", [])

    @contextmanager
    def opened(*, without: tuple[str, ...] = (), subject: str = "", **settings: Any) -> Iterator[Vendors]:
        with rehearsal(tmp_path / "stand-ins", engine=QuickEngine()) as made:
            home = tmp_path / "home"
            if subject:
                _taken_in(home, subject)
            server = Server(home, environment=_environment(home, made, settings, without))
            try:
                yield Vendors(server.start(), made)
            finally:
                server.stop()
                bases.bases.cache_clear()

    return opened


def _taken_in(home: Path, slug: str) -> None:
    """A subject with its photos, for tests of what comes after."""
    with Studio(settings=Settings(home=home, worker_idle_seconds=1)) as studio:
        studio.subjects.add(slug, kind="character", class_word="robot", trigger="zibbo")
        studio.wait(studio.photos.add(slug, walk.PHOTOS))


def _environment(home: Path, made: Rehearsal, settings: Mapping[str, Any], without: tuple[str, ...]) -> dict[str, str]:
    """What is set for this, and no more: what stands in the environment cannot be changed on the pages."""
    told = {**made.settings, **settings}
    every = Settings(home=home, **told).as_environment()
    found = {name: words for name, words in every.items() if name.removeprefix("LIMNER_").lower() in told}
    return {**found, **made.environment, **dict.fromkeys(without, "")}


# --- the whole walk ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", [WIDE_LIGHT, NARROW_DARK] if EVERY_LOOK else [WIDE_LIGHT], ids=str)
def test_from_photos_to_pictures_by_vendors(browser: Browser, vendors: Open, look: Look) -> None:
    with vendors() as them, tab(browser, them.server.url, look) as it:
        slug = walk.add_subject(it)
        walk.drop(it, slug, walk.PHOTOS)
        for version, steps in (("v1", STEPS), ("v2", STEPS + 20)):
            walk.train(it, slug, steps=steps, trainer="replicate")
            walk.publish(it, f"{slug}@{version}", "huggingface", public=True)
        _both_published(it, slug)
        generation = walk.create(it, {f"{slug}@v1": "0.5", f"{slug}@v2": "0.6"}, generator="together")
        assert them.paid == {"replicate": 2, "together": 2}
        sent = them.made.together.requests[-1]["image_loras"]
        assert [one["scale"] for one in sent] == [0.5, 0.6]
        assert len({one["path"] for one in sent}) == 2, "two versions have one address"
        _told_who_drew(it, generation, slug)
        _costs_told(it)
        _accounts_connected(it)


def _both_published(tab: Tab, slug: str) -> None:
    """Each version's page says where it is and that anybody can fetch it; the list names the hub of both."""
    page = tab.page
    for version in ("v1", "v2"):
        tab.go(f"/loras/{slug}@{version}")
        places = page.locator("#places")
        expect(places).to_contain_text(f"rehearsal/{slug}-lora")
        expect(places.get_by_text("Public", exact=True)).to_be_visible()
        expect(places.get_by_text("Ready", exact=True)).to_be_visible()
        expect(places).to_contain_text("usable by anyone")
    tab.go("/loras")
    expect(page.locator("main tbody tr", has_text="huggingface")).to_have_count(2)


def _told_who_drew(tab: Tab, generation: str, slug: str) -> None:
    page = tab.go(f"/generations/{generation}")
    expect(page.locator("main")).to_contain_text(re.compile("Together", re.I))
    tab.go("/gallery?generator=together")
    tab.sound("gallery")
    expect(page.locator('main input[name="image"]')).to_have_count(2)
    tab.go("/gallery?generator=local")
    expect(page.locator('main input[name="image"]')).to_have_count(0)
    tab.go("/gallery")
    newest = page.locator('main input[name="image"]').first.get_attribute("value")
    tab.go(f"/images/{newest}")
    tab.sound("image")
    said = page.locator("main")
    expect(said).to_contain_text(re.compile(r"Drawn by\s*Together", re.I))
    for version, scale in (("v1", "0.5"), ("v2", "0.6")):
        expect(said).to_contain_text(f"{slug}@{version} at {scale}")


def _costs_told(tab: Tab) -> None:
    """What was paid, by vendor; each cost leads to its job."""
    page = tab.go("/costs")
    tab.sound("costs")
    rows = page.get_by_role("table", name="Every cost").locator("tbody tr")
    expect(rows.filter(has_text="replicate")).to_have_count(2)
    # What one request drew is one cost, or one a picture; each belongs to a job.
    assert rows.filter(has_text="together").count() in (1, 2)
    assert rows.locator('a[href^="/jobs/job_"]').count() == rows.count()
    expect(page.locator("main")).to_contain_text("By vendor")
    rows.locator('a[href^="/jobs/job_"]').first.click()
    page.wait_for_url(re.compile("/jobs/job_"))
    tab.sound("job")


def _accounts_connected(tab: Tab) -> None:
    page = tab.go("/accounts")
    for name, variable in (
        ("replicate", "REPLICATE_API_TOKEN"),
        ("huggingface", "HF_TOKEN"),
        ("together", "TOGETHER_API_KEY"),
    ):
        card = page.locator(f"#{name}")
        expect(card).to_contain_text("Connected")
        expect(card).to_contain_text(f"{variable} in the environment")
        card.get_by_role("button", name="Test").click()
        expect(card).to_contain_text("Works")
    tab.sound("accounts")
    assert "rehearsal_together" not in page.content()


# --- who can, and why not -----------------------------------------------------------------------------------------


def test_cards_tell_price_time_who_sees_and_what_is_missing(browser: Browser, vendors: Open) -> None:
    with (
        vendors(without=("TOGETHER_API_KEY", "REPLICATE_API_TOKEN"), subject="zibbo") as them,
        tab(browser, them.server.url, NARROW_DARK) as it,
    ):
        page = it.go("/subjects/zibbo/train")
        fal = page.locator("#trainer-fal")
        expect(fal).to_contain_text("perhaps $0.60")
        expect(fal).to_contain_text(re.compile(r"about \d[\d.]* s"))
        expect(fal).to_contain_text("Photos are seen by fal")
        expect(page.locator("#trainer-local")).to_contain_text("free")
        expect(page.locator("#trainer-local")).to_contain_text("nobody but this machine")
        replicate = page.locator("#trainer-replicate")
        expect(replicate.locator("input")).to_be_disabled()
        expect(replicate).to_contain_text("Replicate needs")
        remedy = replicate.get_by_role("link", name="Connect Replicate")
        expect(remedy).to_have_attribute("href", "/accounts#replicate")
        walk.choose_trainer(it, "fal")
        walk.choose_trainer(it, "local")
        it.sound("train-without")
        it.go("/create?prompt=a+cat")
        off = page.locator(".create-generator-off", has_text="Together AI")
        expect(off.locator("input")).to_be_disabled()
        expect(off).to_contain_text("Together AI needs")
        expect(off.get_by_role("link", name="Connect Together AI")).to_have_attribute("href", "/accounts")
        it.sound("create-without")
        off.get_by_role("link", name="Connect Together AI").click()
        expect(page.locator("#together")).to_contain_text("Not connected")
        # A card that is greyed is a hint; whoever sends it all the same is refused, and nothing is sent.
        it.go("/subjects/zibbo/train")
        _choose_greyed(page.locator("#trainer-replicate input"))
        it.allowed = ("status of 4",)
        page.locator("#train-start").click()
        page.wait_for_load_state()
        expect(page.locator('main .notice, main [role="alert"]').first).to_be_visible()
        assert them.paid == {}


def _choose_greyed(radio: Locator) -> None:
    radio.evaluate("radio => { radio.disabled = false; radio.checked = true; }")


# --- nothing without a yes, and once --------------------------------------------------------------------------------


def test_no_yes_no_order_and_two_clicks_are_one(browser: Browser, vendors: Open) -> None:
    with (
        vendors(subject="zibbo", consent_above="0.05") as them,
        tab(browser, them.server.url, WIDE_LIGHT, allowed=("status of 402",)) as it,
    ):
        page = _filled(it, "replicate")
        expect(page.locator("#train-start")).to_have_text("Train for perhaps $0.0144")
        page.locator("#train-start").click()
        expect(page.locator('main [role="alert"], main .notice').first).to_contain_text("Nothing was sent")
        assert page.locator("#f-prompts").input_value() == walk.PROMPT
        assert page.locator("#f-r_seed").input_value() == "11"
        expect(page.locator("#trainer-replicate input")).to_be_checked()
        expect(page.locator("#train-offer .field-error")).to_contain_text("Say yes")
        expect(page.locator("#train-offer input[name=yes]")).not_to_be_checked()
        it.sound("train-asked")
        assert them.paid == {}
        assert {job["kind"] for job in _jobs(it)} == {"intake"}
        # A yes to this sum is no yes to a larger one.
        page.locator("#train-offer input[name=yes]").check()
        page.locator("#f-r_steps").fill("900")
        expect(page.locator("#train-start")).to_have_text("Train for perhaps $0.0432")
        expect(page.locator("#train-offer input[name=yes]")).not_to_be_checked()
        page.locator("#f-r_steps").fill("300")
        expect(page.locator("#train-start")).to_have_text("Train for perhaps $0.0144")
        page.locator("#train-offer input[name=yes]").check()
        first, second = page.locator("form#train").evaluate(TWICE)
        assert first == second
        assert re.search(r"/trainings/training_[0-9a-f]+$", first)
        page.goto(first)
        expect(page.get_by_role("heading", level=1, name=re.compile("^Trained"))).to_be_visible(timeout=WORK)
        assert them.paid == {"replicate": 1}
        _drawn_once(it, them)
        _budget_spent(it, them)


def _filled(tab: Tab, trainer: str) -> Page:
    page = tab.go("/subjects/zibbo/train")
    walk.choose_trainer(tab, trainer)
    page.locator("#train-more summary").first.click()
    page.locator("#f-r_seed").fill("11")
    page.locator("#f-prompts").fill(walk.PROMPT)
    expect(page.locator("#train-offer input[name=yes]")).to_be_visible()
    return page


def _jobs(tab: Tab) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tab.page.context.request.get(f"{tab.base}/api/v1/jobs").json()["items"]
    return found


def _drawn_once(tab: Tab, them: Vendors) -> None:
    """A known price above what goes without asking: asked beside the generator, then two clicks are one order."""
    page = tab.go("/create?prompt=a+cat&count=2&generator=fal")
    draw = page.locator("#create-draw")
    expect(draw).to_contain_text("Draw 2 pictures, about $0.07")
    draw.click()
    expect(page.locator("#f-generator-error")).to_contain_text("Say yes beside the generator below")
    assert page.locator("#f-prompt").input_value() == "a cat"
    tab.sound("create-asked")
    assert "fal" not in them.paid
    page.locator('input[name="yes"][value^="fal="]').check()
    draw.dblclick()
    page.wait_for_url(re.compile("generation_[0-9a-f]+"))
    expect(page.locator('#results img[alt^="Picture 2 of 2"]')).to_be_visible(timeout=WORK)
    assert them.paid == {"replicate": 1, "fal": 2}


def _budget_spent(tab: Tab, them: Vendors) -> None:
    """A budget set on the page greys who would exceed it, with the reason."""
    page = tab.go("/costs")
    page.get_by_text("Change the budgets").click()
    page.locator("#f-budget_total").fill("0.50")
    page.locator("#budgets form button[type=submit]").click()
    expect(page.locator("#budgets")).to_contain_text("of $0.50")
    tab.sound("costs-budget")
    tab.go("/subjects/zibbo/train")
    fal = page.locator("#trainer-fal")
    expect(fal.locator("input")).to_be_disabled()
    expect(fal.locator(".train-refusal")).to_contain_text("budget")
    tab.sound("train-budget")
    assert them.paid == {"replicate": 1, "fal": 2}


# --- a crash --------------------------------------------------------------------------------------------------------


def test_a_crash_while_the_vendor_trains_costs_nothing(browser: Browser, vendors: Open) -> None:
    with (
        vendors(subject="zibbo") as them,
        tab(browser, them.server.url, WIDE_LIGHT, allowed=("ERR_", "htmx:sse:error")) as it,
    ):
        them.made.replicate.held = "processing"
        page = _filled(it, "replicate")
        page.locator("#train-offer input[name=yes]").check()
        page.locator("#train-start").click()
        page.wait_for_url(re.compile(r"/trainings/training_[0-9a-f]+$"))
        until(lambda: them.paid == {"replicate": 1})
        expect(page.get_by_role("region", name="Lines of the log")).to_contain_text("Starting train job")
        it.sound("training-at-vendor")
        them.server.stop(signal.SIGKILL)
        kill_all(them.server.home)
        them.server.start()
        them.made.replicate.held = ""
        page.reload()
        expect(page.get_by_role("heading", level=1, name=re.compile("^Trained"))).to_be_visible(timeout=WORK)
        it.sound("training-survived")
        assert them.paid == {"replicate": 1}
        it.go("/costs")
        rows = page.get_by_role("table", name="Every cost").locator("tbody tr")
        expect(rows).to_have_count(1)
        expect(page.locator("#open")).to_have_count(0)
