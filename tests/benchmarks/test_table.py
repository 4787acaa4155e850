"""The benchmark table: ratios point the right way, and what was not measured is not claimed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import browser_intake
import fan_out
import gallery
import intake
import table
import trainer

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
OURS = trainer.Figures(samples_a_second=30.0, processor_milliseconds=20.0, peak_megabytes=500, start_seconds=3)
PEER = trainer.Figures(samples_a_second=10.0, processor_milliseconds=50.0, peak_megabytes=1000, start_seconds=3)


def test_ratios_are_ours_to_the_peers() -> None:
    pair = trainer.Pair(4, OURS, {"as it is": PEER}, {"as it is": 3.0}, {"as it is": 2.5})
    (row,) = table.trainer_rows([pair])
    assert (row.speed, row.work, row.memory) == ("3.00 x", "2.50 x", "0.50 x")
    ours = intake.Run(photos_a_second=40.0, cpu_seconds=0.02, peak_megabytes=150, outcome="200 accepted")
    pillow = intake.Run(photos_a_second=10.0, cpu_seconds=0.1, peak_megabytes=300, outcome="200 saved")
    (row,) = table.intake_rows(intake.Comparison(200, 2, ours, pillow))
    assert (row.speed, row.work, row.memory) == ("4.00 x", "5.00 x", "0.50 x")
    assert "40.0 and 10.0 photos/s" in row.figures


def test_paired_runs_are_compared_run_by_run() -> None:
    slow = trainer.Figures(5.0, 40.0, 1000, 3)
    assert trainer.paired([PEER, slow], [OURS, OURS], "samples_a_second") == pytest.approx((3 + 6) / 2)
    assert trainer.middle([PEER, slow]).samples_a_second == pytest.approx(7.5)


def test_without_a_peer_no_ratio_is_given() -> None:
    (row,) = table.trainer_rows([trainer.Pair(4, OURS, {}, {}, {})])
    assert row.peer == "not measured"
    assert (row.speed, row.work, row.memory) == ("", "", "")
    lines = table.markdown([row]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len({len(line) for line in lines}) == 1


def test_the_fan_out_counts_what_is_dropped_and_paid_twice() -> None:
    result = fan_out.Result(
        count=200, rate=10, burst=10, elapsed=20.0, fastest=19.5, drawn=198, paid=201, paid_twice=2, refused=5
    )
    (row,) = table.fan_out_rows(result)
    assert row.speed == "0.97 x"
    assert "2 dropped, 2 paid twice" in row.figures


def test_the_browser_is_put_beside_the_bare_intake() -> None:
    (row,) = table.browser_rows(browser_intake.Comparison(500, 1600.0, 27.0, 36.0, 12.0))
    assert row.speed == "0.75 x"
    assert row.what.startswith("500 JPEGs of 3.2 MB")
    assert row.figures.startswith("13.9 and 18.5 photos/s")


def test_the_gallerys_ratio_is_that_of_the_percentiles() -> None:
    painted = (gallery.Painted("/", 1440, 0.4, 0.0), gallery.Painted("/gallery", 390, 0.6, 0.01))
    result = gallery.Result(
        images=20_000,
        users=20,
        hello=(0.02,) * 95 + (0.04,) * 5,
        gallery=(0.05,) * 90 + (0.08,) * 10,
        unseen=(0.2,) * 100,
        weight=76_000,
        training="running, step 40",
        painted=painted,
    )
    assert result.ratio == pytest.approx(0.08 / gallery.percentile(result.hello, 95))
    (row,) = table.gallery_rows(result)
    assert row.speed == f"{1 / result.ratio:.2f} x"
    assert "first paint 600 ms, layout shift 0.010" in row.figures
    assert result.within
    over = gallery.Painted("/create", 390, 1.2, 0.0)
    assert not over.within
    assert not replace(result, painted=(over,)).within
    assert not replace(result, gallery=(0.5,) * 100).within
    assert not replace(result, weight=150_000).within


def test_a_home_of_pictures_is_what_the_gallery_reads(tmp_path: Path) -> None:
    from gallery_home import make_home
    from limner.studio import Studio

    with Studio(settings=make_home(tmp_path / "home", 50)) as studio:
        page = studio.gallery.page(limit=60)
        assert page.total == len({image.digest for image in page.images}) == 50
        first = studio.gallery.picture(page.images[0].id)
        assert studio.gallery.thumbnail(first, 160).is_file()
        assert studio.gallery.choices().subjects == ("ann", "ink", "rex", "zibbo")


def test_a_small_fan_out_keeps_to_the_limit_and_loses_nothing() -> None:
    result = fan_out.measure(count=30, rate=20.0, burst=5, seconds=0.0)
    assert (result.drawn, result.paid, result.dropped, result.paid_twice) == (30, 30, 0, 0)
    assert result.elapsed >= result.fastest
    assert result.share > 0.3


def test_a_peer_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="checkout of diffusers"):
        trainer.measure(tmp_path)


@pytest.mark.parametrize("count", [3, 12])
def test_pictures_are_as_many_as_whole_batches_need(tmp_path: Path, count: int) -> None:
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for number in range(5):
        Image.effect_noise((90, 60), 40 + number).save(tmp_path / "photos" / f"{number}.jpg")
    pictures = trainer.render(tmp_path / "photos", tmp_path / "made", 32, count)
    assert len(pictures) == count
    assert all(Image.open(picture).size == (32, 32) for picture in pictures)
    assert len({picture.read_bytes() for picture in pictures}) == count


def test_help_says_how_to_give_the_peer() -> None:
    done = subprocess.run([sys.executable, str(BENCHMARKS / "table.py"), "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--peer" in done.stdout
    assert "--markdown" in done.stdout
