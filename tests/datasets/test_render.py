"""Rendered pictures have the bucket's size and the crop's content, and the trainer's folder is whole or absent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvips
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limner.datasets.render import open_photo, render, write_rendered
from limner.errors import StorageFailed
from limner.types import Crop, DatasetItem

from .frozen import Frozen, store, subject_at


@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from([(16, 16), (48, 80), (80, 48)]), st.data())
def test_a_rendered_picture_has_the_buckets_size(
    width: int, height: int, bucket: tuple[int, int], data: st.DataObject
) -> None:
    import tempfile

    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    crop = Crop(left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top)))
    with tempfile.TemporaryDirectory() as place:
        photo = store(subject_at(10, 10, width, height, side=4), Path(place), media_type="image/png")
        item = DatasetItem(photo.digest, photo.media_type, width, height, "x", crop, bucket)
        pixels = render(item, Path(place).joinpath)
    assert pixels.shape == (bucket[1], bucket[0], 3) and pixels.dtype == np.uint8


def test_the_rendered_picture_is_the_crop(tmp_path: Path) -> None:
    photo = store(subject_at(200, 60, 300, 120, side=60), tmp_path, media_type="image/png")
    item = DatasetItem(photo.digest, photo.media_type, 300, 120, "x", Crop(170, 30, 60, 60), (60, 60))
    with Image.open(tmp_path / photo.digest) as whole:
        expected = np.asarray(whole)[30:90, 170:230]
    assert np.array_equal(render(item, tmp_path.joinpath), expected)


def test_a_reduced_picture_is_near_pillows(dataset: Frozen) -> None:
    item = dataset.manifest.items[0]
    crop = item.crop
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    with Image.open(dataset.path(item.photo)) as photo:
        expected = photo.convert("RGB").resize(item.bucket, Image.Resampling.LANCZOS, box)
    difference = render(item, dataset.path).astype(int) - np.asarray(expected)
    assert np.sqrt(np.mean(difference**2)) < 4


def test_grey_and_alpha_become_three_bands(tmp_path: Path) -> None:
    grey = (pyvips.Image.black(40, 30) + 90).cast("uchar")
    (tmp_path / "grey").write_bytes(grey.pngsave_buffer())
    (tmp_path / "alpha").write_bytes(grey.bandjoin([grey, grey, grey * 0]).cast("uchar").pngsave_buffer())
    assert open_photo(tmp_path / "grey", 40, 30).numpy().tolist()[0][0] == [90, 90, 90]
    assert open_photo(tmp_path / "alpha", 40, 30).numpy().tolist()[0][0] == [255, 255, 255]


def test_a_lost_damaged_or_changed_photo_is_named(dataset: Frozen, tmp_path: Path) -> None:
    whole = dataset.path(dataset.manifest.items[0].photo).read_bytes()
    for name, data in [("cut", whole[: len(whole) // 2]), ("empty", b""), ("text", b"hello")]:
        (tmp_path / name).write_bytes(data)
    for name in ("cut", "empty", "text", "missing"):
        with pytest.raises(StorageFailed, match=name):
            open_photo(tmp_path / name, 400, 400)
    with pytest.raises(StorageFailed, match="pixels"):
        open_photo(dataset.path(dataset.manifest.items[0].photo), 1, 1)


def test_the_trainers_folder_says_what_it_holds(dataset: Frozen, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "dataset"
    written = write_rendered(dataset.manifest, dataset.path, folder)
    lines = [json.loads(line) for line in (folder / "dataset.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [folder / line["file"] for line in lines] == [path for path, _ in written]
    assert [line["file"] for line in lines] == [f"{n:04d}.png" for n in range(5)]
    for line, item, (path, caption) in zip(lines, dataset.manifest.items, written, strict=True):
        assert line["caption"] == caption == item.caption
        assert line["photo"] == item.photo
        with Image.open(path) as picture:
            assert picture.size == (line["width"], line["height"]) == item.bucket
            assert picture.mode == "RGB" and set(picture.info) <= {"dpi"}
            assert np.array_equal(np.asarray(picture), render(item, dataset.path))
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*(line["file"] for line in lines), "dataset.jsonl"]
    )


def test_writing_again_replaces_what_a_crash_left_and_gives_the_same_bytes(dataset: Frozen, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    write_rendered(dataset.manifest, dataset.path, folder)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "0000.png").write_bytes(b"half")
    (folder / "9999.png").write_bytes(b"stray")
    write_rendered(dataset.manifest, dataset.path, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert list(tmp_path.iterdir()) == [folder]


def test_a_lost_photo_leaves_no_folder(dataset: Frozen, tmp_path: Path) -> None:
    lost = replace(dataset.manifest.items[-1], photo="f" * 64)
    broken = replace(dataset.manifest, items=(*dataset.manifest.items[:-1], lost))
    with pytest.raises(StorageFailed):
        write_rendered(broken, dataset.path, tmp_path / "dataset")
    assert not list(tmp_path.iterdir())
