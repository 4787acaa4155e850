"""Screens that are small, have edges of their own, or choose the colours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from limner.settings import Settings
from limner.studio import Studio
from tests.operations.photos_kept import keep

from ..lora_rows import add_lora
from ..web.pictures_made import add_generation
from .chromium import Look, tab
from .server import Server

TINY = Look(320, 640, "light")


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("small") / "home", environment={"LIMNER_START_WORKER": "false"}).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def studio(idle: Server) -> Iterator[Studio]:
    with Studio(settings=Settings(home=idle.home, start_worker=False)) as made:
        made.subjects.add("rex", name="Rex", kind="pet", class_word="dog", trigger="rex_dog")
        for number in range(2):
            keep(made, "rex", number, 512, 512)
        lora = add_lora(made, "rex")
        add_generation(made, "small", prompt="a photo of rex_dog", count=40, subjects=["rex"], loras=[lora])
        yield made


def test_nothing_is_wider_than_the_smallest_phone(browser: Browser, idle: Server, studio: Studio) -> None:
    photo = studio.photos.all("rex")[0].digest
    paths = ["/", "/subjects/new", "/subjects/rex", "/subjects/rex/photos", f"/subjects/rex/photos/{photo}"]
    paths += ["/subjects/rex/train", "/create", "/gallery", "/images/1", "/generations/generation_small", "/jobs"]
    paths += ["/loras", "/loras/rex@v1", "/costs", "/settings", "/accounts"]
    with tab(browser, idle.url, TINY) as made:
        wide = {}
        for path in paths:
            page = made.go(path)
            wide[path] = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == dict.fromkeys(paths, 0)


def test_the_menu_of_a_picture_is_in_the_window(browser: Browser, idle: Server, studio: Studio) -> None:
    with tab(browser, idle.url, TINY) as made:
        page = made.go("/generations/generation_small")
        for at in range(2):
            tile = page.locator(".generation-tile").nth(at)
            tile.locator(".menu summary").click()
            body = tile.locator(".menu-body").bounding_box()
            assert body and body["x"] >= 0 and body["x"] + body["width"] <= 320


def test_a_photo_leaves_room_to_scroll_by(browser: Browser, idle: Server, studio: Studio) -> None:
    with tab(browser, idle.url, Look(740, 360, "light")) as made:
        page = made.go(f"/subjects/rex/photos/{studio.photos.all('rex')[0].digest}")
        expect(page.locator("cropper-canvas")).to_be_visible()
        bars = page.locator(".topbar").bounding_box(), page.locator(".nav").bounding_box()
        canvas = page.locator("cropper-canvas").bounding_box()
        assert bars[0] and bars[1] and canvas
        assert canvas["height"] <= 360 - bars[0]["height"] - bars[1]["height"] - 48


def test_the_crop_lies_on_the_photo_without_motion_too(browser: Browser, idle: Server, studio: Studio) -> None:
    with tab(browser, idle.url, Look(1440, 900, "light")) as made:
        page = made.go(f"/subjects/rex/photos/{studio.photos.all('rex')[0].digest}")
        selection = page.locator("cropper-selection")
        expect(selection).to_be_visible()
        where = """() => {
          const boxes = ['image', 'selection'].map((part) => document.querySelector(`cropper-${part}`));
          const [image, selection] = boxes.map((one) => one.getBoundingClientRect());
          const { width, height } = document.querySelector("[data-crop]").dataset;
          const value = (name) => Number(document.getElementById(`f-${name}`).value);
          const near = (one, other) => Math.abs(one - other) < 2;
          return near(selection.left, image.left + (value("left") * image.width) / width) &&
            near(selection.width, (value("width") * image.width) / width) &&
            near(selection.height, (value("height") * image.height) / height);
        }"""
        page.wait_for_function(where, timeout=5_000)


def test_a_phones_own_edges_are_left_free(browser: Browser, idle: Server, studio: Studio) -> None:
    with tab(browser, idle.url, Look(740, 360, "light")) as made:
        page = made.page
        insets = {"top": 0, "left": 47, "right": 47, "bottom": 21}
        page.context.new_cdp_session(page).send("Emulation.setSafeAreaInsetsOverride", {"insets": insets})
        made.go("/gallery")
        box = "(one) => { const { left, right, bottom } = one.getBoundingClientRect(); return [left, right, bottom]; }"
        left, right, _ = page.locator("h1").evaluate(box)
        assert left >= 47 and right <= 740 - 47
        assert page.locator(".wordmark").evaluate(box)[0] >= 47
        assert page.locator(".nav a").last.evaluate(box)[2] <= 360 - 21
        assert page.locator(".nav a").first.evaluate(box)[0] >= 47
        page.locator(".shot input").first.check()
        page.evaluate("scrollTo(0, 700)")
        assert page.locator("[data-bar]").evaluate(box)[2] <= 360 - 21 - 56
        made.quiet()


def test_what_is_chosen_is_seen_in_forced_colours(browser: Browser, idle: Server, studio: Studio) -> None:
    context = browser.new_context(forced_colors="active")
    try:
        page = context.new_page()
        page.goto(f"{idle.url}/subjects/new")
        colour = "(one) => getComputedStyle(one).backgroundColor"
        chosen = page.locator(".choice input:checked + span").first.evaluate(colour)
        assert chosen != page.locator(".choice input:not(:checked) + span").first.evaluate(colour)
    finally:
        context.close()
