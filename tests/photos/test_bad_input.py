"""One bad file is refused in plain words, and the good ones around it are taken in."""

from __future__ import annotations

import struct
import tempfile
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.photos import IntakeLimits, find_sources, take_in
from limner.types import Verdict
from tests.photos.making import codes, encoded, picture, take, take_bytes


def png_of(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG whose header says that size, whatever pixels follow."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_an_empty_file(tmp_path: Path) -> None:
    result = take_bytes(b"", tmp_path)
    assert codes(result) == ["empty-file"] and result.photo is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_file_that_is_cut_off(kind: str, share: float, tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    data = encoded(picture(1, 160, 120), kind)
    result = take_bytes(data[: int(len(data) * share)], tmp_path)
    assert result.report.verdict is Verdict.REFUSED and result.photo is None
    assert codes(result)[0] in ("truncated", "unreadable")
    if kind in ("JPEG", "PNG"):
        assert codes(result) == ["truncated"] and "cut off" in result.report.reason


def test_a_cut_off_jpeg_that_would_be_halved(tmp_path: Path) -> None:
    data = encoded(picture(1, 400, 300).resize((3200, 2400)), "JPEG")
    assert codes(take_bytes(data[: len(data) * 9 // 10], tmp_path)) == ["truncated"]


def test_text_renamed_to_jpg(tmp_path: Path) -> None:
    result = take_bytes(b"Dear diary,\nthis is no picture.\n", tmp_path, "diary.jpg")
    assert codes(result) == ["not-a-photo"] and "text" in result.report.reason


@pytest.mark.parametrize("size", [(1, 1), (63, 500), (2000, 8)])
def test_a_tiny_picture(size: tuple[int, int], tmp_path: Path) -> None:
    result = take_bytes(encoded(Image.new("RGB", size)), tmp_path)
    assert codes(result) == ["too-small"] and f"{size[0]} × {size[1]}" in result.report.reason


def test_a_picture_below_training_size_is_warned_of(tmp_path: Path) -> None:
    result = take_bytes(encoded(picture(1, 300, 400)), tmp_path)
    assert result.report.verdict is Verdict.WARNED and codes(result) == ["small"]
    assert take_bytes(encoded(picture(1, 512, 512)), tmp_path).report.verdict is Verdict.ACCEPTED


def test_a_pixel_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    take_bytes(encoded(picture(1)), tmp_path)
    bomb = png_of(30_000, 30_000, zlib.compress(bytes(1_000_000)))
    tracemalloc.start()
    result = take_bytes(bomb, tmp_path, "bomb.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert codes(result) == ["too-many-pixels"] and "30,000 × 30,000" in result.report.reason
    assert peak < 10_000_000


def test_the_limit_of_pixels_can_be_set(tmp_path: Path) -> None:
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "AVIF", "HEIF"):
        result = take_bytes(encoded(picture(1, 100, 90), kind), tmp_path, limits=IntakeLimits(max_pixels=8000))
        assert codes(result) == ["too-many-pixels"], kind


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    result = take_bytes(encoded(picture(1)), tmp_path, limits=IntakeLimits(max_file_bytes=1000))
    assert codes(result) == ["file-too-large"]


def test_one_bad_file_never_stops_the_others(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        (photos / f"{number}-good.png").write_bytes(encoded(picture(number)))
        (photos / f"{number}-bad.jpg").write_bytes(b"\xff\xd8\xff" + bytes(number * 50))
    (photos / "5.jpg").symlink_to("nowhere.jpg")
    results = take(photos, tmp_path / "work")
    good = [result for result in results if result.photo]
    assert [Path(result.report.source).name for result in good] == [f"{number}-good.png" for number in range(4)]
    assert len(results) == 9 and all(result.report.reason for result in results if result not in good)
    assert list((tmp_path / "work").iterdir()) == []


def test_every_refusal_says_what_to_do(tmp_path: Path) -> None:
    for data in (b"", b"text", b"\xff\xd8\xff", encoded(Image.new("RGB", (1, 1))), png_of(30_000, 30_000)):
        result = take_bytes(data, tmp_path)
        assert result.report.verdict is Verdict.REFUSED
        assert all(finding.remedy and finding.message.endswith(".") for finding in result.report.findings)


MAGIC = [
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"II*\0\x08\0\0\0",
    b"\0\0\0\x18ftypavif\0\0\0\0avifmif1",
    b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
    b"",
]


@given(st.sampled_from(MAGIC), st.binary(max_size=400))
@settings(max_examples=50, deadline=None)
def test_random_bytes_never_crash(start: bytes, rest: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        result = take_bytes(start + rest, Path(folder))
        assert result.report.verdict is Verdict.REFUSED and result.report.findings


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    import pillow_heif

    pillow_heif.register_heif_opener()
    kinds = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF")
    return [encoded(picture(1, 80, 72), kind) for kind in kinds]


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_damaged_files_never_crash(files: list[bytes], data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(files)))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=8)):
        damaged[at] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        result = take_bytes(bytes(damaged), Path(folder))
        assert result.photo is not None or result.report.verdict is Verdict.REFUSED


def test_many_cut_files_at_once_are_all_said_to_be_cut(tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    for number in range(60):
        data = encoded(picture(number, 320, 240), "JPEG")
        (folder / f"{number:02}.jpg").write_bytes(data[: len(data) * 2 // 3])
    workdir = tmp_path / "work"
    workdir.mkdir()
    limits = IntakeLimits()
    results = list(take_in(find_sources([folder], workdir, limits), limits=limits, threads=8))
    assert {codes(result)[0] for result in results} == {"truncated"}
