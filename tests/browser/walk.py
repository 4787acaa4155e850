"""The whole pipeline as a person walks it: photos, training, pick, publish, pictures, gallery, erase."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect

from .chromium import Look, Tab, other_scheme, tab
from .server import Server

__all__ = [
    "PHOTOS",
    "add_subject",
    "begin_training",
    "choose_trainer",
    "create",
    "drop",
    "erase",
    "from_photos_to_pictures_and_away",
    "gallery",
    "in_other_colours",
    "look_around",
    "pick",
    "publish",
    "train",
]

PHOTOS = sorted(Path(str(files("limner.demo"))).glob("character/*.png"))
PROMPT = "a drawing of {trigger} {class_word} on the beach"
STEPS = int(os.environ.get("LIMNER_WALK_STEPS", "24"))
"""Training steps; more of them where the pictures of the pages are to be shown to people."""
WORK = 240_000 + 3_000 * STEPS
"""Milliseconds that a training or drawing may take on a busy machine."""


def from_photos_to_pictures_and_away(browser: Browser, server: Server, look: Look) -> None:
    """The whole way, and its pages once more in the other scheme, before all is erased."""
    with tab(browser, server.url, look) as it:
        slug = add_subject(it)
        drop(it, slug, PHOTOS)
        training = train(it, slug)
        pick(it, training, STEPS // 3 * 2)
        publish(it, f"{slug}@v2", "folder")
        generation = create(it, {f"{slug}@v1": "0.5", f"{slug}@v2": "0.6"})
        gallery(it, 2)
        look_around(it, slug)
        with tab(browser, server.url, other_scheme(look)) as second:
            in_other_colours(second, slug, training, generation)
        erase(it, slug)


def add_subject(tab: Tab, name: str = "Zibbo") -> str:
    """From the empty first page to the subject's page; gives its slug."""
    page = tab.go("/")
    tab.sound("home-empty")
    page.get_by_role("link", name=re.compile("new subject|first subject", re.I)).first.click()
    page.get_by_label("Name", exact=True).fill(name)
    page.locator('input[name="kind"][value="character"]').check(force=True)
    tab.sound("subject-new")
    page.locator("main form button[type=submit]").last.click()
    page.wait_for_url(re.compile(r"/subjects/(?!new$)[a-z0-9-]+$"))
    tab.sound("subject-empty")
    return page.url.rpartition("/")[2]


def drop(tab: Tab, slug: str, photos: list[Path]) -> None:
    """Give photos to the drop zone and wait for the report of each."""
    page = tab.go(f"/subjects/{slug}")
    page.locator("#f-photos").set_input_files([str(photo) for photo in photos])
    expect(page.get_by_role("heading", name=re.compile(rf"^{len(photos)} photos"))).to_be_visible(timeout=WORK)
    page.reload()
    tab.sound("subject")
    tab.go(f"/subjects/{slug}/photos")
    tab.sound("photos")
    page.locator(f'main a[href^="/subjects/{slug}/photos/"]').first.click()
    page.wait_for_url(re.compile(r"/photos/[0-9a-f]{64}"))
    tab.sound("photo")


def train(tab: Tab, slug: str, *, steps: int = 24, trainer: str = "local") -> str:
    """Train and watch it; on this machine with samples and checkpoints on the way. Gives the training's id."""
    training, page = begin_training(tab, slug, steps=steps, trainer=trainer), tab.page
    if trainer == "local":
        # The first sample is there while the training goes on: nothing was reloaded.
        page.locator('main img[src^="/samples/"]').first.wait_for(timeout=WORK)
        assert page.get_by_role("button", name=re.compile("cancel", re.I)).count(), "no sample came before the end"
    tab.sound("training-live")
    expect(page.get_by_role("heading", level=1, name=re.compile("^Trained", re.I))).to_be_visible(timeout=WORK)
    page.reload()
    tab.sound("training")
    return training


def begin_training(tab: Tab, slug: str, *, steps: int, trainer: str = "local") -> str:
    """Fill the form in and start; three samples and checkpoints on this machine. Gives the training's id."""
    page = tab.go(f"/subjects/{slug}/train")
    choose_trainer(tab, trainer)
    tab.sound("train")
    more = page.locator("details", has=page.locator("#f-r_steps")).first
    if more.get_attribute("open") is None:
        more.locator("summary").first.click()
    page.locator("#f-r_steps").fill(str(steps))
    if trainer == "local":
        for field in ("#f-r_checkpoint_every", "#f-r_sample_every"):
            page.locator(field).fill(str(steps // 3))
    page.locator("#f-prompts").fill(PROMPT)
    # A yes is to a sum, so it is given once the sum is that of these steps.
    expect(_offered(page, "Steps")).to_have_text(f"{steps:,}")
    if page.locator("#train-offer input[name=yes]").count():
        page.locator("#train-offer input[name=yes]").check()
    page.locator("#train-start").click()
    page.wait_for_url(re.compile(r"/trainings/training_[0-9a-f]+$"))
    return page.url.rpartition("/")[2]


def choose_trainer(tab: Tab, trainer: str) -> None:
    """Choose a trainer's card, and wait until the offer beside it is for that one."""
    page = tab.page
    card = page.locator(f"#trainer-{trainer}")
    card.locator("input").check(force=True)
    title = card.locator(".strong").first.inner_text()
    expect(_offered(page, "Trainer")).to_have_text(title)


def _offered(page: Page, what: str) -> Locator:
    """A fact of the offer on the Train page."""
    return page.locator("#train-offer dt", has_text=re.compile(f"^{what}$")).locator("+ dd")


def pick(tab: Tab, training: str, step: int) -> None:
    """Compare two checkpoints by a vote, then pick one as a version of its own."""
    page = tab.go(f"/trainings/{training}/compare")
    page.locator("#f-scales").fill("1")
    page.locator("#f-steps").fill("2")
    page.locator("#f-prompts").fill(PROMPT)
    tab.sound("compare")
    page.locator("#compare button[type=submit]").last.click()
    page.wait_for_url(re.compile(r"/grids/grid_[0-9a-f]+"))
    grid = page.url
    cells = page.locator('main img[src^="/images/"]')
    expect(cells.nth(1)).to_be_visible(timeout=WORK)
    tab.sound("grid")
    page.goto(grid.split("?")[0] + "/vote")
    tab.sound("vote")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".vote-said")).to_contain_text("You chose")
    page.goto(grid.split("?")[0])
    expect(page.locator("main")).to_contain_text("1 vote")
    tab.go(f"/trainings/{training}")
    page.locator("form", has=page.locator(f'input[name="step"][value="{step}"]')).get_by_role("button").click()
    page.wait_for_url(re.compile(r"/loras/"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("v2")


def publish(tab: Tab, lora: str, hub: str, *, public: bool = False) -> None:
    """Publish a lora and see it there."""
    page = tab.go(f"/loras/{lora}")
    form = page.locator(f'form[action$="/loras/{lora}/publish"]')
    form.locator(f'input[name="hub"][value="{hub}"]').check(force=True)
    if public:
        form.locator('input[name="visibility"][value="public"]').check(force=True)
    form.get_by_role("button").last.click()
    page.wait_for_url(re.compile("/jobs/job_"))
    for _ in range(120):
        tab.go(f"/loras/{lora}")
        if page.locator(f'form[action$="/loras/{lora}/unpublish"]').count():
            break
        page.wait_for_timeout(500)
    else:
        raise AssertionError(f"{lora} was not published")
    tab.sound("lora")
    tab.go("/loras")
    tab.sound("loras")


def create(tab: Tab, loras: dict[str, str], *, generator: str = "local", count: int = 2) -> str:
    """Draw with several loras at their weights; wait for the pictures to stream in. Gives the generation's id."""
    page = tab.go("/create")
    page.locator("#f-prompt").fill(PROMPT)
    for name, scale in loras.items():
        box = page.locator(f'input[name="lora"][value="{name}"]')
        if not box.is_visible():
            page.get_by_role("button", name=re.compile("add a lora", re.I)).or_(
                page.get_by_text("Add a LoRA")
            ).first.click()
        box.check(force=True)
        page.locator(f'input[name="scale:{name}"]').fill(scale)
    page.locator("#f-count").fill(str(count))
    page.locator(f'input[name="generator"][value="{generator}"]').check(force=True)
    page.wait_for_timeout(600)
    yes = page.locator(f'input[name="yes"][value^="{generator}="]')
    if yes.count():
        yes.check()
    tab.sound("create")
    page.locator("#create-draw").click()
    page.wait_for_url(re.compile(r"generation_[0-9a-f]+"))
    found = re.search(r"generation_[0-9a-f]+", page.url)
    assert found is not None
    # They arrive on the page as it stands, whatever else it shows.
    arrived = page.locator(f'#results [data-generation="{found[0]}"] img[src^="/images/"]')
    expect(arrived).to_have_count(count, timeout=WORK)
    tab.go(f"/generations/{found[0]}")
    expect(page.locator('main img[src^="/images/"]')).to_have_count(count)
    tab.sound("generation")
    return found[0]


def gallery(tab: Tab, count: int) -> None:
    """Find the pictures, mark one, look at where it comes from."""
    page = tab.go("/gallery")
    tab.sound("gallery")
    shown = page.locator('main input[name="image"]')
    assert shown.count() >= count
    newest = shown.first.get_attribute("value")
    for words in ("in a submarine", "on the beach"):
        page.get_by_label("Words of the prompt").fill(words)
        page.get_by_role("button", name="Find").click()
        page.wait_for_url(re.compile(words.replace(" ", r"(\+|%20)")))
        if words == "in a submarine":
            expect(shown).to_have_count(0)
    expect(shown.nth(count - 1)).to_be_visible()
    page.locator("main a[href^='/images/']").first.click()
    expect(page.locator(".pswp--ui-visible")).to_be_visible()
    tab.sound("lightbox")
    tab.go(f"/images/{newest}")
    expect(page.get_by_text(re.compile("on the beach")).first).to_be_visible()
    page.get_by_role("button", name=re.compile("favourite", re.I)).first.click()
    page.wait_for_load_state()
    tab.sound("image")
    page.get_by_role("link", name=re.compile("use these settings", re.I)).first.click()
    expect(page.locator("#f-prompt")).to_have_value(re.compile("beach"))
    older = int(newest or "0") - 1
    tab.go(f"/compare?a={newest}&b={older}")
    tab.sound("compare-two")


def look_around(tab: Tab, slug: str) -> None:
    """The pages beside the way."""
    page = tab.go("/")
    tab.sound("home")
    tab.go("/jobs")
    tab.sound("jobs")
    page.locator('main a[href^="/jobs/job_"]').first.click()
    page.wait_for_url(re.compile("/jobs/job_"))
    tab.sound("job")
    for path in (
        "costs",
        "settings",
        "accounts",
        "system",
        "settings/tokens",
        "settings/users",
        "settings/webhooks",
        "api",
        "styleguide",
    ):
        tab.go(f"/{path}")
        tab.sound(path.replace("/", "-"))
    tab.go(f"/subjects/{slug}/datasets")
    tab.sound("datasets")
    tab.go(f"/subjects/{slug}/captions")
    tab.sound("captions")
    _asked_before_deleting(tab)
    _made_once(tab)


def _asked_before_deleting(tab: Tab) -> None:
    """The questions of gallery and picture, which are answered by no."""
    page = tab.go("/gallery")
    page.locator('main input[name="image"]').first.check(force=True)
    page.get_by_role("button", name="Delete").last.click()
    expect(page.locator("dialog#confirm")).to_be_visible()
    tab.sound("gallery-asks")
    page.keyboard.press("Escape")
    page.goto(f"{tab.base}{_first(tab, '/gallery', '/images/')}")
    page.get_by_role("button", name="Delete").last.click()
    expect(page.locator("dialog#confirm")).to_be_visible()
    tab.sound("image-asks")
    page.keyboard.press("Escape")


def _made_once(tab: Tab) -> None:
    """A token and a webhook as they are shown once. The webhook hears of nothing that happens in the walk."""
    page = tab.go("/settings/tokens")
    page.get_by_label("What it is for").fill("the walk")
    page.locator('form[action="/settings/tokens"] button[type=submit]').click()
    expect(page.locator("#new-token")).to_have_value(re.compile("^lim_"))
    tab.sound("token-made")
    page = tab.go("/settings/webhooks")
    page.locator('form[action="/settings/webhooks"] input[name="url"]').fill("https://1.1.1.1/limner")
    for event in page.locator('input[name="events"]').all():
        event.set_checked(event.get_attribute("value") == "job.cancelled", force=True)
    page.locator('form[action="/settings/webhooks"] button[type=submit]').click()
    expect(page.locator("main")).to_contain_text("is told from now on")
    tab.sound("webhook-made")


def _first(tab: Tab, path: str, link: str) -> str:
    """Where the first link of a page leads that begins so."""
    found = tab.go(path).locator(f'main a[href^="{link}"]').first.get_attribute("href")
    assert found is not None
    return found


def in_other_colours(tab: Tab, slug: str, training: str, generation: str) -> None:
    """The pages of the way once more, opened anew in a tab of the other scheme."""
    grid = _first(tab, "/grids", "/grids/grid_")[1:].partition("?")[0]
    pages = {
        "photo": _first(tab, f"/subjects/{slug}/photos", f"/subjects/{slug}/photos/")[1:],
        "erase": f"subjects/{slug}/erase",
        "compare": f"trainings/{training}/compare",
        "grid": grid,
        "vote": f"{grid}/vote",
        "image": _first(tab, "/gallery", "/images/")[1:],
        "generation": f"generations/{generation}",
        "job": _first(tab, "/jobs", "/jobs/job_")[1:],
        "tokens": "settings/tokens",
        "users": "settings/users",
        "webhooks": "settings/webhooks",
        "home": "",
        "subject": f"subjects/{slug}",
        "photos": f"subjects/{slug}/photos",
        "train": f"subjects/{slug}/train",
        "training": f"trainings/{training}",
        "lora": f"loras/{slug}@v2",
        "create": "create",
        "gallery": "gallery",
        "jobs": "jobs",
        "costs": "costs",
        "settings": "settings",
        "accounts": "accounts",
        "system": "system",
        "styleguide": "styleguide",
    }
    for name, path in pages.items():
        tab.go(f"/{path}")
        tab.sound(f"{name}-again")


def erase(tab: Tab, slug: str) -> None:
    """Erase the subject everywhere, read the report, find nothing left."""
    page = tab.go(f"/subjects/{slug}/erase")
    tab.sound("erase")
    page.locator("#f-typed").fill(slug)
    page.locator(f'form[action="/subjects/{slug}/erase"] button[type=submit]').click()
    expect(page.get_by_role("heading", level=1, name=re.compile("erased", re.I))).to_be_visible(timeout=WORK)
    tab.sound("erased")
    tab.go("/gallery")
    assert page.locator('main input[name="image"]').count() == 0
    tab.sound("gallery-empty")
