"""Captions in photos' own metadata: each place and encoding, written by other programs than the one that reads."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from PIL import Image

from limner.photos.reading.own_captions import own_caption

WORDS = "Rex, schläft auf dem Sofa"


def exif(tag: int, value: bytes | str, *, nested: bool = False) -> bytes:
    made = Image.Exif()
    if nested:
        made.get_ifd(0x8769)[tag] = value
    else:
        made[tag] = value
    return made.tobytes()


def xmp(body: str, head: str = "") -> bytes:
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    return (
        f'{head}<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}">'
        f'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"{body}</rdf:RDF></x:xmpmeta>'
    ).encode()


ALT = "><dc:description><rdf:Alt>{}</rdf:Alt></dc:description></rdf:Description>"
DEFAULT = f'<rdf:li xml:lang="x-default">{WORDS}</rdf:li>'
PLACES: dict[str, dict[str, bytes]] = {
    "ImageDescription in UTF-8": {"exif": exif(0x010E, WORDS.encode().decode("latin-1").encode("latin-1"))},
    "ImageDescription in cp1252": {"exif": exif(0x010E, WORDS.encode("cp1252"))},
    "UserComment in UTF-16 LE": {"exif": exif(0x9286, b"UNICODE\0" + WORDS.encode("utf-16-le"), nested=True)},
    "UserComment in UTF-16 BE": {"exif": exif(0x9286, b"UNICODE\0" + WORDS.encode("utf-16-be"), nested=True)},
    "UserComment with a mark": {"exif": exif(0x9286, b"UNICODE\0" + WORDS.encode("utf-16"), nested=True)},
    "UserComment of no name": {"exif": exif(0x9286, b"\0" * 8 + WORDS.encode(), nested=True)},
    "dc:description": {"xmp": xmp(ALT.format(f'<rdf:li xml:lang="de">nein</rdf:li>{DEFAULT}'))},
    "dc:description, short": {"xmp": xmp(f' dc:description="{WORDS}"/>')},
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("place", PLACES)
def test_each_place_is_read(place: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    said = PLACES[place]
    if suffix == "png" and "xmp" in said:
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", said["xmp"].decode())
        Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    else:
        Image.new("RGB", (8, 8)).save(path, **said)
    assert own_caption(path) == WORDS


@pytest.mark.parametrize("utf8", [True, False])
def test_iptc_is_read(utf8: bool, tmp_path: Path) -> None:
    words = WORDS.encode("utf-8" if utf8 else "cp1252")
    records = b"\x1c\x02\x78" + struct.pack(">H", len(words)) + words
    if utf8:
        records = b"\x1c\x01\x5a\x00\x03\x1b%G" + records
    block = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records + b"\0" * (len(records) % 2)
    segment = b"Photoshop 3.0\0" + block
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + data[2:])
    assert own_caption(path) == WORDS


@pytest.mark.parametrize(
    "said",
    [
        {"exif": exif(0x010E, "OLYMPUS DIGITAL CAMERA")},
        {"exif": exif(0x010E, "DSC01234.JPG")},
        {"exif": exif(0x010E, "  \0 ")},
        {"exif": exif(0x9286, b"ASCII\0\0\0a dog\nSteps: 20, Sampler: Euler", nested=True)},
        {"exif": b"Exif\0\0broken"},
        {"xmp": b"<x:xmpmeta"},
        {"xmp": xmp(ALT.format("<rdf:li>&a;</rdf:li>"), '<!DOCTYPE x [<!ENTITY a "boom">]>')},
        {"xmp": b"<a>" * 100_000},
    ],
)
def test_what_machines_write_and_what_is_broken_is_no_caption(said: dict[str, bytes], tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", **said)
    assert own_caption(tmp_path / "a.webp") == ""


def test_no_picture_has_no_caption(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    assert own_caption(tmp_path / "a.jpg") == own_caption(tmp_path / "missing.jpg") == ""
