"""Whatever is dropped: each thing is told of, and nothing runs."""

from __future__ import annotations

import io
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
    studio.subjects.add(slug, name=slug.title(), kind="pet", class_word="dog", trigger=f"{slug}_dog")


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
        "page.jpg": (HTML, "Its content is a web page"),
        "drawing.svg": (SVG, "an SVG drawing"),
        "drawing.png": (SVG, "an SVG drawing"),
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
        "bomb.zip": (zipped({"bomb.jpg": bytes(400_000_000)}), "would unpack to 400 MB"),
        "nested.zip": (zipped({"inner.zip": zipped({"deep.jpg": jpeg(11)})}), "A zip inside a zip"),
        "none.zip": (zipped({"readme.md": b"nothing here"}), "holds no photo"),
        "broken.zip": (zipped({"a.jpg": jpeg(12)})[:400], "cannot be read"),
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
        assert files[name][1] and any(files[name][1] in words for words in mine), (name, mine)
        assert all(len(words.split("Refused", 1)[1].strip()) > 30 for words in mine), f"no reason: {mine}"
    slipped = [words for name, words in said.items() if name.startswith("slip.zip/")]
    assert len(slipped) == 2 and all("leads out of the folder" in words for words in slipped), slipped
    taken = {photo.source: photo for photo in studio.photos.all("rex")}
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
    taken = studio.photos.all("odd")
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


def test_files_that_are_dropped_by_a_script_are_taken_in(it: Tab, studio: Studio) -> None:
    """As a drag from another page gives them: files without entries of a file system."""
    pet(studio, "handed")
    page = it.go("/subjects/handed")
    files = {f"{number}.jpg": list(jpeg(20 + number)) for number in range(3)} | {".DS_Store": [0]}
    transfer = page.evaluate_handle(
        """(files) => {
          const transfer = new DataTransfer();
          for (const [name, bytes] of Object.entries(files)) {
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/jpeg' }));
          }
          return transfer;
        }""",
        files,
    )
    page.dispatch_event("[data-drop]", "drop", {"dataTransfer": transfer})
    expect(page.locator("#h-report")).to_be_visible(timeout=WORK)
    assert sorted(photo.source for photo in studio.photos.all("handed")) == ["0.jpg", "1.jpg", "2.jpg"]


def folder_of_photos(above: Path, first: int) -> Path:
    """Photos in a folder and in one inside it, and what a Mac leaves beside them."""
    folder = above / "holiday"
    (folder / "sea").mkdir(parents=True)
    (folder / "town.jpg").write_bytes(jpeg(first))
    (folder / "sea" / "shore.jpg").write_bytes(jpeg(first + 1))
    (folder / "sea" / ".DS_Store").write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "town.jpg").write_bytes(b"x")
    return folder


def test_files_and_a_folder_dragged_from_the_desktop(it: Tab, studio: Studio, tmp_path: Path) -> None:
    pet(studio, "dragged")
    page = it.go("/subjects/dragged")
    folder = folder_of_photos(tmp_path, 30)
    loose = tmp_path / "loose.jpg"
    loose.write_bytes(jpeg(32))
    box = page.locator("[data-drop]").bounding_box()
    assert box is not None
    devtools = page.context.new_cdp_session(page)
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(loose), str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})
    expect(page.locator("#h-report")).to_be_visible(timeout=WORK)
    taken = sorted(photo.source for photo in studio.photos.all("dragged"))
    assert taken == ["holiday/sea/shore.jpg", "holiday/town.jpg", "loose.jpg"]


def test_a_folder_that_is_chosen(it: Tab, studio: Studio, tmp_path: Path) -> None:
    pet(studio, "chosen")
    page = it.go("/subjects/chosen")
    page.locator("input[type=file][webkitdirectory]").set_input_files(str(folder_of_photos(tmp_path, 40)))
    expect(page.locator("#h-report")).to_be_visible(timeout=WORK)
    taken = sorted(photo.source for photo in studio.photos.all("chosen"))
    assert taken == ["holiday/sea/shore.jpg", "holiday/town.jpg"]
