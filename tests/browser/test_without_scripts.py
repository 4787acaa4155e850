"""With scripts switched off: every page can be read, and the forms do what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from limner.settings import Settings
from limner.studio import Studio
from tests.operations.photos_kept import keep

from ..lora_rows import add_lora
from ..photos.making import encoded, picture
from ..web.pictures_made import add_generation, add_sample, png
from .chromium import LOOKS, Tab, tab
from .server import Server

PAGES = (
    "/",
    "/subjects/new",
    "/subjects/rex",
    "/subjects/rex/photos",
    "/subjects/rex/captions",
    "/subjects/rex/datasets",
    "/subjects/rex/train",
    "/subjects/rex/erase",
    "/create",
    "/gallery",
    "/jobs",
    "/loras",
    "/loras/rex@v1",
    "/costs",
    "/settings",
    "/accounts",
    "/system",
    "/settings/tokens",
    "/settings/users",
    "/settings/webhooks",
    "/api",
    "/styleguide",
)


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("plain") / "home", environment={"LIMNER_START_WORKER": "false"}).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def studio(idle: Server) -> Iterator[Studio]:
    with Studio(settings=Settings(home=idle.home, start_worker=False)) as made:
        made.subjects.add("rex", name="Rex", kind="pet", class_word="dog", trigger="rex_dog")
        for number in range(6):
            keep(made, "rex", number, 512, 512)
        lora = add_lora(made, "rex")
        add_generation(made, "plain", prompt="a photo of rex_dog on the beach", count=3, subjects=["rex"], loras=[lora])
        yield made


@pytest.fixture
def it(browser: Browser, idle: Server, studio: Studio) -> Iterator[Tab]:
    with tab(browser, idle.url, LOOKS[2], scripts=False, allowed=("status of 422",)) as made:
        yield made
        made.quiet()


def reads(it: Tab, path: str) -> str:
    """The page's words; what only a script would fill or open is not counted."""
    page = it.go(path)
    assert page.locator("h1:visible").count() == 1, path
    for element in page.locator(".needs-js:visible").all():
        raise AssertionError(f"{path} shows what a script is needed for: {element.text_content()}")
    dead_ones = [] if path == "/styleguide" else page.locator("main button[type=button]:visible").all()
    for dead in dead_ones:
        raise AssertionError(f"{path} has a button that does nothing: {dead.text_content()}")
    for spinning in page.locator("main form:visible").all():
        assert spinning.get_attribute("action"), f"{path} has a form that goes nowhere"
    words = page.locator("main").inner_text()
    assert len(words) > 40, (path, words)
    return words


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_read(it: Tab, path: str) -> None:
    reads(it, path)


def test_pages_of_things_are_read(it: Tab, studio: Studio) -> None:
    photo = studio.photos.all("rex")[0]
    image = studio.generations.images("rex")[0]
    assert "Crop" in reads(it, f"/subjects/rex/photos/{photo.digest}")
    assert "on the beach" in reads(it, f"/images/{image.id}")
    assert "on the beach" in reads(it, "/generations/generation_plain")
    reads(it, f"/compare?a={image.id}&b={image.id - 1}")
    job = studio.train("rex")
    add_sample(studio, "rex", job.target, png(3), step=10)
    assert "Cancel" in reads(it, f"/trainings/{job.target}")
    assert "Waiting" in reads(it, f"/jobs/{job.id}")
    studio.cancel(job.id)


def test_a_subject_and_its_photos_by_plain_forms(it: Tab, studio: Studio, tmp_path: Path) -> None:
    page = it.go("/subjects/new")
    page.get_by_label("Name", exact=True).fill("Plain")
    page.locator('input[name="kind"][value="product"]').check(force=True)
    page.get_by_role("button", name="Add subject").click()
    page.wait_for_url("**/subjects/plain")
    files = []
    for number in range(3):
        files.append(tmp_path / f"photo-{number}.jpg")
        files[-1].write_bytes(encoded(picture(number, 200, 160), "JPEG"))
    page.locator("#f-photos").set_input_files([str(file) for file in files])
    page.get_by_role("button", name="Send the files").click()
    expect(page.locator("#notices")).to_contain_text("The photos are being taken in")
    (job,) = studio.jobs.all("plain")
    assert job.kind == "intake" and not job.state.ended
    # The same form with nothing chosen says so.
    page.get_by_role("button", name="Send the files").click()
    expect(page.locator("#notices")).to_contain_text("No file was chosen")


def test_captions_by_plain_forms(it: Tab, studio: Studio) -> None:
    page = it.go("/subjects/rex/photos")
    row = page.locator(".photo-row").nth(2)
    row.locator(".caption-text").fill("{trigger} by the sea")
    row.locator("form", has=page.locator(".caption-text")).get_by_role("button").first.click()
    page.wait_for_url(re.compile("/photos"))
    assert "{trigger} by the sea" in [photo.caption for photo in studio.photos.all("rex")]
    page.locator(".caption-text").first.fill("{triger}")
    page.locator(".photo-row").first.locator("form", has=page.locator(".caption-text")).get_by_role(
        "button"
    ).first.click()
    expect(page.locator(".caption-text").first).to_have_value("{triger}")
    expect(page.locator(".field-error").first).to_be_visible()


def test_a_training_is_started_and_cancelled_by_plain_forms(it: Tab, studio: Studio) -> None:
    page = it.go("/subjects/rex/train")
    page.get_by_role("button", name="Show the price again").click()
    expect(page.locator("#train-offer")).to_contain_text("Price")
    page.locator("#train-start").click()
    page.wait_for_url("**/trainings/training_*")
    job = next(one for one in studio.jobs.all("rex") if one.target == page.url.rpartition("/")[2])
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#notices")).to_contain_text("stops at its next safe point")
    assert studio.jobs.get(job.id).cancel_requested


def test_pictures_are_drawn_and_stopped_by_plain_forms(it: Tab, studio: Studio) -> None:
    page = it.go("/create?lora=rex@v1")
    page.locator("#f-prompt").fill("a plain {trigger}")
    page.locator('input[name="generator"][value="local"]').check(force=True)
    page.locator("#create-draw").click()
    page.wait_for_url("**/generations/generation_*")
    expect(page.locator("main")).to_contain_text("Look again")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#notices")).to_contain_text("Stopping")


def test_the_gallery_by_plain_forms(it: Tab, studio: Studio) -> None:
    page = it.go("/gallery")
    page.get_by_label("Words of the prompt").fill("nothing like it")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("main")).to_contain_text("No picture matches")
    page.get_by_role("link", name="Show all pictures").click()
    page.locator("main a[href^='/images/']").first.click()
    page.wait_for_url(re.compile(r"/images/\d+"))
    image = int(re.search(r"/images/(\d+)", page.url)[1])  # type: ignore[index]
    page.get_by_role("button", name=re.compile("favourite", re.I)).first.click()
    page.wait_for_load_state()
    assert next(one for one in studio.generations.images("rex") if one.id == image).favourite
    it.go("/gallery?favourite=1")
    boxes = page.locator('main input[name="image"]')
    expect(boxes).to_have_count(1)
    boxes.first.check()
    with page.expect_download() as zipped:
        page.get_by_role("button", name="Download").click()
    assert zipped.value.suggested_filename.endswith(".zip")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("h1")).to_contain_text(re.compile("delete", re.I))
    assert len(studio.generations.images("rex")) == 3, "it is asked first"
