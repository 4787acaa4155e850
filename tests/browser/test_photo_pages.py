"""What needs a browser on the photo pages: the keyboard flow of captions, and a crop by pointer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from limner.settings import Settings
from limner.studio import Studio
from limner.types import Crop
from tests.operations.photos_kept import keep

from .server import Server


@pytest.fixture
def studio(server: Server) -> Iterator[Studio]:
    with Studio(settings=Settings(home=server.home, start_worker=False)) as made:
        made.subjects.add("rex", name="Rex", kind="pet", class_word="dog", trigger="rex_dog")
        for number in range(4):
            keep(made, "rex", number, 400, 300, caption="{trigger} asleep" if number else "")
        yield made


@pytest.fixture
def page(browser: Browser, server: Server, studio: Studio) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    broken: list[str] = []
    opened.on("pageerror", lambda failure: broken.append(str(failure)))
    opened.on("console", lambda said: broken.append(said.text) if "Content Security Policy" in said.text else None)
    yield opened
    opened.close()
    assert not broken


def captions(studio: Studio) -> list[str]:
    return [photo.caption for photo in studio.photos.all("rex")]


def test_captions_by_keyboard_alone(page: Page, server: Server, studio: Studio) -> None:
    page.goto(f"{server.url}/subjects/rex/photos")
    text = page.locator(".caption-text")
    states = page.locator(".caption-state")
    text.nth(0).focus()
    page.keyboard.type("{trigger} in the snow")
    expect(states.nth(0)).to_have_text("Not saved yet")
    page.keyboard.press("Enter")
    expect(text.nth(1)).to_be_focused()
    expect(states.nth(0)).to_have_text("Saved")
    page.keyboard.press("ArrowDown")
    expect(text.nth(2)).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    expect(text.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(text.nth(2)).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("a brown {trigger} dog")
    page.keyboard.press("Tab")
    expect(page.locator(".photo-said").nth(2)).to_contain_text("coat ('brown {trigger}')")
    text.nth(3).fill("{triger}")
    page.keyboard.press("Control+Enter")
    expect(text.nth(3)).to_be_focused()
    expect(text.nth(3)).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#live")).to_contain_text("Not saved")
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Enter")
    expect(text.nth(2)).to_be_focused()
    assert captions(studio) == [
        "{trigger} in the snow",
        "{trigger} asleep",
        "a brown {trigger} dog",
        "{trigger} asleep",
    ]


def test_a_crop_by_pointer_and_by_numbers_is_the_same(page: Page, server: Server, studio: Studio) -> None:
    digest = studio.photos.all("rex")[0].digest
    page.goto(f"{server.url}/subjects/rex/photos/{digest}")
    selection = page.locator("cropper-selection")
    expect(selection).to_be_visible()
    for name, value in (("width", "200"), ("height", "160"), ("left", "40"), ("top", "30")):
        page.fill(f"#f-{name}", value)
    expect(page.locator("[data-trained-words]")).to_contain_text("Not saved yet")
    before = selection.bounding_box()
    assert before
    scale = before["width"] / 200
    middle = before["x"] + before["width"] / 2, before["y"] + before["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 50 * scale, middle[1] + 20 * scale, steps=6)
    page.mouse.up()
    moved = {name: int(page.input_value(f"#f-{name}")) for name in ("left", "top", "width", "height")}
    assert abs(moved["left"] - 90) <= 2 and abs(moved["top"] - 50) <= 2
    assert (moved["width"], moved["height"]) == (200, 160)
    page.get_by_role("button", name="Save the crop").click()
    expect(page.locator("#notices")).to_contain_text("The crop is saved.")
    assert studio.photos.get("rex", digest).crop == Crop(**moved)
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("h1")).to_have_text("photo-1.png")


def test_a_photo_is_removed_after_it_was_asked(page: Page, server: Server, studio: Studio) -> None:
    page.goto(f"{server.url}/subjects/rex/photos")
    for answer, left in (("Keep it as it is", 4), ("Remove", 3)):
        page.locator(".photo-row").nth(1).hover()
        page.locator(".photo-remove").nth(1).click()
        page.locator("#confirm").get_by_role("button", name=answer, exact=True).click()
        expect(page.locator(".photo-row")).to_have_count(left)
        assert len(studio.photos.all("rex")) == left


def test_a_crop_that_is_not_saved_is_not_left_without_a_question(page: Page, server: Server, studio: Studio) -> None:
    digest = studio.photos.all("rex")[0].digest
    page.goto(f"{server.url}/subjects/rex/photos/{digest}")
    expect(page.locator("cropper-selection")).to_be_visible()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.fill("#f-width", "200")
    expect(page.locator("[data-crop-form]")).to_have_attribute("data-dirty", "")
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#live")).to_contain_text("Not saved yet")
    assert asked == []
    page.get_by_role("link", name="Next photo").click()
    expect(page.locator("h1")).to_have_text("photo-0.png")
    assert asked == ["beforeunload"]
    # Put back by hand there is nothing to lose; and what is saved is not asked about.
    page.fill("#f-width", page.locator("#f-width").evaluate("(one) => one.defaultValue"))
    expect(page.locator("[data-crop-form]")).not_to_have_attribute("data-dirty", "")
    page.fill("#f-width", "208")
    page.get_by_role("button", name="Save the crop").click()
    expect(page.locator("#notices")).to_contain_text("The crop is saved.")
    button = page.get_by_role("button", name="Remove this photo")
    button.focus()
    page.keyboard.press("ArrowRight")
    button.press("Enter")
    expect(page.locator("#confirm")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(page.locator("h1")).to_have_text("photo-0.png")
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("h1")).to_have_text("photo-1.png")
    assert asked == ["beforeunload"]


def test_a_caption_that_was_refused_is_not_left_without_a_question(page: Page, server: Server, studio: Studio) -> None:
    page.goto(f"{server.url}/subjects/rex/photos")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    text = page.locator(".caption-text").first
    text.fill("{triger}")
    text.press("Control+Enter")
    expect(text).to_have_attribute("aria-invalid", "true")
    page.get_by_role("link", name="Datasets").click()
    expect(page.locator("h1")).to_have_text("Check")
    assert asked == ["beforeunload"]
    text.press("Escape")
    page.get_by_role("link", name="Datasets").click()
    page.wait_for_url("**/datasets")
    assert asked == ["beforeunload"]
