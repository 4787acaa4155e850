"""The crop sheet is a picture that shows every photo, its crop and its caption."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.datasets import manifest
from limner.datasets.sheet import crop_sheet
from limner.errors import NotFound
from limner.types import Crop
from limner.typeset import ACCENT, PAPER

from .frozen import SUBJECT, Frozen, store, subject_at


def rgb(colour: str) -> np.ndarray:
    return np.array(list(bytes.fromhex(colour[1:])))


def picture(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as sheet:
        assert sheet.format == "PNG"
        return sheet.convert("RGB")


def test_the_sheet_is_the_same_each_time_and_grows_with_the_photos(dataset: Frozen) -> None:
    data = crop_sheet(dataset.manifest, dataset.path)
    assert data == crop_sheet(dataset.manifest, dataset.path)
    five = picture(data)
    four = picture(crop_sheet(replace(dataset.manifest, items=dataset.manifest.items[:4]), dataset.path))
    one = picture(crop_sheet(replace(dataset.manifest, items=dataset.manifest.items[:1]), dataset.path))
    assert five.width == four.width > one.width
    assert five.height > four.height == one.height
    none = picture(crop_sheet(replace(dataset.manifest, items=()), dataset.path))
    assert none.width == one.width and none.height < one.height


def test_the_crop_is_clear_and_the_rest_is_veiled(tmp_path: Path) -> None:
    photo = store(subject_at(200, 100, 300, 200), tmp_path, media_type="image/png")
    frozen, _ = manifest.freeze(
        SUBJECT,
        [photo],
        {},
        photo_path=tmp_path.joinpath,
        resolution=128,
        resolutions=(128,),
        crops={photo.digest: Crop(150, 0, 150, 200)},
        min_photos=1,
    )
    pixels = np.asarray(picture(crop_sheet(frozen, tmp_path.joinpath)))
    flat = pixels.reshape(-1, 3)
    grey = np.array([120, 125, 130])
    veiled = grey + (255 - grey) * 0.68
    clear, pale = (np.abs(flat - tone).max(axis=1) <= 2 for tone in (grey, veiled))
    # The crop is a half of the photo, and the chequered square takes a part of it.
    assert 10_000 < clear.sum() < 0.4 * 340 * 227
    assert 0.4 * 340 * 227 < pale.sum() < 0.6 * 340 * 227
    assert (np.abs(flat - rgb(ACCENT)).max(axis=1) <= 2).sum() > 1000


@pytest.mark.parametrize("caption", ["", "rex_dog", "word " * 700, "x" * 3000, "日本語 {[]} \u202e"])
def test_captions_stay_inside_their_cards(dataset: Frozen, caption: str) -> None:
    items = tuple(replace(item, caption=caption) for item in dataset.manifest.items)
    sheet = picture(crop_sheet(replace(dataset.manifest, items=items), dataset.path))
    assert sheet.size == picture(crop_sheet(dataset.manifest, dataset.path)).size
    pixels = np.asarray(sheet)
    paper = rgb(PAPER)
    # The margins and the gap between two cards hold nothing.
    assert (pixels[:, :40] == paper).all() and (pixels[:, -40:] == paper).all() and (pixels[-40:] == paper).all()
    gap = 56 + 340 + 28 + 4
    assert (pixels[160:, gap : gap + 16] == paper).all()


def test_a_lost_photo_leaves_an_empty_place(dataset: Frozen, tmp_path: Path) -> None:
    whole = crop_sheet(dataset.manifest, dataset.path)
    lost = dataset.manifest.items[2].photo
    data = crop_sheet(dataset.manifest, lambda digest: tmp_path / digest if digest == lost else dataset.path(digest))
    assert picture(data).size == picture(whole).size and data != whole

    def path(digest: str) -> Path:
        # As the store says it.
        if digest == lost:
            raise NotFound(f"The blob {digest} is missing.")
        return dataset.path(digest)

    assert crop_sheet(dataset.manifest, path) == data


def test_a_large_dataset_is_cut_to_a_sheet_of_sane_size(dataset: Frozen) -> None:
    many = replace(dataset.manifest, items=dataset.manifest.items * 40)
    sheet = picture(crop_sheet(many, Path("nowhere").joinpath))
    assert sheet.width < 3000 and sheet.height < 12_000
