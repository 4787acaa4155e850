"""The contact sheet: one PNG whatever is missing."""

from __future__ import annotations

import io
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.demo.sheet import WIDTH, SheetPicture, SheetSubject, contact_sheet
from limner.typeset import elided, text_width, wrapped

WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=200)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def test_a_sheet_of_two_subjects_shows_every_picture(tmp_path: Path) -> None:
    colours = ["#ff0000", "#00ff00", "#0000ff", "#ff00ff"]
    own = [SheetPicture(Image.new("RGB", (64, 64), colour), f"prompt {colour}") for colour in colours]
    photo = tmp_path / "photo.png"
    Image.new("RGBA", (90, 60), (0, 255, 255, 255)).save(photo)
    subject = SheetSubject("Somebody", [SheetPicture(photo, "a photo")], own, own, [(1, 1.0), (2, 0.5)], [("train", 3)])
    sheet = opened(contact_sheet("Title", [subject, subject], subtitle="below", footer="foot"))
    assert sheet.width == WIDTH
    seen = set(sheet.get_flattened_data())
    for colour in [*colours, "#00ffff"]:
        assert tuple(bytes.fromhex(colour[1:])) in seen


def test_what_is_missing_leaves_a_gap_not_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    lost = [SheetPicture(broken), SheetPicture(tmp_path / "absent.png", "gone")]
    sheet = opened(contact_sheet("T", [SheetSubject("S", lost, [], lost), SheetSubject("Empty", [], [], [])]))
    assert sheet.width == WIDTH


@settings(max_examples=25, deadline=None)
@given(WORDS, st.integers(40, 600), st.integers(1, 4))
def test_text_fits_its_place(text: str, width: int, lines: int) -> None:
    assert text_width(elided(text, 18, width), 18) <= max(width, text_width("…", 18))
    found = wrapped(text, 18, width, lines)
    assert len(found) <= lines
    assert all(text_width(line, 18) <= max(width, text_width("…", 18)) for line in found)
