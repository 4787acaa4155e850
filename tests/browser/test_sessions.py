"""Logging in by a browser: a session that ends in the midst of a form loses nothing, and guessing has to wait."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import delete

from limner.settings import Settings
from limner.store.web_models import SessionRow
from limner.studio import Studio
from tests.operations.photos_kept import keep

from ..photos.making import encoded, picture
from .broken_line import Line
from .chromium import LOOKS, Tab, tab
from .server import Server

PASSWORDS = {"anna": "correct horse battery", "bert": "staple of the meadow"}
CONSOLE = ("Failed to load resource", "Response Status Error", "401")
STATEMENT = "Agreed by e-mail on Sunday: «ja, gerne» & <b>all</b> of it."


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("sessions") / "home"
    with Studio(settings=Settings(home=home, start_worker=False)) as studio:
        for name, password in PASSWORDS.items():
            studio.members.add(name, password, admin=name == "anna")
    server = Server(home, arguments=("--login",), environment={"LIMNER_START_WORKER": "false"}).start()
    yield server
    server.stop()


@pytest.fixture
def studio(guarded: Server) -> Iterator[Studio]:
    with Studio(settings=Settings(home=guarded.home, start_worker=False)) as made:
        yield made


@pytest.fixture
def it(browser: Browser, guarded: Server) -> Iterator[Tab]:
    with tab(browser, guarded.url, LOOKS[0], allowed=CONSOLE) as made:
        yield made
        made.quiet()


def log_in(page: Page, name: str = "anna", password: str = "") -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password", exact=True).fill(password or PASSWORDS[name])
    page.get_by_role("button", name="Log in").click()


def let_in(it: Tab, path: str, name: str = "anna") -> Page:
    page = it.go(path)
    log_in(page, name)
    page.wait_for_url(f"**{path}")
    return page


def end_sessions(studio: Studio, page: Page) -> None:
    """As when nobody came for two weeks. The server looks again after two seconds at the latest."""
    with studio._workspace.database.write() as session:
        session.execute(delete(SessionRow))
    page.wait_for_timeout(2_100)


def fill_in(page: Page, name: str) -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.locator('input[name="kind"][value="person"]').check(force=True)
    page.locator('input[name="consent"][value="given"]').check(force=True)
    page.get_by_label("Who agreed").fill("Ines Müller")
    page.get_by_label("What they agreed to").fill(STATEMENT)


def as_filled_in(studio: Studio, slug: str) -> None:
    made = studio.subjects.get(slug)
    assert made.consent is not None
    assert (made.consent.given_by, made.consent.statement) == ("Ines Müller", STATEMENT)


def test_a_form_that_is_sent_after_its_session_is_sent_once_more(it: Tab, studio: Studio) -> None:
    page = let_in(it, "/subjects/new")
    fill_in(page, "Ines")
    expect(page.locator("#names")).to_contain_text("ines")
    end_sessions(studio, page)
    page.locator("main form button[type=submit]").last.click()
    expect(page.locator("main")).to_contain_text("What you had typed is kept")
    it.sound("login-with-a-form-kept")
    log_in(page, password="wrong at first")
    expect(page.locator("main")).to_contain_text("The name or the password is wrong")
    log_in(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Send it again")
    expect(page.locator("main")).to_contain_text(STATEMENT)
    it.sound("send-it-again")
    assert not [one for one in studio.subjects.all() if one.slug == "ines"], "nothing is done before it is looked at"
    page.get_by_role("button", name="Send it").click()
    page.wait_for_url("**/subjects/ines")
    as_filled_in(studio, "ines")
    assert studio.owned_by("anna").subjects.get("ines").slug == "ines"


def test_a_form_that_is_still_typed_when_its_session_ends_comes_back_filled_in(it: Tab, studio: Studio) -> None:
    page = let_in(it, "/subjects/new")
    fill_in(page, "Olga")
    end_sessions(studio, page)
    # The page asks while one types; that leads to the login, and the login back to the page.
    page.get_by_label("Name", exact=True).press("End")
    page.keyboard.type(" K")
    page.wait_for_url(re.compile("/login"))
    log_in(page)
    page.wait_for_url("**/subjects/new")
    expect(page.get_by_label("Name", exact=True)).to_have_value("Olga K")
    expect(page.get_by_label("Who agreed")).to_have_value("Ines Müller")
    expect(page.get_by_label("What they agreed to")).to_have_value(STATEMENT)
    expect(page.locator('input[name="consent"][value="given"]')).to_be_checked()
    expect(page.locator("main")).to_contain_text("What you had typed before is back")
    page.locator("main form button[type=submit]").last.click()
    page.wait_for_url("**/subjects/olga-k")
    as_filled_in(studio, "olga-k")


def test_a_prompt_outlives_its_session(it: Tab, studio: Studio) -> None:
    page = let_in(it, "/create")
    words = "a dog, läuft & <em>runs</em>\nin two lines"
    page.locator("#f-prompt").fill(words)
    page.wait_for_timeout(800)
    end_sessions(studio, page)
    page.locator("#create-draw").click()
    page.wait_for_url(re.compile("/login"))
    log_in(page)
    page.wait_for_url(re.compile("/create"))
    expect(page.locator("#f-prompt")).to_have_value(words)
    assert not studio.jobs.all(limit=50) or all(one.kind != "generate" for one in studio.jobs.all(limit=50))


def test_files_that_are_dropped_after_the_session_are_told_of(it: Tab, studio: Studio, tmp_path: Path) -> None:
    studio.owned_by("anna").subjects.add("rex", name="Rex", kind="pet", class_word="dog", trigger="rex_dog")
    page = let_in(it, "/subjects/rex")
    end_sessions(studio, page)
    file = tmp_path / "a.jpg"
    file.write_bytes(encoded(picture(1), "JPEG"))
    page.locator("#f-photos").set_input_files(str(file))
    expect(page.locator("#sending")).to_contain_text("Nobody is logged in")
    page.reload()
    log_in(page)
    page.wait_for_url("**/subjects/rex")
    page.locator("#f-photos").set_input_files(str(file))
    expect(page.locator('[data-intake="waiting"]')).to_be_visible()


def test_a_page_that_is_live_leads_to_the_login_when_its_session_has_ended(
    browser: Browser, guarded: Server, studio: Studio
) -> None:
    mine = studio.owned_by("anna")
    mine.subjects.add("lena", name="Lena", kind="pet", class_word="dog", trigger="lena_dog")
    for number in range(6):
        keep(mine, "lena", number, 512, 512)
    job = mine.train("lena")
    with Line(guarded.url) as line, tab(browser, line.url, LOOKS[0], allowed=(*CONSOLE, "ERR_", "network")) as it:
        page = let_in(it, f"/jobs/{job.id}")
        expect(page.locator("#job-head")).to_be_visible()
        with page.expect_request("**/live"):
            page.reload()
        expect(page.locator("#connection")).to_be_hidden()
        end_sessions(studio, page)
        line.cut()
        page.wait_for_url(re.compile("/login"))
        log_in(page)
        page.wait_for_url(f"**/jobs/{job.id}")
        it.quiet()


def test_two_people_in_two_browsers_see_their_own(browser: Browser, guarded: Server, studio: Studio) -> None:
    studio.owned_by("bert").subjects.add("berts", name="Berts own", kind="pet", class_word="dog", trigger="berts_dog")
    with (
        tab(browser, guarded.url, LOOKS[0], allowed=CONSOLE) as one,
        tab(browser, guarded.url, LOOKS[2], allowed=CONSOLE) as two,
    ):
        anna, bert = let_in(one, "/", "anna"), let_in(two, "/", "bert")
        expect(bert.locator("main")).to_contain_text("Berts own")
        expect(anna.locator("main")).not_to_contain_text("Berts own")
        one.go("/subjects/berts")
        expect(anna.locator("main")).to_contain_text("There is no subject")
        two.go("/settings/users")
        expect(bert.locator("main")).not_to_contain_text("anna")
        two.sound("not-for-bert")
        # Logged out in one tab, nothing is left to see by the back button.
        two.go("/")
        bert.get_by_role("button", name="Log out").click()
        bert.wait_for_url("**/login")
        bert.go_back()
        expect(bert.get_by_label("Password", exact=True)).to_be_visible()
        expect(bert.locator("main")).not_to_contain_text("Berts own")


def test_guessing_has_to_wait(it: Tab) -> None:
    page = it.go("/login")
    # Five are free for a name, and for an address; the tests before this one have used up some of the latter.
    for _ in range(8):
        log_in(page, "bert", "a wrong guess")
        expect(page.locator("main .notice-refusal")).to_be_visible()
        if "Too many" in page.locator("main").inner_text():
            break
    expect(page.locator("main")).to_contain_text(re.compile(r"Too many wrong passwords\.\s+Wait \d+ s"))
    expect(page.get_by_label("Name", exact=True)).to_have_value("bert")
    it.sound("login-too-often")
    for _ in range(20):
        page.wait_for_timeout(1_000)
        log_in(page, "bert")
        if "/login" not in page.url:
            break
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
