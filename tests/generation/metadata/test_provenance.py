"""What a picture says of itself: written, read, inspected; what it must not say; pictures of other programs."""

from __future__ import annotations

import getpass
import io
import json
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner.errors import InputRefused, NotFound
from limner.generation.metadata import limner_text
from limner.generation.metadata.inspection import describe
from limner.generation.metadata.pixels import pixel_digest
from limner.generation.metadata.png import Chunk, read_chunks, read_texts, write_chunks
from limner.generation.metadata.provenance import read_provenance, read_record, seal_image
from limner.operations.loras.inspect import inspect_file
from limner.types import ImageRecord, LoraUse
from tests.generation.making import flat_png, lora_use, many, picture, record, saved_as
from tests.generation.metadata.test_infotext import GRAPH, JSON

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
USES = st.builds(
    LoraUse,
    digest=st.text(max_size=6),
    scale=NUMBERS,
    name=st.text(max_size=12),
    trigger=st.text(max_size=6),
    base=st.text(max_size=6),
    tensor_digest=st.text(max_size=6),
)
RECORDS = st.builds(
    ImageRecord,
    prompt=st.text(max_size=60),
    width=st.integers(1, 9999),
    height=st.integers(1, 9999),
    steps=st.integers(1, 200),
    guidance=NUMBERS,
    seed=st.integers(0, 2**63 - 1),
    base=st.sampled_from(["limner-tiny", "flux1-dev", "gone"]),
    generator=st.text(max_size=6),
    loras=st.lists(USES, max_size=3).map(tuple),
    versions=st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=3),
    made_at=st.text(max_size=6),
)


@many
@given(RECORDS)
def test_a_record_comes_back_whole(tmp_path_factory: pytest.TempPathFactory, made: ImageRecord) -> None:
    path = tmp_path_factory.getbasetemp() / "whole.png"
    path.write_bytes(seal_image(flat_png(), made))
    assert read_record(path) == made
    assert read_provenance(path).recorded_pixels == pixel_digest(path) == pixel_digest(flat_png())


@many
@given(JSON | st.dictionaries(st.sampled_from([*ImageRecord.__dataclass_fields__, "form", "pixels"]), JSON))
def test_a_damaged_record_is_told_and_not_believed(found: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        limner_text.parse(json.dumps(found))


@many
@given(st.sampled_from(sorted({*ImageRecord.__dataclass_fields__, "form", "pixels"})), JSON)
def test_a_record_with_one_odd_value(name: str, value: Any) -> None:
    text = json.loads(limner_text.write(record(), "d" * 64))
    text[name] = value
    try:
        found, _ = limner_text.parse(json.dumps(text))
    except ValueError as problem:
        assert str(problem)
    else:
        assert isinstance(getattr(found, name, ""), type(getattr(record(), name, "")))


def test_numbers_too_large_are_no_numbers() -> None:
    text = limner_text.write(record(), "d" * 64).replace('"guidance":1.0', f'"guidance":1{"0" * 400}')
    with pytest.raises(ValueError, match="'guidance' is no finite number"):
        limner_text.parse(text)


def test_the_record_in_a_picture_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "damaged.png"
    chunks = read_chunks(seal_image(flat_png(), record()))
    path.write_bytes(write_chunks(c if b"limner\0" not in c.body else Chunk(c.kind, b"limner\0{}") for c in chunks))
    found = describe(path)
    assert found["record"] is None
    assert any("is damaged" in sentence for sentence in found["says"])
    with pytest.raises(InputRefused, match="does not say how Limner made it"):
        read_record(path)


def test_nothing_of_this_machine_is_in_the_picture(tmp_path: Path) -> None:
    home = tmp_path / "home-of-somebody"
    uses = (
        lora_use(path=home / "blobs" / "ab" / "cdef"),
        lora_use("far", seed=2, url="https://user:hunter2@hub.example/x/lora.safetensors?token=sesame#part"),
    )
    sealed = seal_image(flat_png(), record(loras=uses), credentials=home)
    for secret in ("home-of-somebody", str(tmp_path), str(Path.home()), "hunter2", "sesame", "blobs/"):
        assert secret.encode() not in sealed, secret
    assert b"https://hub.example/x/lora.safetensors" in sealed
    for name in (getpass.getuser(), platform.node()):
        # a short name, such as "root", may stand in a picture by chance or as a word of the certificate's own
        if len(name) > 4:
            assert name.encode() not in sealed, name


def test_earlier_texts_are_dropped_and_any_format_becomes_png(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("parameters", "somebody else's")
    info.add_text("Comment", "made at home")
    for data in (saved_as("PNG", pnginfo=info), saved_as("WEBP", lossless=True), saved_as("TIFF")):
        sealed = seal_image(data, record())
        assert b"somebody" not in sealed
        assert b"made at home" not in sealed
        assert pixel_digest(sealed) == pixel_digest(data)
        texts = read_texts(read_chunks(sealed))
        assert texts["parameters"].startswith("a drawing of zibbo on the beach <lora:zib@v1:0.8>\nSteps: 20")


def test_the_marks_of_ai_are_read_by_pillow() -> None:
    with Image.open(io.BytesIO(seal_image(flat_png(), record()))) as opened:
        assert "trainedAlgorithmicMedia" in opened.text["XML:com.adobe.xmp"]
        exif = opened.getexif()
        assert (exif[0x0131], exif[0x010F], exif[0x0110]) == ("AI generated;txt2img;flux", "Limner", "limner-tiny")


# --- inspecting -------------------------------------------------------------------------------------------------


def inspected(tmp_path: Path, data: bytes, name: str = "picture") -> dict[str, Any]:
    path = tmp_path / name
    path.write_bytes(data)
    return inspect_file(path)


def test_a_picture_of_ours(tmp_path: Path) -> None:
    found = inspected(tmp_path, seal_image(flat_png(), record(), credentials=tmp_path))
    assert found["what"] == "picture"
    assert (found["made_with"], found["media_type"], found["width"], found["height"]) == ("Limner", "image/png", 24, 16)
    assert found["record"]["loras"][0]["digest"] == "1" * 64
    assert "path" not in found["record"]["loras"][0]
    assert found["ai_marks"] == ["XMP", "EXIF", "C2PA"]
    assert found["pixels"]["unchanged"] is True
    assert found["credential"]["state"] == "valid"
    json.dumps(found)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_that_says_nothing(tmp_path: Path, kind: str) -> None:
    found = inspected(tmp_path, saved_as(kind))
    assert found["media_type"] == f"image/{kind.lower()}"
    assert (found["made_with"], found["record"], found["summary"], found["ai_marks"]) == ("", None, None, [])
    assert found["pixels"]["unchanged"] is None
    assert found["credential"]["state"] == "absent"
    assert found["says"] == [
        "It does not say how it was made.",
        "It carries no mark of AI.",
        "It carries no content credential.",
    ]


def user_comment(text: str, coding: str) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode(coding)
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("coding", ["utf-16-be", "utf-16-le"])
def test_a_jpeg_or_webp_of_a1111(tmp_path: Path, kind: str, coding: str) -> None:
    text = "a cat, ünïcode\nNegative prompt: dog\nSteps: 4, Sampler: Euler, Seed: 1, Size: 24x16"
    found = inspected(tmp_path, saved_as(kind, exif=user_comment(text, coding)))
    assert found["made_with"].startswith("A1111")
    assert found["summary"]["prompt"] == "a cat, ünïcode"
    assert found["summary"]["settings"]["Seed"] == "1"


@pytest.mark.parametrize(
    ("keyword", "text", "tool"),
    [
        ("parameters", "a cat\nSteps: 4, Seed: 1, Size: 8x8", "A1111"),
        ("prompt", json.dumps(GRAPH), "ComfyUI"),
        ("workflow", json.dumps({"nodes": [{"type": "CLIPTextEncode", "widgets_values": ["a cat"]}]}), "ComfyUI"),
        ("invokeai_metadata", json.dumps({"positive_prompt": "a cat", "seed": 1}), "InvokeAI"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_pngs_of_other_programs(tmp_path: Path, keyword: str, text: str, tool: str, compressed: bool) -> None:
    info = PngInfo()
    info.add_text(keyword, text, zip=compressed)
    found = inspected(tmp_path, saved_as("PNG", pnginfo=info))
    assert found["made_with"].startswith(tool)
    assert found["summary"]["prompt"].startswith("a cat")
    assert found["record"] is None
    with pytest.raises(InputRefused, match="does not say how Limner made it"):
        read_record(tmp_path / "picture")


def test_a_webp_of_comfyui(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "prompt:" + json.dumps(GRAPH)
    exif[0x010F] = 'workflow:{"nodes": []}'
    found = inspected(tmp_path, saved_as("WEBP", exif=exif))
    assert (found["made_with"], found["summary"]["loras"]) == ("ComfyUI", [{"name": "cats.safetensors", "scale": 0.7}])


@pytest.mark.parametrize(
    "form",
    [
        '<x:D Iptc4xmpExt:DigitalSourceType="{}"/>',
        "<Iptc4xmpExt:DigitalSourceType>\n {} \n</Iptc4xmpExt:DigitalSourceType>",
        '<Iptc4xmpExt:DigitalSourceType rdf:resource="{}"/>',
    ],
)
def test_xmp_of_other_programs(tmp_path: Path, form: str) -> None:
    kind = "http://cv.iptc.org/newscodes/digitalsourcetype/{}"
    ai = form.format(kind.format("trainedAlgorithmicMedia")).encode()
    camera = form.format(kind.format("digitalCapture")).encode()
    assert inspected(tmp_path, saved_as("JPEG", xmp=ai))["ai_marks"] == ["XMP"]
    assert inspected(tmp_path, saved_as("JPEG", xmp=camera))["ai_marks"] == []


@many
@given(st.binary(max_size=80))
def test_damaged_exif_is_left_out(tmp_path_factory: pytest.TempPathFactory, block: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "exif"
    for data in (saved_as("JPEG", exif=b"Exif\0\0II*\0" + block), saved_as("WEBP", exif=b"II*\0" + block)):
        path.write_bytes(data)
        assert describe(path)["credential"]["state"] == "absent"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "neither a picture nor a lora"),
        (b"just words", "neither a picture nor a lora"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "neither a picture nor a lora"),
        (b"GIF89a", "neither a picture nor a lora"),
        (b"\x89PNG\r\n\x1a\n", "cannot be read: it is cut short"),
        (b"\xff\xd8\xff\xe0 text", "cannot be read: .+"),
        (saved_as("JPEG")[:-100], "cannot be read: .+"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "cannot be read: .+"),
        (write_chunks([Chunk(b"IEND", b"")]), "cannot be read: its contents are no picture, or are damaged"),
    ],
)
def test_what_is_no_picture(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(InputRefused, match=reason) as told:
        inspected(tmp_path, data, "odd.png")
    assert told.value.remedy
    assert " at 0x" not in str(told.value)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        inspect_file(tmp_path / "nothing.png")
    with pytest.raises(InputRefused, match="cannot be read: Is a directory"):
        inspect_file(tmp_path)


def test_a_picture_with_too_many_pixels(tmp_path: Path) -> None:
    first, *rest = read_chunks(flat_png())
    huge = replace(first, body=(30_000).to_bytes(4, "big") * 2 + first.body[8:])
    with pytest.raises(InputRefused, match="too large to be opened"):
        inspected(tmp_path, write_chunks([huge, *rest]))


def test_pixels_changed_by_a_program_that_keeps_the_texts(tmp_path: Path) -> None:
    other = picture()
    other.putpixel((0, 0), (9, 9, 9))
    kept = [c for c in read_chunks(seal_image(flat_png(), record())) if c.kind in (b"tEXt", b"iTXt")]
    first, *rest = read_chunks(saved_as("PNG", other))
    found = inspected(tmp_path, write_chunks([first, *kept, *rest]))
    assert found["pixels"]["unchanged"] is False
    assert "Its pixels were changed after it was drawn." in found["says"]
