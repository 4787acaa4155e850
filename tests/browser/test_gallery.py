"""What needs a browser in the gallery: the viewer's keys and history, a range of thousands, a tablet turned."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from limner.settings import Settings
from limner.studio import Studio

from ..web.pictures_made import add_generation
from .chromium import LOOKS, Tab, tab
from .server import Server

MANY = 2_400
IN_THE_MIDDLE = """(one) => {
  const { left, right } = one.getBoundingClientRect();
  return Math.abs((left + right) / 2 - innerWidth / 2) < 2;
}"""
SHOWN = "document.activeElement.closest('.shot')?.dataset.id"


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("gallery") / "home", environment={"LIMNER_START_WORKER": "false"}).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def studio(idle: Server) -> Iterator[Studio]:
    with Studio(settings=Settings(home=idle.home, start_worker=False)) as made:
        made.subjects.add("rex", name="Rex", kind="pet", class_word="dog", trigger="rex_dog")
        add_generation(made, "many", prompt="a photo of rex_dog", count=MANY, subjects=["rex"])
        yield made


@pytest.fixture
def it(browser: Browser, idle: Server, studio: Studio) -> Iterator[Tab]:
    with tab(browser, idle.url, LOOKS[0]) as made:
        yield made
        made.quiet()


@pytest.fixture
def unmarked(studio: Studio) -> Iterator[Studio]:
    yield studio
    if marked := favourites(studio):
        studio.gallery.set_favourite(marked, False)


def favourites(studio: Studio) -> list[int]:
    return [one.id for one in studio.generations.images("rex", limit=MANY) if one.favourite]


def ids(page: Page) -> list[int]:
    return [int(one) for one in page.locator(".shot[data-id]").evaluate_all("all => all.map((one) => one.dataset.id)")]


def opened(page: Page, at: int = 0) -> None:
    page.locator(".shot a").nth(at).click()
    expect(page.locator(".pswp")).to_be_visible()
    page.wait_for_function("location.hash.startsWith('#/image/')")


def test_f_marks_the_picture_that_is_seen(it: Tab, unmarked: Studio) -> None:
    page = it.go("/gallery")
    first, second, third = ids(page)[:3]
    opened(page)
    panel = page.locator(".image-details")
    expect(panel).to_have_attribute("data-image", str(first))
    # The panel is still of the first picture: the second one's is held back.
    page.route(f"**/images/{second}/details*", lambda route: None)
    page.keyboard.press("ArrowRight")
    expect(panel).to_have_attribute("data-image", str(first))
    page.keyboard.press("f")
    expect(page.locator("#live")).to_have_text("Marked as a favourite")
    assert favourites(unmarked) == [second]
    page.unroute_all()
    page.keyboard.press("i")
    expect(page.locator(".lightbox-panel")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(rf"#/image/{third}$"))
    with page.expect_response("**/favourite"):
        page.keyboard.press("f")
    assert favourites(unmarked) == [second, third]
    page.keyboard.press("i")
    expect(panel).to_have_attribute("data-image", str(third))
    expect(panel.locator("[data-favourite] button")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("f")
    expect(panel.locator("[data-favourite] button")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("Escape")
    expect(page.locator(f'.shot[data-id="{second}"]')).to_have_attribute("data-favourite", "")
    expect(page.locator(f'.shot[data-id="{third}"]')).not_to_have_attribute("data-favourite", "")


def test_a_range_from_the_first_to_the_last_is_whole(it: Tab) -> None:
    page = it.go("/gallery")
    page.locator(".shot input").first.check()
    page.locator(".shot a").first.focus()
    page.keyboard.press("End")
    last = page.locator(f'.shot[data-i="{MANY - 1}"] input')
    expect(last).to_be_visible()
    last.click(modifiers=["Shift"])
    expect(page.locator("[data-count]")).to_have_text(f"{MANY:,} pictures chosen")
    assert len(set(page.locator("[data-images]").input_value().split(","))) == MANY
    page.keyboard.press("Escape")
    expect(page.locator("[data-bar]")).to_be_hidden()


def test_favourites_are_taken_off_together(it: Tab, unmarked: Studio) -> None:
    page = it.go("/gallery")
    chosen = ids(page)[:2]
    mark, unmark = page.locator("[data-marks]"), page.locator("[data-unmarks]")
    for number in chosen:
        page.locator(f'.shot[data-id="{number}"] input').check()
    expect(mark).to_be_visible()
    expect(unmark).to_be_hidden()
    mark.click()
    expect(page.locator("#notices")).to_contain_text("2 pictures are marked as favourites.")
    for number in chosen:
        page.locator(f'.shot[data-id="{number}"] input').check()
    expect(mark).to_be_hidden()
    unmark.click()
    expect(page.locator("#notices")).to_contain_text("2 pictures are no longer favourites.")
    assert favourites(unmarked) == []


def test_a_reload_with_the_viewer_open_and_out_of_it(it: Tab) -> None:
    page = it.go("/gallery")
    opened(page, at=3)
    page.reload()
    viewer = page.locator(".pswp")
    expect(viewer).to_be_visible()
    at = ids(page)[4]
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(rf"#/image/{at}$"))
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(r"/gallery$"))
    # It is asked where a picture stands when one is to be opened: none is.
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/gallery/place" in request.url else None)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    expect(viewer).to_have_count(0)
    assert asked == []


def test_the_list_is_where_the_viewer_was_left(it: Tab) -> None:
    page = it.go("/gallery")
    opened(page)
    for at in range(1, 101):
        page.keyboard.press("ArrowRight")
        expect(page.locator("#live")).to_have_text(f"Picture {at + 1} of {MANY:,}".replace(",", ""))
    number = page.url.rpartition("/")[2]
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(r"/gallery$"))
    expect(page.locator(f'.shot[data-id="{number}"] a')).to_be_focused()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(page.locator(f'.shot[data-id="{number}"]')).to_be_in_viewport()
    assert page.evaluate(SHOWN) == number


def test_without_the_viewers_script_a_picture_has_its_page(browser: Browser, idle: Server, studio: Studio) -> None:
    with tab(browser, idle.url, LOOKS[0], allowed=("ERR_FAILED", "photoswipe")) as made:
        made.page.route("**/photoswipe.esm.min.js*", lambda route: route.abort())
        for _ in range(2):
            page = made.go("/gallery")
            number = ids(page)[1]
            page.locator(".shot a").nth(1).click()
            page.wait_for_url(re.compile(rf"/images/{number}$"))
        made.go("/")
        page = made.go(f"/gallery#/image/{number}")
        page.wait_for_url(re.compile(rf"/images/{number}$"))
        made.quiet()


def test_a_tablet_is_turned_with_the_viewer_open(it: Tab) -> None:
    page = it.page
    page.set_viewport_size({"width": 1180, "height": 820})
    it.go("/gallery")
    opened(page)
    panel = page.locator(".lightbox-panel")
    expect(panel).to_be_visible()
    page.set_viewport_size({"width": 820, "height": 1180})
    expect(panel).to_be_hidden()
    page.wait_for_function(f"() => [...document.querySelectorAll('.pswp__img')].some({IN_THE_MIDDLE})")
    page.keyboard.press("i")
    expect(panel).to_be_visible()
    page.keyboard.press("i")
    expect(panel).to_be_hidden()
    page.set_viewport_size({"width": 1180, "height": 820})
    expect(panel).to_be_visible()


def test_days_and_months_are_the_visitors_own(browser: Browser, idle: Server, studio: Studio) -> None:
    context = browser.new_context(timezone_id="Pacific/Kiritimati", viewport={"width": 1280, "height": 800})
    try:
        page = context.new_page()
        page.goto(f"{idle.url}/")
        # Drawn on 14 September at noon, UTC: there it is the 15th.
        page.goto(f"{idle.url}/gallery?since=2026-09-15&until=2026-09-15")
        expect(page.locator("[data-total-words]")).to_have_text(f"{MANY:,} pictures match")
        expect(page.locator(".gallery-more")).to_contain_text("Days begin and end as in Pacific/Kiritimati.")
    finally:
        context.close()
