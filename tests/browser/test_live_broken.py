"""What is live when the line breaks, the server is killed, or a second tab acts: pages go on by themselves."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from limner.errors import StorageFailed
from limner.operations.jobs import lifecycle
from limner.records import Job
from limner.settings import Settings
from limner.studio import Studio
from limner.types import Progress
from tests.operations.photos_kept import keep

from ..photos.making import encoded, picture
from .broken_line import Line
from .chromium import LOOKS, Tab, tab
from .server import Server

BROKEN = ("Failed to load resource", "net::ERR", "ERR_", "network error", "Failed to fetch")
"""What a browser says of a line that was cut on purpose."""
AGAIN = 240_000


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Server]:
    """A server that starts no worker: its jobs move only as the tests move them."""
    started = Server(tmp_path / "home", environment={"LIMNER_START_WORKER": "false"}).start()
    yield started
    started.stop()


@pytest.fixture
def studio(idle: Server) -> Iterator[Studio]:
    with Studio(settings=Settings(home=idle.home, start_worker=False)) as made:
        made.subjects.add("rex", name="Rex", kind="pet", class_word="dog", trigger="rex_dog")
        for number in range(6):
            keep(made, "rex", number, 512, 512)
        yield made


def begun(studio: Studio) -> Job:
    """A training that has begun, as a worker leaves its rows."""
    job = studio.train("rex")
    database = studio._workspace.database
    for stage, name in enumerate(job.stage_names):
        lifecycle.start_stage(database, job.id, stage)
        if name == "train":
            break
        lifecycle.end_stage(database, job.id, stage, result={})
    step(studio, job, 10)
    return studio.jobs.get(job.id)


def step(studio: Studio, job: Job, done: int) -> None:
    lifecycle.JobProgress(studio._workspace.database, job.id).report(Progress("train", done, 100, "steps"))


def end(studio: Studio, job: Job) -> None:
    database = studio._workspace.database
    lifecycle.end_stage(database, job.id, len(job.stage_names) - 1, result={})
    lifecycle.end_job(database, job.id)


def at(page: Page, done: int) -> None:
    """The page shows how far the job is, without having been reloaded."""
    expect(page.locator("main progress").first).to_have_attribute(
        "value", re.compile(rf"^{done}(\.0)?$"), timeout=AGAIN
    )
    assert page.evaluate("globalThis.mine") == 1, "the page was loaded anew"


def open_job(it: Tab, job: Job) -> Page:
    page = it.go(f"/jobs/{job.id}")
    page.evaluate("globalThis.mine = 1")
    return page


def test_a_cut_line_and_a_dead_one_are_told_and_mended(browser: Browser, idle: Server, studio: Studio) -> None:
    job = begun(studio)
    with Line(idle.url) as line, tab(browser, line.url, LOOKS[0], allowed=BROKEN) as it:
        page = open_job(it, job)
        at(page, 10)
        line.cut()
        step(studio, job, 20)
        at(page, 20)
        line.dead(True)
        expect(page.locator("#connection")).to_be_visible(timeout=AGAIN)
        expect(page.locator("#connection")).to_contain_text("the work goes on")
        step(studio, job, 30)
        assert page.locator("[data-live]").first.get_attribute("data-stale") is not None
        line.dead(False)
        at(page, 30)
        expect(page.locator("#connection")).to_be_hidden(timeout=AGAIN)
        assert page.locator("[data-live]").first.get_attribute("data-stale") is None
        it.quiet()


def test_a_browser_that_was_offline_catches_up(browser: Browser, idle: Server, studio: Studio) -> None:
    job = begun(studio)
    # Going offline does not end a stream that is open, so the line is cut meanwhile, as a sleeping machine's is.
    with Line(idle.url) as line, tab(browser, line.url, LOOKS[2], allowed=BROKEN) as it:
        page = open_job(it, job)
        step(studio, job, 20)
        at(page, 20)
        page.context.set_offline(True)
        line.cut()
        expect(page.locator("#connection")).to_be_visible(timeout=AGAIN)
        step(studio, job, 70)
        end(studio, job)
        page.context.set_offline(False)
        expect(page.locator("#job-head .badge").first).to_have_text("Done", timeout=AGAIN)
        expect(page.locator("#connection")).to_be_hidden(timeout=AGAIN)
        assert page.evaluate("globalThis.mine") == 1
        it.quiet()


def test_a_server_that_is_killed_while_a_job_runs(browser: Browser, idle: Server, studio: Studio) -> None:
    job = begun(studio)
    with (
        tab(browser, idle.url, LOOKS[0], allowed=BROKEN) as it,
        tab(browser, idle.url, LOOKS[0], allowed=BROKEN) as two,
    ):
        page = open_job(it, job)
        run = two.go(f"/trainings/{job.target}")
        run.evaluate("globalThis.mine = 1")
        at(page, 10)
        at(run, 10)
        idle.stop(signal.SIGKILL)
        expect(page.locator("#connection")).to_be_visible(timeout=AGAIN)
        step(studio, job, 40)
        idle.start()
        at(page, 40)
        at(run, 40)
        step(studio, job, 50)
        at(page, 50)
        # A restart in good order too, and the forms of the pages still count.
        idle.stop()
        idle.start()
        step(studio, job, 60)
        at(page, 60)
        at(run, 60)
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#notices")).to_contain_text("stops at its next safe point")
        expect(run.locator("#run-head")).to_contain_text("Stopping", timeout=AGAIN)
        assert studio.jobs.get(job.id).cancel_requested
        it.quiet()
        two.quiet()


def test_two_tabs_on_one_job(browser: Browser, idle: Server, studio: Studio) -> None:
    job = begun(studio)
    with tab(browser, idle.url, LOOKS[0]) as it:
        first = open_job(it, job)
        second = it.page.context.new_page()
        second.goto(f"{idle.url}/jobs/{job.id}")
        listed = it.page.context.new_page()
        listed.goto(f"{idle.url}/jobs")
        expect(listed.get_by_role("button", name="Cancel")).to_be_visible()
        first.get_by_role("button", name="Cancel").click()
        expect(first.locator("#notices")).to_contain_text("stops at its next safe point")
        expect(second.locator("#job-head")).to_contain_text("Stopping at the next safe point")
        expect(second.get_by_role("button", name="Cancel")).to_have_count(0)
        expect(listed.locator("#jobs-list")).to_contain_text("Stopping")
        # A form of a tab that has not heard of it yet: the same again does nothing more, and says how it is.
        token = second.locator('meta[name="csrf-token"]').get_attribute("content") or ""
        again = second.request.post(f"{idle.url}/jobs/{job.id}/cancel", form={"csrf_token": token})
        assert again.status == 200 and again.url.endswith(f"/jobs/{job.id}")
        end(studio, job)
        for page in (first, second):
            expect(page.locator("#job-head .badge").first).not_to_have_text("Running")
        after = second.request.post(f"{idle.url}/jobs/{job.id}/cancel", form={"csrf_token": token})
        assert "has ended already" in after.text()
        it.quiet()


def test_a_subject_that_is_erased_in_another_tab(browser: Browser, idle: Server, studio: Studio) -> None:
    """What the first tab then does is refused in words, on a page of ours."""
    with tab(browser, idle.url, LOOKS[0], allowed=("Failed to load resource",)) as it:
        page = it.go("/subjects/rex/photos")
        text = page.locator(".caption-text").first
        studio.erasure.erase("rex")
        text.fill("too late")
        text.press("Control+Enter")
        expect(page.locator("#notices")).to_contain_text("There is no subject 'rex'")
        expect(text).to_have_value("too late")
        it.go("/subjects/rex/photos")
        expect(page.locator("h1")).to_be_visible()
        expect(page.locator("main")).to_contain_text("There is no subject 'rex'")
        it.sound("subject-gone")


def test_a_question_that_the_page_has_outrun_sends_nothing(browser: Browser, idle: Server, studio: Studio) -> None:
    """The run fails while the dialog asks: in the place of Cancel there is Resume, which may be paid."""
    job = begun(studio)
    with tab(browser, idle.url, LOOKS[0]) as it:
        sent: list[str] = []
        it.page.on("request", lambda asked: sent.append(asked.url) if asked.method == "POST" else None)
        page = it.go(f"/trainings/{job.target}")
        page.get_by_role("button", name="Cancel").click()
        dialog = page.locator("#confirm")
        expect(dialog).to_contain_text("Stop this training?")
        database = studio._workspace.database
        lifecycle.end_stage(database, job.id, len(job.stages) - 1, error=StorageFailed("The disk is full."))
        lifecycle.end_job(database, job.id)
        expect(page.locator('#run-head form[action$="/resume"]')).to_be_attached()
        dialog.get_by_role("button", name="Stop it").click()
        expect(page.locator("#notices")).to_contain_text("Nothing was sent")
        assert not sent
        it.quiet()


HEARD = """() => {
  globalThis.heard = [];
  new MutationObserver(() => {
    const words = document.getElementById('live').textContent;
    if (words) globalThis.heard.push(words);
  }).observe(document.getElementById('live'), { childList: true });
}"""


def test_what_is_asked_every_second_tells_once_that_nobody_answers(
    browser: Browser, idle: Server, studio: Studio, tmp_path: Path
) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(encoded(picture(1), "JPEG"))
    with Line(idle.url) as line, tab(browser, line.url, LOOKS[0], allowed=BROKEN) as it:
        page = it.go("/subjects/rex")
        page.locator("#f-photos").set_input_files(str(file))
        expect(page.locator('[data-intake="waiting"]')).to_be_visible()
        page.evaluate(HEARD)
        line.dead(True)
        for _ in range(3):
            page.wait_for_event("requestfailed", lambda asked: "/intake/" in asked.url)
        expect(page.locator("#connection")).to_be_visible()
        assert page.locator("#notices [data-failed]").count() == 0
        line.dead(False)
        expect(page.locator("#connection")).to_be_hidden()
        expect(page.locator("#live")).to_have_text("Connected again.")
        heard = page.evaluate("globalThis.heard")
        assert heard == ["Connection lost. Trying again; the work goes on.", "Connected again."]
        it.quiet()


def test_what_is_gone_is_said_and_not_asked_for_again(browser: Browser, idle: Server, studio: Studio) -> None:
    job = begun(studio)
    with Line(idle.url) as line, tab(browser, line.url, LOOKS[0], allowed=("Failed to load", *BROKEN)) as it:
        page = open_job(it, job)
        at(page, 10)
        gone: list[str] = []
        page.on("response", lambda one: gone.append(one.url) if one.status == 404 else None)
        page.route("**/live", lambda route: route.fulfill(status=404, json={}))
        line.cut()
        expect(page.locator("#notices")).to_contain_text("This is gone", timeout=AGAIN)
        expect(page.locator("#connection")).to_be_hidden()
        expect(page.locator("#job-head")).to_be_visible()
        # As long as it would have taken to try twice more.
        page.wait_for_timeout(6_000)
        assert len(gone) == 1
        it.allowed += ("status 404",)
        it.quiet()


def test_many_generations_on_a_page_leave_connections_for_the_rest(
    browser: Browser, idle: Server, studio: Studio
) -> None:
    with tab(browser, idle.url, LOOKS[0]) as it:
        page = it.go("/create")
        page.locator("#f-prompt").fill("a harbour")
        page.locator('input[name="generator"][value="local"]').check(force=True)
        for count in range(1, 8):
            page.locator("#create-draw").click()
            expect(page.locator("[data-generation]")).to_have_count(count)
        status = page.evaluate("fetch('/system', { signal: AbortSignal.timeout(10000) }).then((one) => one.status)")
        assert status == 200
        drawn = [one for one in studio.jobs.all(limit=20) if one.kind == "generate"]
        assert len(drawn) == 7
        for job in drawn:
            lifecycle.end_job(studio._workspace.database, job.id)
        for job in drawn:
            inside = page.locator(f"#inside-{job.target}")
            expect(inside.get_by_role("button", name="Stop")).to_have_count(0)
        expect(page.locator("input[name=following]")).to_have_count(0)
        it.quiet()
