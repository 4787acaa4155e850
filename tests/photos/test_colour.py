"""Colour spaces and HDR become sRGB. What is right comes from the standards' own figures and from LittleCMS."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from limner.photos.reading.colour_tags import heif_colour, of_profile, png_colour
from limner.types import Verdict
from tests.photos.making import codes, encoded, picture, pixels, take_bytes, wide_gamut_profile

pillow_heif.register_heif_opener()

Numbers = np.ndarray[Any, Any]

# Rows of ITU-R BT.2087 (BT.2020 to BT.709) and of CSS Color 4 (Display P3 to sRGB).
FROM_2020 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
FROM_P3 = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
# Soft colours that all three spaces hold, and greys.
PATCHES = np.array(
    [
        *((60, 90, 120), (180, 90, 60), (120, 140, 90), (200, 180, 160), (90, 70, 110), (150, 160, 190)),
        *((16, 16, 16), (64, 64, 64), (128, 128, 128), (190, 190, 190), (235, 235, 235), (255, 255, 255)),
    ]
)
SIDE = 32


def srgb_light(value: Numbers) -> Numbers:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def srgb(light: Numbers) -> Numbers:
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def bt709_light(value: Numbers) -> Numbers:
    return np.where(value < 0.081, value / 4.5, ((value + 0.099) / 1.099) ** (1 / 0.45))


def pq(light: Numbers) -> Numbers:
    """ST 2084 of cd/m²."""
    y = (light / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(light: Numbers) -> Numbers:
    """BT.2100 HLG of cd/m² on a display of 1000, BT.2020 primaries: the inverse of its system gamma, then its curve."""
    luma = (light @ [0.2627, 0.6780, 0.0593])[..., None] / 1000
    scene = np.where(luma > 0, light / 1000 * np.maximum(luma, 1e-9) ** (1 / 1.2 - 1), 0)
    curve = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), curve)


def patched(colours: Numbers) -> Numbers:
    """4 x 3 even patches of 32 pixels of a list of 12 colours."""
    return np.kron(colours.reshape(3, 4, 3), np.ones((SIDE, SIDE, 1)))


def middles(image: Numbers) -> Numbers:
    return image[SIDE // 2 :: SIDE, SIDE // 2 :: SIDE].reshape(-1, 3)


def png(image: Numbers, bits: int = 8, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of values 0 to 1 with chunks before its pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    whole = np.rint(image * (2**bits - 1)).astype(">u2" if bits == 16 else "u1")
    rows = b"".join(b"\0" + row.tobytes() for row in whole)
    header = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], bits, 2, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def cicp(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> tuple[bytes, bytes]:
    return b"cICP", bytes([primaries, transfer, matrix, full])


def icc(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"x\0\0" + zlib.compress(profile)


def tagged(data: bytes, primaries: int, transfer: int, matrix: int | None = None) -> bytes:
    """The AVIF or HEIC with other codes in its nclx box."""
    at = data.index(b"nclx") + 4
    codes = struct.pack(">HH", primaries, transfer)
    codes += data[at + 4 : at + 6] if matrix is None else struct.pack(">H", matrix)
    return data[:at] + codes + data[at + 6 :]


def avif(image: Numbers, primaries: int, transfer: int, *, bits: int = 8) -> bytes:
    """Without loss, values 0 to 1."""
    import pyvips

    if bits == 8:
        whole = pyvips.Image.new_from_array(np.rint(image * 255).astype(np.uint8))
    else:
        steps = np.rint(image * (2**bits - 1)).astype(np.uint16) << (16 - bits)
        whole = pyvips.Image.new_from_array(steps).copy(interpretation="rgb16")
    return tagged(whole.heifsave_buffer(compression="av1", bitdepth=bits, lossless=True), primaries, transfer)


def heic(image: Numbers, primaries: int, transfer: int, *, bits: int = 10, matrix: int = 9, full: int = 1) -> bytes:
    steps = np.rint(image * (2**bits - 1)).astype(np.uint16) << (16 - bits)
    height, width, _ = image.shape
    made = pillow_heif.from_bytes(mode="RGB;16", size=(width, height), data=steps.tobytes())
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    stream = io.BytesIO()
    options = {"matrix_coefficients": matrix, "full_range_flag": full}
    made.save(stream, quality=-1, color_primaries=primaries, transfer_characteristics=transfer, **options)
    pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    return stream.getvalue()


CONTAINERS = {
    "png8": lambda image, primaries, transfer: png(image, 8, cicp(primaries, transfer)),
    "png16": lambda image, primaries, transfer: png(image, 16, cicp(primaries, transfer)),
    "avif8": lambda image, primaries, transfer: avif(image, primaries, transfer),
    "avif10": lambda image, primaries, transfer: avif(image, primaries, transfer, bits=10),
    "avif12": lambda image, primaries, transfer: avif(image, primaries, transfer, bits=12),
    "heic10": lambda image, primaries, transfer: heic(image, primaries, transfer),
    "heic12": lambda image, primaries, transfer: heic(image, primaries, transfer, bits=12),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(("primaries", "matrix"), [(12, FROM_P3), (9, FROM_2020)])
def test_wide_primaries_become_srgb(container: str, primaries: int, matrix: Numbers, tmp_path: Path) -> None:
    given = PATCHES / 255
    expected = srgb(srgb_light(given) @ matrix.T)
    assert np.abs(expected - PATCHES).max() > 8, "the space must matter"
    result = take_bytes(CONTAINERS[container](patched(given), primaries, 13), tmp_path)
    assert np.abs(middles(pixels(result)) - expected).max() <= 3
    assert codes(result) == ["small", "blurred"][:1]


def test_display_p3_agrees_with_littlecms(tmp_path: Path) -> None:
    drawn = Image.fromarray(patched(PATCHES).astype(np.uint8))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(wide_gamut_profile()))
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB", renderingIntent=1)
    expected = middles(np.asarray(ImageCms.applyTransform(drawn, transform)).astype(np.int16))
    data = png(patched(PATCHES) / 255, 8, cicp(12, 13))
    assert np.abs(middles(pixels(take_bytes(data, tmp_path))) - expected).max() <= 2


@pytest.mark.parametrize(
    ("transfer", "light"),
    [
        (1, bt709_light),
        (6, bt709_light),
        (14, bt709_light),
        (15, bt709_light),
        (4, lambda value: value**2.2),
        (5, lambda value: value**2.8),
        (8, lambda value: value),
        (13, srgb_light),
        (2, srgb_light),
        (17, lambda value: value**2.6 * 52.37 / 48),
    ],
)
def test_transfer_functions(transfer: int, light: Any, tmp_path: Path) -> None:
    given = PATCHES / 255
    for container in ("png16", "avif10"):
        result = take_bytes(CONTAINERS[container](patched(given), 1, transfer), tmp_path)
        steps = given if container == "png16" else np.rint(given * 1023) / 1023
        assert np.abs(middles(pixels(result)) - srgb(light(steps))).max() <= 1.5


@pytest.mark.parametrize(
    ("matrix", "red", "blue"), [(1, 0.2126, 0.0722), (5, 0.299, 0.114), (6, 0.299, 0.114), (9, 0.2627, 0.0593)]
)
@pytest.mark.parametrize("reach", ["full", "limited"])
def test_matrices_and_ranges_of_avif(matrix: int, red: float, blue: float, reach: str, tmp_path: Path) -> None:
    """The encoder knows BT.601 alone; it is given the RGB whose luma and chroma are those of the other matrix."""

    def to_ycc(red: float, blue: float) -> Numbers:
        luma = np.array([red, 1 - red - blue, blue])
        return np.array([luma, ([0, 0, 1] - luma) / (2 - 2 * blue), ([1, 0, 0] - luma) / (2 - 2 * red)])

    given = PATCHES[:6] * 0.6 + 40
    instead = given @ (np.linalg.inv(to_ycc(0.299, 0.114)) @ to_ycc(red, blue)).T
    assert instead.min() >= 0 and instead.max() <= 255
    image = Image.fromarray(np.rint(patched(np.tile(instead, (2, 1)))).astype(np.uint8))
    data = encoded(image, "AVIF", quality=100, subsampling="4:4:4", range=reach)
    result = take_bytes(tagged(data, 1, 13, matrix), tmp_path)
    assert np.abs(middles(pixels(result))[:6] - given).max() <= 5


@pytest.mark.parametrize("full", [0, 1])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_matrices_and_ranges_of_heic(matrix: int, full: int, tmp_path: Path) -> None:
    data = heic(patched(PATCHES / 255), 1, 13, matrix=matrix, full=full)
    assert np.abs(middles(pixels(take_bytes(data, tmp_path))) - PATCHES).max() <= 3


# --- HDR --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(("transfer", "curve"), [(16, pq), (18, hlg)])
def test_an_ordinary_picture_in_an_hdr_file_comes_back(
    container: str, transfer: int, curve: Any, tmp_path: Path
) -> None:
    """Its white at the reference white of 203 cd/m² (BT.2408): nothing is brighter, so nothing is to be rolled off."""
    light = np.clip(srgb_light(PATCHES / 255) @ np.linalg.inv(FROM_2020).T, 0, 1)
    result = take_bytes(CONTAINERS[container](patched(curve(light * 203)), 9, transfer), tmp_path)
    # In 8 bits a step of PQ is up to 4 of sRGB.
    assert np.abs(middles(pixels(result)) - PATCHES).max() <= (8 if container.endswith("8") else 3)
    assert "hdr" in codes(result) and result.report.verdict is Verdict.WARNED


def rolled_off(light: float, brightest: float) -> float:
    """The EETF of BT.2390-10, 5.4.1, from a source of that peak in cd/m² to a display of 203 and a black of 0."""
    source, target = pq(np.float64(brightest)), pq(np.float64(203.0))
    e1, most = pq(np.float64(light)) / source, target / source
    knee = 1.5 * most - 0.5
    if e1 < knee:
        return light
    t = (e1 - knee) / (1 - knee)
    p = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    low, high = 0.0, 10000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if pq(np.float64(middle)) < p * source else (low, middle)
    return low


@pytest.mark.parametrize("brightest", [400.0, 1000.0, 4000.0])
def test_highlights_are_rolled_off_by_bt2390(brightest: float, tmp_path: Path) -> None:
    levels = np.array([0, 1, 5, 20, 40, 60, 100, 150, 203, 300, 0.8 * brightest, brightest])
    grey = np.repeat(np.minimum(levels, brightest)[:, None], 3, axis=1)
    result = take_bytes(png(patched(pq(grey)), 16, cicp(9, 16)), tmp_path)
    expected = [float(srgb(np.float64(rolled_off(level, brightest) / 203))) for level in grey[:, 0]]
    assert np.abs(middles(pixels(result))[:, 0] - expected).max() <= 1.5
    assert pixels(result).max() == 255


def test_hues_of_highlights_stay(tmp_path: Path) -> None:
    light = np.tile([[600.0, 300.0, 150.0], [60.0, 30.0, 15.0]], (6, 1))
    stored = middles(pixels(take_bytes(png(patched(pq(light)), 16, cicp(1, 16)), tmp_path)))
    bright, dim = srgb_light(stored[:2] / 255)
    assert np.allclose(bright / bright[0], dim / dim[0], atol=0.03) and bright[0] > 3 * dim[0]


def with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    at = data.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data[:at] + chunk + data[at:]


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_hdr_pictures(bits: int, tmp_path: Path) -> None:
    import pyvips

    level = np.rint(pq(srgb_light(patched(PATCHES / 255)[..., :1]) * 203) * (2**bits - 1))
    image = pyvips.Image.new_from_array(level.astype(np.uint8 if bits == 8 else np.uint16))
    data = image.copy(interpretation="b-w" if bits == 8 else "grey16").pngsave_buffer()
    stored = middles(pixels(take_bytes(with_chunk(data, *cicp(9, 16)), tmp_path)))
    assert np.abs(stored - PATCHES[:, :1]).max() <= (8 if bits == 8 else 2)


def test_transparent_parts_of_an_hdr_picture_are_white(tmp_path: Path) -> None:
    import pyvips

    image = np.zeros((96, 96, 4), np.uint16)
    image[:, :48] = 30_000, 30_000, 30_000, 65_535
    data = pyvips.Image.new_from_array(image).copy(interpretation="rgb16").pngsave_buffer()
    stored = pixels(take_bytes(with_chunk(data, *cicp(9, 16)), tmp_path))
    assert stored[40, 80].min() >= 254 and 100 < stored[40, 10, 0] < 200


# --- which one counts -------------------------------------------------------------------------------------------------


GAMMA = (b"gAMA", struct.pack(">I", 100_000))
SRGB_CHUNK = (b"sRGB", b"\0")


@pytest.mark.parametrize(
    ("chunks", "matrix", "light"),
    [
        ([cicp(9, 13), icc(wide_gamut_profile()), GAMMA], FROM_2020, srgb_light),
        ([icc(wide_gamut_profile()), GAMMA], FROM_P3, srgb_light),
        ([SRGB_CHUNK, GAMMA], np.eye(3), srgb_light),
        ([GAMMA], np.eye(3), lambda value: value),
        # Matrices other than RGB make the chunk void.
        ([cicp(9, 16, 9)], np.eye(3), srgb_light),
        ([(b"gAMA", struct.pack(">I", 55_556))], np.eye(3), lambda value: value**1.8),
        ([(b"gAMA", struct.pack(">I", 45_455))], np.eye(3), srgb_light),
    ],
)
def test_precedence_in_a_png(
    chunks: Sequence[tuple[bytes, bytes]], matrix: Numbers, light: Any, tmp_path: Path
) -> None:
    expected = srgb(light(PATCHES / 255) @ matrix.T)
    result = take_bytes(png(patched(PATCHES / 255), 16, *chunks), tmp_path)
    assert np.abs(middles(pixels(result)) - expected).max() <= 2


def test_chromaticities_of_a_png(tmp_path: Path) -> None:
    white_first = (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
    wide = b"cHRM", struct.pack(">8I", *(round(100_000 * number) for number in white_first))
    gamma = b"gAMA", struct.pack(">I", 50_000)
    result = take_bytes(png(patched(PATCHES / 255), 16, gamma, wide), tmp_path)
    assert np.abs(middles(pixels(result)) - srgb((PATCHES / 255) ** 2 @ FROM_2020.T)).max() <= 2


def test_a_png_of_narrow_range(tmp_path: Path) -> None:
    for bits, step in ((8, 1), (16, 256)):
        narrow = (PATCHES / 255 * 219 * step + 16 * step) / (2**bits - 1)
        result = take_bytes(png(patched(narrow), bits, cicp(1, 13, 0, 0)), tmp_path)
        assert np.abs(middles(pixels(result)) - PATCHES).max() <= 1


def test_a_profile_counts_before_nclx(tmp_path: Path) -> None:
    drawn = Image.fromarray(patched(PATCHES).astype(np.uint8))
    expected = srgb(srgb_light(PATCHES / 255) @ FROM_P3.T)
    for kind in ("AVIF", "HEIF"):
        data = encoded(drawn, kind, quality=100, icc_profile=wide_gamut_profile())
        if b"nclx" in data:
            data = tagged(data, 9, 16)
        result = take_bytes(data, tmp_path)
        assert np.abs(middles(pixels(result)) - expected).max() <= 5 and "hdr" not in codes(result)


def with_cicp(profile: bytes, primaries: int, transfer: int) -> bytes:
    """The profile with a cicp tag, as programs write one beside curves that cannot say PQ."""
    count = int.from_bytes(profile[128:132], "big")
    table = bytearray(profile[132 : 132 + 12 * count])
    for at in range(4, len(table), 12):
        table[at : at + 4] = (int.from_bytes(table[at : at + 4], "big") + 12).to_bytes(4, "big")
    body = profile[132 + 12 * count :]
    table += b"cicp" + struct.pack(">II", len(profile) + 12, 12)
    whole = profile[:128] + (count + 1).to_bytes(4, "big") + table + body
    whole += b"cicp\0\0\0\0" + bytes([primaries, transfer, 0, 1])
    return len(whole).to_bytes(4, "big") + whole[4:]


def test_a_profile_that_says_pq_is_an_hdr_picture(tmp_path: Path) -> None:
    light = np.clip(srgb_light(PATCHES / 255) @ np.linalg.inv(FROM_2020).T, 0, 1)
    image = patched(pq(light * 203))
    profile = with_cicp(wide_gamut_profile(), 9, 16)
    drawn = Image.fromarray(np.rint(image * 255).astype(np.uint8))
    for data in (png(image, 16, icc(profile)), encoded(drawn, "JPEG", quality=98, icc_profile=profile)):
        result = take_bytes(data, tmp_path)
        assert np.abs(middles(pixels(result)) - PATCHES).max() <= 9 and "hdr" in codes(result)
    assert of_profile(with_cicp(wide_gamut_profile(), 12, 13)) is None


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    plain = patched(PATCHES / 255)
    for data in (png(plain, 8, cicp(77, 13)), png(plain, 8, cicp(1, 99))):
        result = take_bytes(data, tmp_path)
        assert "unknown-colour" in codes(result) and result.report.verdict is Verdict.WARNED and result.photo
    assert "unknown-colour" in codes(take_bytes(tagged(avif(plain, 1, 13), 77, 13, 1), tmp_path))
    # The decoder does not undo ICtCp, so there is no picture.
    strange = take_bytes(tagged(avif(plain, 1, 13), 9, 16, 14), tmp_path)
    assert codes(strange) == ["unknown-colour"] and strange.report.verdict is Verdict.REFUSED


# --- gain maps, Lab, Adobe RGB ----------------------------------------------------------------------------------------


def test_a_gain_map_is_left_out(tmp_path: Path) -> None:
    """An HDR photo of a phone: a JPEG with a second one behind it that says how much brighter each place may shine."""
    base, gains = encoded(picture(3), "JPEG", quality=95), encoded(Image.new("L", (160, 128), 200), "JPEG")
    plain = pixels(take_bytes(base, tmp_path))

    def segment(data: bytes) -> bytes:
        return b"\xff\xe2" + struct.pack(">H", len(data) + 2) + data

    entries = struct.pack(">IIIHH", 0x30000, len(base), 0, 0, 0) + struct.pack(">IIIHH", 0, len(gains), len(base), 0, 0)
    index = struct.pack(">2sHIH", b"MM", 42, 8, 3) + struct.pack(">HHI4s", 0xB000, 7, 4, b"0100")
    index += struct.pack(">HHII", 0xB001, 4, 1, 2) + struct.pack(">HHII", 0xB002, 7, 32, 50) + bytes(4) + entries
    iso = b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)
    for extra in (segment(b"MPF\0" + index), segment(b"MPF\0" + index) + segment(iso)):
        result = take_bytes(base[:2] + extra + base[2:] + gains, tmp_path)
        assert np.array_equal(pixels(result), plain) and codes(result) == []
        assert result.file is not None and b"MPF" not in result.file.read_bytes()


def test_the_main_picture_of_a_heic_counts(tmp_path: Path) -> None:
    """As in photos of phones with a gain map, or of several pictures."""
    small, main = Image.new("RGB", (160, 128), (200, 10, 10)), Image.new("RGB", (320, 256), (40, 120, 90))
    stream = io.BytesIO()
    made = pillow_heif.from_pillow(small)
    made.add_from_pillow(main)
    made.save(stream, quality=95, primary_index=1)
    result = take_bytes(stream.getvalue(), tmp_path)
    assert np.abs(pixels(result)[100, 100] - (40, 120, 90)).max() <= 4


def test_lab_agrees_with_littlecms(tmp_path: Path) -> None:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB", 1)
    lab = ImageCms.applyTransform(Image.fromarray(patched(PATCHES).astype(np.uint8)), to_lab)
    assert np.abs(middles(pixels(take_bytes(encoded(lab, "TIFF"), tmp_path))) - PATCHES).max() <= 3
    import pyvips

    numbers = np.asarray(lab).astype(np.float32)
    numbers[..., 1:] = np.asarray(lab)[..., 1:].view(np.int8)
    numbers[..., 0] *= 100 / 255
    data = pyvips.Image.new_from_array(numbers).copy(interpretation="lab").tiffsave_buffer()
    assert np.abs(middles(pixels(take_bytes(data, tmp_path))) - PATCHES).max() <= 3


def test_adobe_rgb_of_a_camera_without_a_profile(tmp_path: Path) -> None:
    """The mark R03 of DCF 2.0; the matrix is the one of Adobe RGB (1998)."""
    made = b"Exif\0\0MM\0*" + struct.pack(">IHHHIII", 8, 1, 0x8769, 4, 1, 26, 0)
    made += struct.pack(">HHHIIHHII", 2, 0xA001, 3, 1, 0xFFFF0000, 0xA005, 4, 1, 56) + bytes(4)
    made += struct.pack(">HHHI4sI", 1, 1, 2, 4, b"R03\0", 0)
    data = encoded(Image.fromarray(patched(PATCHES).astype(np.uint8)), "JPEG", quality=98, subsampling=0, exif=made)
    to_srgb = np.array([[1.3984, -0.3984, 0.0], [0.0, 1.0, 0.0], [0.0, -0.0429, 1.0429]])
    expected = srgb((PATCHES / 255) ** 2.19921875 @ to_srgb.T)
    assert np.abs(middles(pixels(take_bytes(data, tmp_path))) - expected).max() <= 4


def test_16_bits_with_a_profile(tmp_path: Path) -> None:
    import pyvips

    expected = srgb(srgb_light(PATCHES / 255) @ FROM_P3.T)
    deep = pyvips.Image.new_from_array((patched(PATCHES) * 257).astype(np.uint16)).copy(interpretation="rgb16")
    deep.set_type(pyvips.GValue.blob_type, "icc-profile-data", wide_gamut_profile())
    for data in (deep.pngsave_buffer(), deep.tiffsave_buffer()):
        assert np.abs(middles(pixels(take_bytes(data, tmp_path))) - expected).max() <= 3


def test_damaged_tags_are_no_colour() -> None:
    plain = patched(PATCHES / 255)
    for data, read in ((png(plain, 8, cicp(9, 16)), png_colour), (avif(plain, 9, 16), heif_colour)):
        assert read(reading(data)) is not None
        for end in range(0, 500, 7):
            read(reading(data[:end]))
        for at in range(8, 400, 3):
            read(reading(data[:at] + b"\xff" + data[at + 1 :]))


def test_cmyk_with_a_profile_agrees_with_littlecms(tmp_path: Path) -> None:
    import pyvips

    profile = bytes(pyvips.Image.profile_load("cmyk"))
    ours, theirs = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    soft = np.column_stack([255 - PATCHES[:, :1], 255 - PATCHES[:, 1:2], 255 - PATCHES[:, 2:], PATCHES[:, :1] // 8])
    drawn = Image.fromarray(np.kron(soft.reshape(3, 4, 4), np.ones((SIDE, SIDE, 1))).astype(np.uint8), "CMYK")
    transform = ImageCms.buildTransform(ours, theirs, "CMYK", "RGB", renderingIntent=1)
    expected = middles(np.asarray(ImageCms.applyTransform(drawn, transform)).astype(np.int16))
    for kind, options in (("TIFF", {}), ("JPEG", {"quality": 100})):
        stored = middles(pixels(take_bytes(encoded(drawn, kind, icc_profile=profile, **options), tmp_path)))
        assert np.abs(stored - expected).max() <= 4


def test_linear_light_in_numbers_with_a_point(tmp_path: Path) -> None:
    import pyvips

    light = srgb_light(patched(PATCHES / 255)).astype(np.float32)
    whole = pyvips.Image.new_from_array(light).copy(interpretation="scrgb")
    through = whole.bandjoin(pyvips.Image.black(whole.width, whole.height).linear(1, 1))
    for image in (whole, through):
        data = image.copy(interpretation="scrgb").tiffsave_buffer()
        assert np.abs(middles(pixels(take_bytes(data, tmp_path))) - PATCHES).max() <= 2


def reading(data: bytes) -> Callable[[int, int], bytes]:
    return lambda at, count: data[at : at + count]
