"""Whatever is dropped, typed or sent twice: each thing is told of, nothing runs, nothing is done twice."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from limner.settings import Settings
from limner.studio import Studio

from ..photos.making import encoded, picture
from ..photos.test_bad_input import png_of
from .chromium import LOOKS, Tab, tab
from .server import Server

WORK = 90_000
MARK = "globalThis.ran=1"
HTML = f"<!doctype html><html><body><script>{MARK}</script></body></html>".encode()
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{MARK}"><script>{MARK}</script></svg>'.encode()
CONSOLE = ("Failed to load resource",)
"""A refused form is answered by 422, which the browser's console tells of."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("bad") / "home").start()
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


def drop(page: Page, slug: str, files: dict[str, bytes]) -> None:
    """Give the drop zone files by their names, and wait until all is taken in."""
    payload: list[Any] = [
        {"name": name, "mimeType": "application/octet-stream", "buffer": data} for name, data in files.items()
    ]
    page.locator("#f-photos").set_input_files(payload)
    expect(page.locator("#h-report")).to_be_visible(timeout=WORK)


def jpeg(number: int, **options: Any) -> bytes:
    return encoded(picture(number), "JPEG", quality=92, **options)


def zipped(entries: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return sink.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(3, 640, 512), "JPEG", quality=92, exif=exif)


def heic() -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return encoded(picture(5), "HEIF", quality=90)


def animated() -> bytes:
    frames = [picture(number) for number in (20, 21, 22)]
    return encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=80)


def deep() -> bytes:
    import numpy as np

    values = np.asarray(picture(6).convert("L")).astype(np.uint16) * 257
    return encoded(Image.fromarray(values), "PNG")


def intake_list() -> dict[str, tuple[bytes, str]]:
    """Files by name, each with words that the report has to say of it; "" where nothing is to be said."""
    return {
        "empty.jpg": (b"", "empty"),
        "cut.jpg": (jpeg(1)[:9000], "cut off"),
        "diary.jpg": (b"Dear diary,\nthis is no picture.\n", "text"),
        "page.jpg": (HTML, ""),
        "drawing.svg": (SVG, ""),
        "drawing.png": (SVG, ""),
        "dot.png": (encoded(Image.new("RGB", (1, 1))), "1 × 1"),
        "huge.png": (png_of(30_000, 30_000, bytes(5000)), "30,000 × 30,000"),
        "wrong.png": (jpeg(2), ""),
        "print.jpg": (encoded(picture(4).convert("CMYK"), "JPEG", quality=95), ""),
        "deep.png": (deep(), ""),
        "phone.HEIC": (heic(), ""),
        "turned.jpg": (turned(), ""),
        "moving.webp": (animated(), ""),
        "twin-a.jpg": (jpeg(7), ""),
        "twin-b.jpg": (jpeg(7), "twin-a.jpg"),
        "slip.zip": (zipped({"../../../../slipped.jpg": jpeg(8), "/etc/slipped.jpg": jpeg(9), "ok.jpg": jpeg(10)}), ""),
        "bomb.zip": (zipped({"bomb.jpg": bytes(400_000_000)}), ""),
        "nested.zip": (zipped({"inner.zip": zipped({"deep.jpg": jpeg(11)})}), ""),
        "none.zip": (zipped({"readme.md": b"nothing here"}), ""),
        "broken.zip": (zipped({"a.jpg": jpeg(12)})[:400], ""),
    }


GOOD = ("wrong.png", "print.jpg", "deep.png", "phone.HEIC", "turned.jpg", "moving.webp", "twin-a.jpg")
BAD = (
    "empty.jpg",
    "cut.jpg",
    "diary.jpg",
    "page.jpg",
    "drawing.svg",
    "drawing.png",
    "dot.png",
    "huge.png",
    "twin-b.jpg",
    "bomb.zip",
    "nested.zip",
    "none.zip",
    "broken.zip",
)


def test_everything_that_can_be_wrong_dropped_at_once(it: Tab, served: Server, studio: Studio) -> None:
    pet(studio, "rex")
    files = intake_list()
    page = it.go("/subjects/rex")
    drop(page, "rex", {name: data for name, (data, _) in files.items()})
    page.goto(f"{served.url}/subjects/rex?report=all")
    said = {
        row.locator(".report-name").text_content() or "": row.locator(".report-words").text_content() or ""
        for row in page.locator(".report-row").all()
    }
    for name in BAD:
        mine = [words for shown, words in said.items() if shown == name or shown.startswith(f"{name}/")]
        assert mine, f"nothing is said of {name}: {sorted(said)}"
        assert all("Refused" in words for words in mine), mine
        assert any(files[name][1] in words for words in mine), (name, mine)
        assert all(len(words.split("Refused", 1)[1].strip()) > 30 for words in mine), f"no reason: {mine}"
    taken = {photo.source: photo for photo in studio.photos("rex")}
    for name in GOOD:
        assert name in taken, (name, said.get(name))
    assert (taken["turned.jpg"].width, taken["turned.jpg"].height) == (512, 640)
    assert {name for name in taken if name.startswith("slip.zip")} >= {"slip.zip/ok.jpg"}
    for photo in taken.values():
        answer = page.request.get(f"{served.url}/subjects/rex/photos/{photo.digest}/picture")
        assert answer.headers["content-type"] in ("image/jpeg", "image/png")
        assert answer.headers["x-content-type-options"] == "nosniff"
    outside = [path for path in (served.home.parent, Path("/etc"), Path("/tmp")) if (path / "slipped.jpg").exists()]
    assert not outside and not list(served.home.rglob("slipped.jpg"))
    it.sound("report-of-everything")


ATTACKS = (
    "../../../traversed.jpg",
    "up\\..\\..\\traversed.jpg",
    "<img src=x onerror=globalThis.ran=1>.jpg",
    '"><script>globalThis.ran=1</script>.jpg',
    "{{ 7 * 7 }}${7*7}.jpg",
    "x" * 300 + ".jpg",
    "\u202egpj.exe.jpg",
    "line\nbreak\r.jpg",
    "nul\x00byte.jpg",
    "عربي שלום 日本 🐶.jpg",
    "CON.jpg",
    "~root.jpg",
    "';drop table limner_photos;--.jpg",
)


def test_file_names_as_attacks_are_words(it: Tab, served: Server, studio: Studio) -> None:
    pet(studio, "odd")
    page = it.go("/subjects/odd")
    files = {name: encoded(picture(number, 200, 160), "PNG") for number, name in enumerate(ATTACKS)}
    drop(page, "odd", files)
    taken = studio.photos("odd")
    assert len(taken) == len(ATTACKS)
    for path in (
        "/subjects/odd?report=all",
        "/subjects/odd/photos",
        *(f"/subjects/odd/photos/{one.digest}" for one in taken),
    ):
        it.go(path)
        assert page.evaluate("globalThis.ran") is None, path
    page.goto(f"{served.url}/subjects/odd/photos")
    words = page.content()
    assert "&lt;img src=x onerror" in words and "<img src=x" not in words
    shown = " ".join(photo.source for photo in taken)
    assert shown.isprintable() and "\u202e" not in shown and "49" not in shown
    assert not list(served.home.parent.rglob("traversed*"))
    it.quiet()


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
          const form = new URLSearchParams(new FormData(document.querySelector('#create-form form, form#create-form, form[action="/create"]')));
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
    from ..pipeline.photos_kept import keep

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
