"""What is no photo is called what it is, with a remedy that fits it; nothing is told to become a JPEG that cannot."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.photos import find_sources
from limner.photos.reading.formats import Format, sniff
from limner.photos.reading.not_photos import not_a_photo
from limner.photos.reading.raws import is_raw_tiff
from limner.photos.reading.refusals import Refusal
from limner.types import Finding
from tests.photos.making import LIMITS, codes, encoded, picture, take_bytes

JUNK = bytes((37 * number + 11) % 251 for number in range(3000))


def refused(data: bytes, name: str = "photo.jpg") -> Finding:
    with pytest.raises(Refusal) as caught:
        sniff(data[:4096], name)
    return caught.value.finding


# --- camera raws ------------------------------------------------------------------------------------------------------

RAW_MAGIC = {
    "Olympus": b"IIRO\x08\0\0\0",
    "Olympus, older": b"IIRS\x08\0\0\0",
    "Olympus, other byte order": b"MMOR\0\0\0\x08",
    "Panasonic, Leica": b"IIU\0\x18\0\0\0",
    "Fujifilm": b"FUJIFILMCCD-RAW 0201FF383501X-T3",
    "Sigma": b"FOVb\x02\0\x02\0",
    "Minolta": b"\0MRM\0\x01\x02\x03",
    "Canon CRW": b"II\x1a\0\0\0HEAPCCDR",
    "Canon CR2": b"II*\0\x10\0\0\0CR\x02\0",
    "Canon CR3": b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom",
    "Phase One": b"II*\0\x08\0\0\0IIIITwaR",
    "Phase One, other byte order": b"MM\0*\0\0\0\x08MMMMRawT",
}


@pytest.mark.parametrize("camera", RAW_MAGIC)
@pytest.mark.parametrize("name", ["IMG_1.JPG", "scan.tif", "x", "P1.ORF"])
def test_raws_with_a_magic_number_of_their_own(camera: str, name: str) -> None:
    assert refused(RAW_MAGIC[camera] + JUNK, name).code == "camera-raw"


def tiff(
    *directories: dict[int, tuple[int, int]], below: int | None = None, order: str = "<", big: bool = False
) -> bytes:
    """Directories of tags with their type and value, one after the other; ``below`` hangs the last under the first."""
    head, size, entry = (16, 8, 20) if big else (8, 2, 12)
    letters = ("Q", "Q", "Q") if big else ("H", "I", "I")
    tail = 8 if big else 4
    places, at = [], head
    for tags in directories:
        places.append(at)
        at += size + entry * (len(tags) + (1 if below is not None and tags is directories[0] else 0)) + tail
    data = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    data += struct.pack(f"{order}HHQ", 8, 0, head) if big else struct.pack(f"{order}I", head)
    for number, tags in enumerate(directories):
        rows = dict(tags)
        last_below = below is not None and number == len(directories) - 1
        if below is not None and number == 0:
            rows[330] = (4, places[-1])
        data += struct.pack(order + letters[0], len(rows))
        for tag, (kind, value) in sorted(rows.items()):
            filled = struct.pack(order + {1: "B", 3: "H", 4: "I"}[kind], value).ljust(8 if big else 4, b"\0")
            data += struct.pack(f"{order}HH{letters[1]}", tag, kind, 1) + filled
        following = 0 if number + 1 == len(directories) or last_below or below is not None else places[number + 1]
        data += struct.pack(order + letters[2], following)
    return data


THUMB = {256: (3, 160), 257: (3, 120), 259: (3, 1), 262: (3, 2)}
RAW_TIFFS = {
    "DNG": (THUMB | {50706: (1, 1)},),
    "Nikon": (THUMB, {259: (3, 34713), 262: (3, 32803)}),
    "Sony": (THUMB, {259: (3, 32767), 262: (3, 32803)}),
    "Pentax": ({259: (3, 65535), 262: (3, 32803)},),
    "Samsung": (THUMB, {259: (3, 32770)}),
    "Hasselblad": (THUMB, {262: (3, 32803), 33421: (3, 2)}),
    "Epson": (THUMB, {33422: (1, 0)}),
    "Kodak": ({259: (3, 65000)},),
    "Leaf": (THUMB | {34310: (1, 0)},),
    "linear DNG": (THUMB, {262: (3, 34892)}),
}


@pytest.mark.parametrize("camera", RAW_TIFFS)
@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_raws_that_are_tiffs(camera: str, order: str, big: bool, tmp_path: Path) -> None:
    for below in (None, 1):
        directories = RAW_TIFFS[camera]
        if below and len(directories) == 1:
            continue
        data = tiff(*directories, below=below, order=order, big=big)
        result = take_bytes(data + JUNK, tmp_path, "IMG_0001.tif")
        assert codes(result) == ["camera-raw"], camera


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "1", "P"])
def test_scans_and_pictures_are_no_raws(mode: str, tmp_path: Path) -> None:
    for options in ({}, {"compression": "tiff_lzw"}, {"save_all": True, "append_images": [picture(2, 96, 80)]}):
        data = encoded(picture(1, 96, 80).convert(mode), "TIFF", **options)
        assert not is_raw_tiff(lambda at, count, data=data: data[at : at + count])
        assert take_bytes(data, tmp_path, "scan.tif").photo


@given(st.binary(max_size=300), st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]))
@settings(max_examples=50, deadline=None)
def test_directories_of_any_content_come_to_an_end(rest: bytes, start: bytes) -> None:
    data = start + rest
    reads = 0

    def read(at: int, count: int) -> bytes:
        nonlocal reads
        reads += 1
        return data[at : at + min(count, 100_000)]

    is_raw_tiff(read)
    assert reads < 1000


# --- archives ---------------------------------------------------------------------------------------------------------


def tarred(**options: object) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **options) as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("a.jpg")
        entry.size = len(JUNK)
        archive.addfile(entry, io.BytesIO(JUNK))
    return stream.getvalue()


def old_tar() -> bytes:
    """A tar from before there was a magic number; its header carries the sum of its own bytes."""
    header = bytearray(tarred()[:512])
    header[257:265] = bytes(8)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + JUNK


ARCHIVES = {
    "7z": b"7z\xbc\xaf\x27\x1c\0\x04" + JUNK,
    "rar4": b"Rar!\x1a\x07\0" + JUNK,
    "rar5": b"Rar!\x1a\x07\x01\0" + JUNK,
    "tar": tarred(format=tarfile.USTAR_FORMAT),
    "tar of GNU": tarred(format=tarfile.GNU_FORMAT),
    "tar of POSIX": tarred(format=tarfile.PAX_FORMAT),
    "tar of old": old_tar(),
    "tar.gz": gzip.compress(tarred()),
    "tar.bz2": bz2.compress(tarred()),
    "tar.xz": lzma.compress(tarred()),
    "tar.lzma": lzma.compress(tarred(), format=lzma.FORMAT_ALONE),
    "tar.zst": b"\x28\xb5\x2f\xfd\x04\0" + JUNK,
    "tar.lz4": b"\x04\x22\x4d\x18" + JUNK,
    "tar.Z": b"\x1f\x9d\x90" + JUNK,
    "cab": b"MSCF\0\0\0\0" + JUNK,
    "cpio": b"070701" + JUNK,
    "a zip by another name": b"",
}


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("name", ["photos.{}", "photo.jpg", "photos.zip"])
def test_archives_are_to_be_unpacked(kind: str, name: str, tmp_path: Path) -> None:
    data = ARCHIVES[kind]
    if kind == "a zip by another name":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a.jpg", JUNK)
        data = stream.getvalue()
        finding = refused(data)
    else:
        file = tmp_path / name.format(kind)
        file.write_bytes(data)
        (source,) = find_sources([file], tmp_path, LIMITS)
        finding = source.refusal or refused(data, file.name)
    assert finding.code == "not-a-photo"
    assert "npack" in finding.remedy and "JPEG" not in finding.remedy, finding


METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 93: "Zstandard", 95: "xz", 96: "JPEG", 98: "PPMd", 77: "77"}


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_zips_that_are_not_unpacked(method: int, tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", JUNK)
    data = bytearray(file.read_bytes())
    for magic, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.index(magic) + place
        data[at : at + 2] = method.to_bytes(2, "little")
    file.write_bytes(data)
    (source,) = find_sources([file], tmp_path, LIMITS)
    assert source.refusal and source.refusal.code == "zip-method" and METHODS[method] in source.refusal.message
    assert "npack" in source.refusal.remedy


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_of_zips_that_are_unpacked(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.png", encoded(picture(1, 80, 72)))
    (source,) = find_sources([tmp_path / "a.zip"], tmp_path, LIMITS)
    assert source.refusal is None


def test_a_picture_that_is_called_zip_is_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(encoded(picture(1, 80, 72)))
    (source,) = find_sources([tmp_path / "a.zip"], tmp_path, LIMITS)
    assert source.refusal is None and source.path == tmp_path / "a.zip"


# --- other things -----------------------------------------------------------------------------------------------------


def numpy_cache() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, latents=np.zeros(3))
    return stream.getvalue()


def office() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
    return stream.getvalue()


THINGS = {
    "MP4": (b"\0\0\0\x18ftypisom\0\0\0\0mp42" + JUNK, "video", "frames"),
    "MOV": (b"\0\0\0\x14ftypqt  \0\0\0\0" + JUNK, "video", "frames"),
    "WebM": (b"\x1aE\xdf\xa3" + JUNK, "video", "frames"),
    "AVI": (b"RIFF\x10\0\0\0AVI " + JUNK, "video", "frames"),
    "WMV": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + JUNK, "video", "frames"),
    "PDF": (b"%PDF-1.7\n" + JUNK, "PDF", "pages"),
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "SVG", "PNG"),
    "SVG with a prolog": (b"<?xml?>\n<!-- made by hand -->\n<!DOCTYPE svg PUBLIC 'x'>\n<svg>", "SVG", "PNG"),
    "Photoshop": (b"8BPS\0\x01" + JUNK, "Photoshop", "Photoshop"),
    "GIMP": (b"gimp xcf v011" + JUNK, "GIMP", "GIMP"),
    "JPEG XL": (b"\xff\x0a" + JUNK, "JPEG XL", "save it as PNG"),
    "JPEG XL in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n" + JUNK, "JPEG XL", "save it as PNG"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + JUNK, "JPEG 2000", "save it as PNG"),
    "OpenEXR": (b"v/1\x01\x02\0\0\0" + JUNK, "OpenEXR", "save it as PNG"),
    "web page": (b"\n<!DOCTYPE html><html><head>", "web page", "browser"),
    "answer of a server": (b'{"error": "not allowed"}', "answer", "Download"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "Git LFS", "git lfs pull"),
    "git-annex": (b"/annex/objects/SHA256E-s12--ab.jpg\n", "git-annex", "git annex get"),
    "AppleDouble": (b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + JUNK, "AppleDouble", "Leave it out"),
    "Windows shortcut": (b"\x4c\0\0\0\x01\x14\x02\0" + JUNK, "shortcut", "leads to"),
    "nothing but zeros": (bytes(4096), "zeros", "Copy it anew"),
    "Base64": (b"/9j/4AAQSkZJRgABAQAAAQABAAD" * 9, "Base64", "Decode"),
    "numpy": (numpy_cache(), "cache of numbers", "Leave it out"),
    "office": (office(), "office document", "pictures that are in it"),
    "safetensors": ((60).to_bytes(8, "little") + b'{"a":{"dtype":"F32"' + JUNK, "weights", "Leave it out"),
    "MP3": (b"ID3\x04\0" + JUNK, "sound", "Leave it out"),
    "text": (b"Dear diary, this is no picture.", "text", "download or copy it anew"),
    "unknown": (b"\x01\x02\x03\xfe" * 500, "no picture that is known", "another program"),
}


@pytest.mark.parametrize("thing", THINGS)
def test_a_remedy_fits_the_thing(thing: str) -> None:
    data, word, remedy = THINGS[thing]
    finding = refused(data)
    assert word in finding.message and remedy in finding.remedy, finding
    assert finding.message.endswith(".") and finding.code in ("not-a-photo", "not-downloaded")


def test_a_file_that_icloud_keeps_elsewhere(tmp_path: Path) -> None:
    """Its name begins with a dot, but it stands for a photo: it is not passed over in silence."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / ".IMG_1.HEIC.icloud").write_bytes(b"bplist00" + JUNK)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/.IMG_1.HEIC.icloud", b"bplist00" + JUNK)
    for named in (folder, tmp_path / "a.zip", folder / ".IMG_1.HEIC.icloud"):
        (source,) = find_sources([named], tmp_path, LIMITS)
        assert source.refusal and source.refusal.code == "not-downloaded" and "Download" in source.refusal.remedy


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    "lead", [b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"HTTP/1.1 200 OK\r\n\r\n", b"\x01\x02\xfe" * 20]
)
def test_a_picture_with_bytes_before_its_start(kind: str, lead: bytes, tmp_path: Path) -> None:
    data = lead + encoded(picture(1, 80, 72), kind)
    finding = refused(data)
    assert finding.code == "late-start" and f"byte {len(lead)}" in finding.message
    # What the remedy says is tried: what is cut off by it is a photo.
    skip = int(finding.remedy.split("tail -c +")[1].split()[0])
    assert take_bytes(data[skip - 1 :], tmp_path).photo


@given(st.binary(max_size=600))
@settings(max_examples=50, deadline=None)
def test_anything_is_called_something(data: bytes) -> None:
    try:
        assert sniff(data) in Format
    except Refusal as caught:
        assert caught.finding.message.endswith(".") and caught.finding.remedy.endswith((".", "NEW."))
    if data:
        assert not_a_photo(data).finding.message


def test_a_long_head_of_odd_text_is_looked_at_once() -> None:
    for part in (b"<!--", b"<!---->", b"<?x?>", b"<?xml ", b"<!--" + b"-" * 100, b"../", b"<!doctype svg>"):
        assert refused((part * 4096)[:4096]).message


def test_a_tiff_of_bits_beyond_what_is_there(tmp_path: Path) -> None:
    image = Image.new("RGB", (96, 80), (9, 9, 9))
    data = bytearray(encoded(image, "TIFF"))
    data[4:8] = (0xFFFFFFF0).to_bytes(4, "little")
    assert codes(take_bytes(bytes(data), tmp_path))[0] in ("truncated", "unreadable")
