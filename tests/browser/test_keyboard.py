"""Without a pointer: every stop is seen, what opens closes again, and the focus is where one would look for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from limner.settings import Settings
from limner.studio import Studio
from tests.operations.loras_made import TRAINING, add_training, draw
from tests.operations.photos_kept import keep

from ..lora_rows import add_lora
from ..web.pictures_made import add_generation
from .chromium import LOOKS, Tab, tab
from .server import Server

STOPS = """async () => {
  const at = document.activeElement;
  if (!at || at === document.body) return null;
  const shown = at.matches('input[type=radio], input[type=checkbox], input[type=range], input[type=file]')
    ? at.closest('label') ?? at.parentElement : at;
  await Promise.allSettled(shown.getAnimations().map((one) => one.finished));
  const around = at.closest('.field, .choice, .shot, .train-card, .card');
  const parts = [at, shown, at.nextElementSibling, around].filter(Boolean);
  const ringed = parts.some((e) => ['', '::after'].some((part) => {
    const s = getComputedStyle(e, part || null);
    return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1;
  }));
  const box = shown.getBoundingClientRect();
  const words = at.getAttribute('aria-label') || at.textContent || at.name || '';
  const name = `${at.tagName} ${at.id} ${words.trim().slice(0, 40)}`;
  const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  // What the focus is on may not lie wholly below something that sticks.
  const bar = top?.closest('.topbar, .actions, .gallery-bar');
  const covered = bar && !bar.contains(at) && getComputedStyle(bar).position === 'sticky';
  globalThis.stops ??= new Map();
  const again = globalThis.stops.has(at);
  globalThis.stops.set(at, true);
  return { name, again, ringed, out: box.width === 0 && box.height === 0, covered: Boolean(covered),
           above: box.bottom < 0 || box.top > innerHeight };
}"""
MOST_STOPS = 90


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("keys") / "home", environment={"LIMNER_START_WORKER": "false"}).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def studio(idle: Server) -> Iterator[Studio]:
    with Studio(settings=Settings(home=idle.home, start_worker=False)) as made:
        made.subjects.add("rex", name="Rex", kind="pet", class_word="dog", trigger="rex_dog")
        for number in range(6):
            keep(made, "rex", number, 512, 512)
        lora = add_lora(made, "rex")
        add_generation(made, "keys", prompt="a photo of rex_dog", count=12, subjects=["rex"], loras=[lora])
        yield made


@pytest.fixture
def it(browser: Browser, idle: Server, studio: Studio) -> Iterator[Tab]:
    with tab(browser, idle.url, LOOKS[0]) as made:
        yield made
        made.quiet()


def through(page: Page) -> list[dict[str, object]]:
    """All stops of the tab key, until it leaves the page."""
    found = []
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        stop = page.evaluate(STOPS)
        if stop is None or stop["again"]:
            break
        found.append(stop)
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/subjects/new",
        "/subjects/rex",
        "/subjects/rex/photos",
        "/subjects/rex/train",
        "/create",
        "/gallery",
        "/jobs",
        "/loras/rex@v1",
        "/costs",
        "/settings",
        "/accounts",
        "/settings/tokens",
    ],
)
def test_every_stop_is_seen(it: Tab, path: str) -> None:
    page = it.go(path)
    page.wait_for_load_state("load")
    page.wait_for_timeout(300)
    page.evaluate("document.activeElement.blur()")
    stops = through(page)
    assert len(stops) > 8, stops
    wrong = [stop for stop in stops if stop["out"] or not stop["ringed"] or stop["covered"] or stop["above"]]
    assert not wrong, "\n".join(f"{one['name']}: {one}" for one in wrong)


def test_the_skip_link_is_first_and_leads_to_the_content(it: Tab) -> None:
    page = it.go("/gallery")
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('main').contains(document.activeElement)")


def test_a_menu_and_a_disclosure(it: Tab) -> None:
    page = it.go("/subjects/rex")
    summary = page.get_by_label("More for Rex")
    menu = page.locator("details.menu", has=summary)
    summary.focus()
    page.keyboard.press("Enter")
    expect(menu).to_have_attribute("open", "")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Erase the subject")).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).not_to_have_attribute("open", "")
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/erase")
    it.go("/subjects/rex/train")
    more = page.locator("#train-more summary").first
    more.focus()
    page.keyboard.press("Space")
    expect(page.locator("#f-r_steps")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.locator("#f-r_steps")).to_be_hidden()


def test_a_dialog_asks_and_is_left_by_escape(it: Tab, studio: Studio) -> None:
    page = it.go("/subjects/rex/photos")
    button = page.locator(".photo-remove").first
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#confirm")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("button", name="Keep it as it is")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.matches('body, #confirm *, #confirm')")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    assert len(studio.photos.all("rex")) == 6


def test_the_gallery_by_arrows_and_the_lightbox(it: Tab, studio: Studio) -> None:
    page = it.go("/gallery")
    page.locator(".shot a").first.focus()
    ids = [int(one.get_attribute("data-id") or 0) for one in page.locator(".shot").all()]

    def here() -> int:
        return int(page.evaluate("document.activeElement.closest('.shot')?.dataset.id ?? 0"))

    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert here() == ids[2]
    page.keyboard.press("ArrowLeft")
    assert here() == ids[1]
    page.keyboard.press("f")
    expect(page.locator(f'.shot[data-id="{ids[1]}"]')).to_have_attribute("data-favourite", "")
    page.keyboard.press("x")
    expect(page.locator(f'.shot[data-id="{ids[1]}"] input')).to_be_checked()
    page.keyboard.press("x")
    page.keyboard.press("Enter")
    viewer = page.locator(".pswp")
    expect(viewer).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(rf"#/image/{ids[2]}"))
    page.keyboard.press("Escape")
    expect(viewer).to_have_count(0)
    assert here() == ids[2], "the focus is on the picture that was looked at last"
    marked = [one.id for one in studio.generations.images("rex", limit=20) if one.favourite]
    assert marked == [ids[1]]


def test_votes_by_keys(it: Tab, studio: Studio) -> None:
    studio.subjects.add("zib", kind="character", name="Zib", trigger="zibbo")
    add_training(studio)
    page = it.go(f"/trainings/{TRAINING}/compare")
    page.locator("#f-scales").fill("1")
    page.locator("#f-steps").fill("1")
    page.locator("#f-prompts").fill("a photo of {trigger}")
    page.locator("#f-prompts").press("Tab")
    page.locator("#compare button[type=submit]").last.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/grids/grid_[0-9a-f]+"))
    grid = page.url.rpartition("/")[2].partition("?")[0]
    draw(studio, studio.grids.grid(grid))
    it.go(f"/grids/{grid}/vote")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#vote")).to_contain_text("1 vote")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#vote")).to_contain_text("1 skipped")
    page.keyboard.press("u")
    expect(page.locator("#vote")).to_contain_text("no votes")
    assert studio.grids.grid(grid).votes == 0


def test_a_subject_by_keys_alone(it: Tab, studio: Studio) -> None:
    page = it.go("/")
    page.get_by_role("link", name="New subject").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/subjects/new")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type("Keys")
    page.keyboard.press("Tab")
    expect(page.locator('input[name="kind"][value="person"]')).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator('input[name="kind"][value="pet"]')).to_be_checked()
    expect(page.locator("#names")).to_contain_text("keys")
    # What the page proposes meanwhile takes nothing away from who is typing.
    page.keyboard.press("Tab")
    page.keyboard.type("my-own-slug", delay=60)
    page.wait_for_timeout(900)
    page.keyboard.type("-2")
    expect(page.locator('input[name="slug"]')).to_have_value("my-own-slug-2")
    expect(page.locator('input[name="slug"]')).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/subjects/my-own-slug-2")
    assert studio.subjects.get("my-own-slug-2").kind.value == "pet"
