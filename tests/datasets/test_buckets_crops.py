"""Buckets keep area, multiples and shape; crops have the bucket's shape and hold the subject."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.datasets.buckets import best_bucket, buckets, check_resolution
from limner.datasets.crops import check_crop, choose_crop, largest_crop, saliency
from limner.errors import InputRefused
from limner.types import Crop

from .frozen import subject_at

RESOLUTIONS = st.sampled_from([64, 96, 128, 192, 512, 768, 1024])
SIDES = st.integers(1, 5000)


@given(RESOLUTIONS)
def test_buckets_have_about_one_area_and_fit_the_transformer(resolution: int) -> None:
    found = buckets(resolution)
    area = resolution**2
    assert (resolution, resolution) in found
    assert len(set(found)) == len(found)
    for width, height in found:
        assert width % 16 == height % 16 == 0
        assert 0.8 * area <= width * height <= area
        assert max(width, height) <= 2 * min(width, height)
        assert (height, width) in found
    assert all(min(bucket) >= resolution - 64 for bucket in buckets(resolution, min_side=resolution - 64))


def test_known_buckets() -> None:
    assert buckets(64) == ((48, 80), (64, 64), (80, 48))
    assert best_bucket(4032, 3024, 1024) == (1184, 880)
    assert best_bucket(3024, 4032, 1024) == (880, 1184)
    assert best_bucket(1920, 1080, 512) == (672, 384)
    assert best_bucket(1000, 1001, 768) == (768, 768)
    assert best_bucket(10_000, 100, 512) == (704, 368)


@given(SIDES, SIDES, RESOLUTIONS)
def test_no_other_bucket_is_nearer_in_shape(width: int, height: int, resolution: int) -> None:
    def error(bucket: tuple[int, int]) -> Fraction:
        ratio = Fraction(width, height) / Fraction(*bucket)
        return max(ratio, 1 / ratio)

    best = best_bucket(width, height, resolution)
    assert error(best) == min(map(error, buckets(resolution)))
    assert best_bucket(height, width, resolution) == best[::-1]


def test_resolutions_that_no_base_has_are_refused_with_the_nearest() -> None:
    assert check_resolution(768, (512, 768, 1024)) == 768
    with pytest.raises(InputRefused) as refusal:
        check_resolution(1000, (512, 768, 1024))
    assert "1024" in refusal.value.remedy
    for resolution in (1000, 0, -16, 8):
        with pytest.raises(InputRefused):
            buckets(resolution)
    with pytest.raises(InputRefused):
        buckets(512, min_side=600)


@given(SIDES, SIDES, RESOLUTIONS)
def test_the_largest_crop_has_the_shape_and_touches_two_sides(width: int, height: int, resolution: int) -> None:
    bucket = best_bucket(width, height, resolution)
    across, down = largest_crop(width, height, bucket)
    assert 1 <= across <= width and 1 <= down <= height
    assert across == width or down == height
    # The free side is right to half a pixel, so nothing is distorted.
    wanted = Fraction(down * bucket[0], bucket[1]) if across < width else Fraction(across * bucket[1], bucket[0])
    other = across if across < width else down
    assert abs(wanted - other) <= Fraction(1, 2) or other in (1, width, height)


def no_photo() -> Any:
    raise AssertionError("the photo was opened without need")


@given(SIDES, SIDES, RESOLUTIONS, st.data())
def test_crops_around_faces_or_in_a_users_rectangle_stay_inside(
    width: int, height: int, resolution: int, data: st.DataObject
) -> None:
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = Crop(left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top)))
    bucket = best_bucket(width, height, resolution)
    over = choose_crop(width, height, bucket, load=no_photo, faces=[box])
    check_crop(over, width, height)
    assert (over.width, over.height) == largest_crop(width, height, bucket)
    chosen = choose_crop(width, height, best_bucket(box.width, box.height, resolution), load=no_photo, within=box)
    assert box.left <= chosen.left and chosen.left + chosen.width <= box.left + box.width
    assert box.top <= chosen.top and chosen.top + chosen.height <= box.top + box.height


def test_faces_that_fit_are_inside_the_crop_and_the_largest_wins() -> None:
    faces = [Crop(700, 50, 100, 100), Crop(820, 60, 80, 80)]
    crop = choose_crop(1000, 500, (512, 512), load=no_photo, faces=faces)
    assert crop.left <= 700 and crop.left + crop.width >= 900
    apart = [Crop(0, 50, 100, 100), Crop(880, 60, 120, 120)]
    crop = choose_crop(1000, 500, (512, 512), load=no_photo, faces=apart)
    assert crop == Crop(500, 0, 500, 500)


@pytest.mark.parametrize("middle", [60, 200, 300, 420, 540])
@pytest.mark.parametrize("sideways", [True, False])
def test_the_crop_holds_what_stands_out(middle: int, sideways: bool) -> None:
    width, height = (600, 240) if sideways else (240, 600)
    photo = subject_at(middle, 120, 600, 240) if sideways else subject_at(120, middle, 240, 600)
    crop = choose_crop(width, height, (256, 256), load=lambda: photo)
    assert (crop.width, crop.height) == (240, 240)
    start = crop.left if sideways else crop.top
    assert start <= middle - 30 and middle + 30 <= start + 240
    assert crop == choose_crop(width, height, (256, 256), load=lambda: photo.copy_memory())


def test_a_picture_of_nothing_is_cropped_in_the_middle() -> None:
    import pyvips

    blank = (pyvips.Image.black(600, 200, bands=3) + 128).cast("uchar").copy(interpretation="srgb")
    crop = choose_crop(600, 200, (256, 256), load=lambda: blank)
    assert abs(crop.left - 200) <= 4
    assert saliency(blank).max() == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_the_tiniest_pictures_have_a_crop(size: tuple[int, int]) -> None:
    photo = subject_at(0, 0, *size, side=1)
    bucket = best_bucket(*size, 64)
    crop = choose_crop(*size, bucket, load=lambda: photo)
    assert check_crop(crop, *size) == crop


@pytest.mark.parametrize("crop", [Crop(-1, 0, 5, 5), Crop(0, 0, 11, 5), Crop(6, 0, 5, 5), Crop(0, 0, 0, 5)])
def test_crops_outside_of_the_photo_are_refused(crop: Crop) -> None:
    with pytest.raises(InputRefused, match="not inside"):
        check_crop(crop, 10, 10)
