"""Every format comes out upright, in sRGB, flattened, and without a word about where it was taken."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin

from limner.photos.reading.formats import Format, is_lossless, sniff
from limner.photos.reading.refusals import Refusal
from limner.types import Severity, Verdict
from tests.photos.making import codes, corners, encoded, picture, pixels, take_bytes, wide_gamut_profile

pillow_heif.register_heif_opener()

FORMATS = {
    "JPEG": ("image/jpeg", 6),
    "PNG": ("image/png", 0),
    "WEBP": ("image/webp", 12),
    "AVIF": ("image/avif", 12),
    "HEIF": ("image/heic", 12),
    "TIFF": ("image/tiff", 0),
    "GIF": ("image/gif", 12),
}


def exif(orientation: int = 1, *, gps: bool = False) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    made[0x010F] = "SecretCamera"
    if gps:
        made.get_ifd(0x8825)[1] = "N"
        made.get_ifd(0x8825)[2] = (48.0, 51.0, 29.0)
    return made


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_keeps_its_picture(kind: str, tmp_path: Path) -> None:
    media_type, tolerance = FORMATS[kind]
    drawn = corners()
    options = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF", "HEIF") else {}
    # Content decides, so the name may lie, and capitals do no harm.
    result = take_bytes(encoded(drawn, kind, **options), tmp_path, "IMG.JPG")
    assert result.report.media_type == media_type
    assert result.photo is not None and (result.photo.width, result.photo.height) == drawn.size
    difference = np.abs(pixels(result) - np.asarray(drawn).astype(np.int16))
    assert np.median(difference) <= tolerance and difference.mean() <= tolerance
    lossless = kind in ("PNG", "TIFF", "GIF")
    assert result.photo.media_type == ("image/png" if lossless else "image/jpeg")
    assert result.photo.byte_size == result.file.stat().st_size  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    data = encoded(corners(), kind, exif=exif(orientation), **({"quality": 95} if kind == "JPEG" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")).astype(np.int16)
    result = take_bytes(data, tmp_path)
    stored = pixels(result)
    assert stored.shape == expected.shape and np.abs(stored - expected).mean() < 6
    assert (result.report.source_height, result.report.source_width) == expected.shape[:2]


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_orientation_of_avif_and_heic(kind: str, orientation: int, tmp_path: Path) -> None:
    data = encoded(corners(), kind, exif=exif(orientation), quality=95)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")).astype(np.int16)
    stored = pixels(take_bytes(data, tmp_path))
    assert stored.shape == expected.shape and np.abs(stored - expected).mean() < 6


@given(orientation=st.integers(1, 8), width=st.integers(64, 200), height=st.integers(64, 200))
@settings(max_examples=30, deadline=None)
def test_orientation_and_size_agree_with_pillow(orientation: int, width: int, height: int) -> None:
    data = encoded(picture(orientation, width, height), "PNG", exif=exif(orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    with tempfile.TemporaryDirectory() as folder:
        assert np.array_equal(pixels(take_bytes(data, Path(folder))), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_wide_gamut_becomes_srgb(kind: str, tmp_path: Path) -> None:
    profile = wide_gamut_profile()
    drawn = Image.new("RGB", (96, 96), (180, 90, 60))
    to_srgb = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), "RGB", "RGB", renderingIntent=1
    )
    expected = np.asarray(ImageCms.applyTransform(drawn, to_srgb))[50, 50].astype(np.int16)
    assert np.abs(expected - (180, 90, 60)).max() > 8, "the profile must matter"
    options = {"lossless": True} if kind == "WEBP" else {}
    result = take_bytes(encoded(drawn, kind, icc_profile=profile, **options), tmp_path)
    assert np.abs(pixels(result)[50, 50] - expected).max() <= 3


def test_a_broken_profile_is_passed_over_with_a_note(tmp_path: Path) -> None:
    result = take_bytes(encoded(corners(), "PNG", icc_profile=b"no profile" * 20), tmp_path)
    assert np.array_equal(pixels(result), np.asarray(corners()))
    assert all(finding.severity is not Severity.REFUSAL for finding in result.report.findings)


def test_16_bit_grey_and_colour(tmp_path: Path) -> None:
    import pyvips

    ramp = np.repeat(np.linspace(0, 65535, 128).astype(np.uint16)[None, :, None], 96, axis=0)
    expected = (ramp[..., 0] >> 8).astype(np.int16)
    for bands in (1, 3):
        image = pyvips.Image.new_from_array(np.repeat(ramp, bands, axis=2))
        image = image.copy(interpretation="grey16" if bands == 1 else "rgb16")
        for save in (image.pngsave_buffer, image.tiffsave_buffer):
            stored = pixels(take_bytes(save(), tmp_path))
            assert np.abs(stored - expected[..., None]).max() <= 1


def test_cmyk_with_and_without_adobes_inversion(tmp_path: Path) -> None:
    cmyk = corners().convert("CMYK")
    for kind in ("JPEG", "TIFF"):
        options = {"quality": 95} if kind == "JPEG" else {}
        stored = pixels(take_bytes(encoded(cmyk, kind, **options), tmp_path))
        red, green, blue = stored[10, 10], stored[10, -10], stored[-10, 10]
        assert red[0] > red[1] + 60 and green[1] > green[0] + 40 and blue[2] > blue[0] + 40


def test_palette_alpha_and_one_bit(tmp_path: Path) -> None:
    palette = corners().quantize(8)
    assert np.abs(pixels(take_bytes(encoded(palette), tmp_path)) - np.asarray(palette.convert("RGB"))).max() == 0
    seen_through = corners().convert("RGBA")
    seen_through.putalpha(0)
    seen_through.paste((200, 30, 30, 255), (0, 0, 80, 96))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        stored = pixels(take_bytes(encoded(seen_through, kind, **options), tmp_path))
        assert stored[50, 120].tolist() == [255, 255, 255] and stored[50, 20].tolist() == [200, 30, 30]
    half = Image.new("LA", (96, 96), (0, 128))
    assert abs(int(pixels(take_bytes(encoded(half), tmp_path))[5, 5, 0]) - 127) <= 1
    bits = Image.new("1", (96, 96), 1)
    bits.paste(0, (0, 0, 48, 96))
    stored = pixels(take_bytes(encoded(bits), tmp_path))
    assert stored[5, 5].tolist() == [0, 0, 0] and stored[5, 90].tolist() == [255, 255, 255]


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (96, 96), (10, 200, 30)), Image.new("RGB", (96, 96), (200, 10, 30))
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(first, kind, save_all=True, append_images=[second])
        result = take_bytes(data, tmp_path)
        assert (result.report.source_width, result.report.source_height) == (96, 96)
        assert np.abs(pixels(result)[40, 40] - (10, 200, 30)).max() <= 8, kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_no_metadata_is_left(kind: str, tmp_path: Path) -> None:
    options: dict[str, object] = {"exif": exif(6, gps=True), "icc_profile": wide_gamut_profile()}
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", "SecretComment")
        options["pnginfo"] = text
    if kind == "JPEG":
        options["comment"] = b"SecretComment"
        options["xmp"] = b"<x:xmpmeta>SecretComment</x:xmpmeta>"
    if kind == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[270] = "SecretComment"
        options = {"tiffinfo": tags}
    result = take_bytes(encoded(picture(3, 160, 120), kind, **options), tmp_path)
    assert result.file is not None
    stored = result.file.read_bytes()
    for word in (b"Secret", b"Exif", b"GPS", b"xmp", b"ICC_PROFILE", b"iCCP", b"eXIf", b"tEXt", b"iTXt", b"tIME"):
        assert word not in stored
    with Image.open(result.file) as image:
        assert not image.getexif() and set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"}


def test_the_resolution_of_the_file_changes_nothing(tmp_path: Path) -> None:
    digests = {
        take_bytes(encoded(picture(1), "PNG", dpi=(dots, dots)), tmp_path).photo.digest  # type: ignore[union-attr]
        for dots in (72, 300)
    }
    assert len(digests) == 1


def test_jpeg_is_stored_with_full_colour_and_bounded_size(tmp_path: Path) -> None:
    large = picture(2, 500, 400).resize((4000, 3200), Image.Resampling.BILINEAR)
    data = encoded(large, "JPEG", quality=90)
    result = take_bytes(data, tmp_path)
    assert result.photo is not None and min(result.photo.width, result.photo.height) == 1536
    assert (result.report.source_width, result.report.source_height) == (4000, 3200)
    with Image.open(result.file) as image:  # type: ignore[arg-type]
        assert image.layer[0][1:3] == image.layer[1][1:3] == (1, 1)  # type: ignore[attr-defined]
    expected = large.resize((result.photo.width, result.photo.height), Image.Resampling.LANCZOS)
    assert np.abs(pixels(result) - np.asarray(expected)).mean() < 2


def test_a_jpeg_that_can_be_halved_is_as_good_as_one_resized(tmp_path: Path) -> None:
    large = picture(2, 500, 375).resize((4000, 3000), Image.Resampling.BILINEAR)
    for orientation, size in ((1, (2000, 1500)), (6, (1500, 2000))):
        result = take_bytes(encoded(large, "JPEG", quality=92, exif=exif(orientation)), tmp_path)
        assert result.photo is not None and (result.photo.width, result.photo.height) == size
    back = Image.fromarray(pixels(result).astype(np.uint8)).transpose(Image.Transpose.ROTATE_90)
    expected = large.resize((2000, 1500), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(back).astype(np.int16) - np.asarray(expected)).mean() < 2


def test_a_long_picture_is_bounded_by_its_longest_side(tmp_path: Path) -> None:
    result = take_bytes(encoded(picture(4, 6000, 300)), tmp_path)
    assert result.photo is not None and (result.photo.width, result.photo.height) == (4096, 205)
    assert result.report.verdict is Verdict.WARNED and "long-shape" in codes(result)


def test_progressive_and_interlaced_files(tmp_path: Path) -> None:
    import pyvips

    array = pyvips.Image.new_from_array(np.asarray(picture(5)))
    for data in (encoded(picture(5), "JPEG", progressive=True, quality=95), array.pngsave_buffer(interlace=True)):
        assert np.abs(pixels(take_bytes(data, tmp_path)) - np.asarray(picture(5))).mean() < 4


def test_lossless_webp_is_known_from_lossy() -> None:
    alpha = corners().convert("RGBA")
    for image in (corners(), alpha):
        for lossless in (True, False):
            for options in ({}, {"save_all": True, "append_images": [alpha], "duration": 90}):
                data = encoded(image, "WEBP", lossless=lossless, quality=60, **options)
                assert is_lossless(Format.WEBP, data[:4096]) is lossless


@given(st.binary(max_size=64), st.sampled_from(["", "\xff\xd8\xff", "RIFF....WEBP", "\0\0\0\x18ftyp", "II*\0"]))
def test_sniffing_gives_a_format_or_a_refusal(data: bytes, start: str) -> None:
    try:
        assert sniff(start.encode("latin-1") + data) in Format
    except Refusal as refused:
        assert refused.finding.message


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"hello, this is a text", "text"),
        ("é".encode() * 3000, "text"),
        (b"%PDF-1.7", "PDF"),
        (b"BM\0\0\0\0", "BMP"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42", "video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0isom", "raw"),
        (b"\x00\x01\x02\x03" * 10, "no picture"),
    ],
)
def test_a_refusal_says_what_the_file_seems_to_be(head: bytes, word: str) -> None:
    with pytest.raises(Refusal, match=word):
        sniff(head[:4096])


def test_a_camera_raw_is_not_taken_for_a_tiff() -> None:
    with pytest.raises(Refusal, match="raw"):
        sniff(b"II*\0" + bytes(20), "DSC_0001.NEF")
    assert sniff(b"II*\0" + bytes(20), "scan.tif") is Format.TIFF
