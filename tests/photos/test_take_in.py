"""Order, sameness on every run, few photos at once, duplicates, progress, a stop and a full disk."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from limner.errors import StorageFailed
from limner.photos import IntakeResult, KnownPhoto, Source, find_sources, intake, take_in
from limner.photos.quality.duplicates import Likeness, Rank, Seen
from limner.photos.reading import decoding
from limner.photos.reading.decoding import DecodingRoom
from limner.types import Progress, Verdict
from tests.photos.making import LIMITS, codes, corners, encoded, picture, take, take_bytes

pillow_heif.register_heif_opener()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten photos that differ; the first take longest, so that threads would end in another order."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        side = 900 if number < 2 else 96
        kind, suffix = (("JPEG", "jpg"), ("PNG", "png"))[number % 2]
        (folder / f"{number}.{suffix}").write_bytes(encoded(picture(number, side, side), kind))
    return folder


def digests(results: list[IntakeResult]) -> list[str]:
    return [result.photo.digest if result.photo else result.report.reason for result in results]


def test_results_come_in_order_and_are_the_same_for_any_number_of_threads(photos: Path, tmp_path: Path) -> None:
    runs = [take(photos, tmp_path / f"work-{threads}", threads=threads) for threads in (1, 2, 7)]
    assert [Path(result.report.source).stem for result in runs[0]] == [str(number) for number in range(10)]
    assert [result.report for result in runs[0]] == [result.report for result in runs[1]]
    assert digests(runs[0]) == digests(runs[1]) == digests(runs[2])
    assert len(set(digests(runs[0]))) == 10


def test_another_process_gives_the_same_digests(photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.photos.making import take;"
        "print(*[r.photo.digest for r in take(Path(sys.argv[1]), Path(sys.argv[2]), threads=2)])"
    )
    command = [sys.executable, "-c", code, str(photos), str(tmp_path / "other")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split() == digests(take(photos, tmp_path / "work"))


def test_the_digest_is_that_of_the_file(photos: Path, tmp_path: Path) -> None:
    import hashlib

    for result in take(photos, tmp_path / "work"):
        assert result.photo and result.file
        assert hashlib.sha256(result.file.read_bytes()).hexdigest() == result.photo.digest


def test_no_more_than_a_few_photos_are_under_way(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, now, most = threading.Lock(), 0, 0
    decode = decoding.decode

    def counted(*arguments: Any) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        try:
            return decode(*arguments)
        finally:
            with lock:
                now -= 1

    monkeypatch.setattr(decoding, "decode", counted)
    given: list[str] = []

    def watched() -> Iterator[Source]:
        for source in find_sources([photos], tmp_path, LIMITS):
            given.append(source.name)
            yield source

    threads = 2
    taken = take_in(watched(), workdir=tmp_path, limits=LIMITS, threads=threads)
    for number, _ in enumerate(taken, start=1):
        # Whoever is slow to fetch results holds up the reading of new photos.
        assert len(given) <= number - 1 + threads * intake.AHEAD
    assert 1 <= most <= threads and len(given) == 10


def test_large_pictures_wait_until_there_is_room() -> None:
    room, held, most = DecodingRoom(100), 0, 0
    lock = threading.Lock()

    def work(pixels: int) -> None:
        nonlocal held, most
        with room.hold(pixels):
            with lock:
                held += min(pixels, 100)
                most = max(most, held)
            time.sleep(0.005)
            with lock:
                held -= min(pixels, 100)

    threads = [threading.Thread(target=work, args=(pixels,)) for pixels in (60, 60, 30, 1000, 10, 100, 0, 60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert held == 0 and 60 <= most <= 100


def test_duplicates_are_found_across_formats_and_sizes(tmp_path: Path) -> None:
    original = picture(7, 560, 520)
    small = original.resize((280, 260), Image.Resampling.LANCZOS)
    copies = {
        "a.png": encoded(original),
        "b.jpg": encoded(original, "JPEG", quality=40),
        "c.webp": encoded(small, "WEBP", quality=60),
        "d.avif": encoded(small, "AVIF"),
        "e.heic": encoded(original, "HEIF"),
        "f.gif": encoded(small, "GIF"),
        "g.tif": encoded(original.resize((140, 130), Image.Resampling.BOX), "TIFF"),
        "h.png": encoded(original),
        "i.png": encoded(original.quantize(256)),
    }
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, data in copies.items():
        (folder / name).write_bytes(data)
    for threads in (1, 4):
        first, *others = take(folder, tmp_path / f"work-{threads}", threads=threads)
        assert first.report.verdict is Verdict.ACCEPTED
        assert [codes(other)[-1] for other in others] == ["duplicate"] * len(others)
        assert {other.report.duplicate_of for other in others} == {str(folder / "a.png")}
        assert len(list((tmp_path / f"work-{threads}").iterdir())) == 1


COPIES = {
    "thumb.jpg": lambda whole: encoded(whole.resize((150, 116)), "JPEG", quality=70),
    "small.png": lambda whole: encoded(whole.resize((300, 233))),
    "half.webp": lambda whole: encoded(whole.resize((225, 175)), "WEBP", quality=80),
    "whole.jpg": lambda whole: encoded(whole, "JPEG", quality=85),
    "whole.png": lambda whole: encoded(whole),
    "rough.jpg": lambda whole: encoded(whole, "JPEG", quality=40),
}


def test_of_equal_pictures_the_best_is_kept_in_whatever_order_they_come(tmp_path: Path) -> None:
    whole = picture(7, 450, 350)
    for name, data in COPIES.items():
        (tmp_path / name).write_bytes(data(whole))
    outcomes = set()
    for number, order in enumerate([*itertools.permutations(COPIES)][::79]):
        results = take([tmp_path / name for name in order], tmp_path / f"work-{number}")
        gone = {one.digest: one.report for result in results for one in result.outdone}
        kept = [result.photo for result in results if result.photo and result.photo.digest not in gone]
        assert [Path(photo.report.source).name for photo in kept] == ["whole.png"], order
        outcomes.add(kept[0].digest)
        reports = [gone.get(result.photo.digest) if result.photo else result.report for result in results]
        worse = [report for report in reports if report]
        assert len(worse) == len(COPIES) - 1
        assert all(report.verdict is Verdict.REFUSED and report.duplicate_of for report in worse)
        assert all(report.findings[-1].code == "duplicate" for report in worse)
    assert len(outcomes) == 1


def test_a_larger_copy_says_whose_place_it_takes(tmp_path: Path) -> None:
    for name in ("small.png", "whole.png"):
        (tmp_path / name).write_bytes(COPIES[name](picture(7, 450, 350)))
    first, second = take([tmp_path / "small.png", tmp_path / "whole.png"], tmp_path / "work")
    assert second.photo and codes(second)[-1] == "better-copy" and "300 × 233" in second.report.findings[-1].message
    (outdone,) = second.outdone
    assert first.photo and outdone.digest == first.photo.digest and outdone.report
    assert outdone.report.like == second.photo.digest and "450 × 350" in outdone.report.reason


@given(order=st.permutations(range(6)))
@settings(max_examples=40, deadline=None)
def test_who_is_kept_hangs_on_ranks_alone(order: list[int]) -> None:
    """Also where likeness does not carry over: each picture is the same as its neighbours only."""
    thumbs = [np.full((32, 32, 3), 4 * number, np.uint8) for number in range(6)]
    pixels_of = [3, 5, 2, 6, 1, 4]
    seen, kept = Seen(), set()
    for number in order:
        rank = Rank(pixels_of[number])
        match = seen.find(str(number), rank, 0, thumbs[number])
        repeated = match is not None and match.likeness is Likeness.SAME and not match.replaces
        seen.add(str(number), "", (1, 1), rank, 0, thumbs[number], kept=not repeated)
        kept -= set(match.replaces if match else ())
        kept |= set() if repeated else {str(number)}
    assert kept == {"1", "3", "5"}


def test_different_pictures_are_no_duplicates(tmp_path: Path) -> None:
    """Among them drawings on white that differ in small parts only, and flat ones."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        drawing = Image.new("RGB", (512, 512), "white")
        draw = ImageDraw.Draw(drawing)
        draw.ellipse((100, 100, 400, 420), fill=(90, 60, 200), outline="black", width=6)
        draw.ellipse((160, 200, 220, 280 - 25 * number), fill="white" if number % 2 else "black")
        draw.line((60 + 110 * number, 20, 250, 260), fill=(200, 40, 40), width=24)
        drawing.save(folder / f"drawing-{number}.png")
        (folder / f"photo-{number}.png").write_bytes(encoded(picture(50 + number, 200, 160)))
        Image.new("RGB", (512, 512), (60 * number, 30, 90)).save(folder / f"flat-{number}.png")
    assert all(result.photo for result in take(folder, tmp_path / "work"))


def test_much_alike_photos_are_warned_of(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(picture(3)))
    (folder / "b.png").write_bytes(encoded(ImageEnhance.Brightness(picture(3)).enhance(1.07)))
    first, second = take(folder, tmp_path / "work")
    assert first.report.verdict is Verdict.ACCEPTED
    assert second.report.verdict is Verdict.WARNED and codes(second) == ["near-duplicate"] and second.photo


def test_photos_that_the_subject_has_are_not_taken_again(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    first = take_bytes(encoded(picture(9), "JPEG"), tmp_path / "one")
    assert first.photo and first.file
    report = first.report
    same = KnownPhoto(first.photo.digest, report.perceptual_hash, "first.jpg")
    by_pixels = KnownPhoto("0" * 64, report.perceptual_hash, "first.jpg", first.file)
    by_hash = KnownPhoto("0" * 64, report.perceptual_hash, "first.jpg")
    for known in (same, by_pixels, by_hash):
        other = take_bytes(encoded(picture(9), "PNG"), tmp_path, known=[known])
        assert codes(other) == ["duplicate"] and other.report.duplicate_of == "first.jpg"
    for known in (by_pixels, by_hash, KnownPhoto("1" * 64, "", "x"), KnownPhoto("2" * 64, "zz", "x", Path("gone"))):
        assert take_bytes(encoded(picture(10)), tmp_path, known=[known]).photo


def test_a_larger_copy_takes_the_place_of_what_the_subject_has(tmp_path: Path) -> None:
    whole = picture(7, 450, 350)
    (tmp_path / "one").mkdir()
    small = take_bytes(COPIES["small.png"](whole), tmp_path / "one")
    assert small.photo and small.file
    had = KnownPhoto(small.photo.digest, small.report.perceptual_hash, "old.png", small.file, 300, 233)
    larger = take_bytes(COPIES["whole.jpg"](whole), tmp_path, known=[had])
    assert larger.photo and [one.digest for one in larger.outdone] == [had.digest] and larger.outdone[0].report is None
    # As large is no reason to change what is there, and neither is a size that nobody knows.
    for size in ((450, 350), (0, 0)):
        as_large = replace(had, width=size[0], height=size[1])
        assert codes(take_bytes(COPIES["whole.png"](whole), tmp_path, known=[as_large]))[-1] == "duplicate"
    frozen = take_bytes(COPIES["whole.png"](whole), tmp_path, known=[replace(had, frozen=True)])
    assert codes(frozen)[-1] == "duplicate" and "frozen" in frozen.report.reason
    assert "450 × 350" in frozen.report.reason and "remove" in frozen.report.findings[-1].remedy


def test_refused_photos_are_not_the_first_of_anything(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(picture(1))[:2000])
    (folder / "b.png").write_bytes(encoded(picture(1)))
    assert [bool(result.photo) for result in take(folder, tmp_path / "work")] == [False, True]


def test_progress_counts_up_to_the_total(photos: Path, tmp_path: Path) -> None:
    said: list[Progress] = []
    take(photos, tmp_path / "work", on_progress=said.append)
    assert [progress.done for progress in said] == list(range(1, 11))
    assert all(progress.total == 10 and progress.unit == "photos" and progress.rate for progress in said)
    assert said[-1].seconds_left == 0 and said[0].seconds_left


def test_a_stop_ends_it_and_leaves_only_what_was_given_out(photos: Path, tmp_path: Path) -> None:
    results: list[IntakeResult] = []
    work = tmp_path / "work"
    work.mkdir()
    taken = take_in(
        find_sources([photos], work, LIMITS),
        workdir=work,
        limits=LIMITS,
        threads=2,
        cancelled=lambda: len(results) >= 3,
    )
    for result in taken:
        results.append(result)  # noqa: PERF402, the stop looks at how many there are
    assert len(results) == 3
    assert sorted(work.iterdir()) == sorted(result.file for result in results if result.file)


def test_leaving_the_loop_early_leaves_no_files(photos: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    taken = take_in(find_sources([photos], work, LIMITS), workdir=work, limits=LIMITS, threads=3)
    first = next(taken)
    taken.close()  # type: ignore[attr-defined]
    assert list(work.iterdir()) == [first.file]


def test_a_full_disk_stops_it_after_all_that_was_good(photos: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    # /dev/full takes no byte, as a full disk.
    (work / "photo-000004.jpg").symlink_to("/dev/full")
    results = []
    with pytest.raises(StorageFailed, match="No space left") as failure:
        for result in take_in(find_sources([photos], work, LIMITS), workdir=work, limits=LIMITS, threads=3):
            results.append(result)  # noqa: PERF402, they are looked at after the failure
    assert failure.value.remedy and len(results) == 4 and all(result.photo for result in results)
    assert sorted(work.iterdir()) == [result.file for result in results]


def test_an_unforeseen_failure_refuses_one_photo_only(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = decoding.decode

    def failing(path: Path, *rest: Any) -> Any:
        if path.stem == "5":
            raise ZeroDivisionError
        return decode(path, *rest)

    monkeypatch.setattr(decoding, "decode", failing)
    results = take(photos, tmp_path / "work")
    assert [codes(result) for result in results if not result.photo] == [["unreadable"]]


class Detector:
    def __init__(self, answer: int) -> None:
        self.answer = answer

    def count(self, pixels: Any) -> int:
        assert pixels.shape == (512, 640, 3) and pixels.dtype == np.uint8
        return 10 // self.answer if self.answer == 0 else self.answer


def test_faces_are_counted_where_a_detector_is(tmp_path: Path) -> None:
    data = encoded(picture(1))
    assert take_bytes(data, tmp_path).report.faces is None
    one, two = (take_bytes(data, tmp_path, detector=Detector(number)) for number in (1, 2))
    assert one.report.faces == 1 and one.report.verdict is Verdict.ACCEPTED
    assert two.report.faces == 2 and codes(two) == ["several-faces"]
    broken = take_bytes(data, tmp_path, detector=Detector(0))
    assert broken.photo and broken.report.faces is None


class FindingDetector(Detector):
    def boxes(self, pixels: Any) -> list[tuple[float, float, float, float]]:
        height, width = pixels.shape[:2]
        return [(0, 0, 32, 32), (width / 4, height / 8, width / 2, height / 4)][: self.answer]


def test_the_largest_face_is_kept_where_a_detector_finds_faces(tmp_path: Path) -> None:
    data = encoded(picture(1))
    counted = take_bytes(data, tmp_path, detector=Detector(1)).report
    assert (counted.faces, counted.face) == (1, None)
    two = take_bytes(data, tmp_path, detector=FindingDetector(2)).report
    assert (two.faces, two.face) == (2, (0.25, 0.125, 0.5, 0.25))
    none = take_bytes(data, tmp_path, detector=FindingDetector(0)).report
    assert (none.faces, none.face) == (0, None)


def test_blur_and_light_are_noticed(tmp_path: Path) -> None:
    good = picture(1, 800, 600)
    assert codes(take_bytes(encoded(good), tmp_path)) == []
    blurred = take_bytes(encoded(good.filter(ImageFilter.GaussianBlur(6))), tmp_path)
    assert codes(blurred) == ["blurred"]
    # A sharp subject before a soft background is sharp.
    subject = good.filter(ImageFilter.GaussianBlur(6))
    subject.paste(corners(160, 96), (300, 200))
    assert codes(take_bytes(encoded(subject), tmp_path)) == []
    assert codes(take_bytes(encoded(ImageEnhance.Brightness(good).enhance(0.1)), tmp_path))[-1] == "dark"
    lost = np.asarray(good).copy()
    lost[150:450, 100:700] = 255
    assert codes(take_bytes(encoded(Image.fromarray(lost)), tmp_path)) == ["bright"]
    assert codes(take_bytes(encoded(Image.new("RGB", (600, 600), (90, 90, 90))), tmp_path)) == ["flat"]


def test_a_white_backdrop_is_not_too_bright(tmp_path: Path) -> None:
    drawing = Image.new("RGB", (512, 512), "white")
    ImageDraw.Draw(drawing).ellipse((150, 150, 350, 350), fill=(200, 60, 40), outline="black", width=5)
    result = take_bytes(encoded(drawing), tmp_path)
    assert result.report.verdict is Verdict.ACCEPTED and (result.report.clipped or 0) > 0.5


def test_numbers_of_the_report(tmp_path: Path) -> None:
    half = Image.new("RGB", (600, 600), "black")
    half.paste("white", (300, 0, 600, 600))
    report = take_bytes(encoded(half), tmp_path).report
    assert report.exposure == pytest.approx(0.5, abs=0.01) and report.clipped == pytest.approx(1.0, abs=0.03)
    assert len(report.perceptual_hash) == 16 and int(report.perceptual_hash, 16) >= 0
    sharp, soft = picture(1), picture(1).filter(ImageFilter.GaussianBlur(3))
    numbers = [take_bytes(encoded(image), tmp_path).report.sharpness or 0 for image in (sharp, soft)]
    assert numbers[0] > 4 * numbers[1] > 0


def test_importing_the_stage_loads_no_picture_library() -> None:
    code = "import sys, limner.photos; print(sorted({'pyvips', 'PIL', 'numpy', 'pillow_heif'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
