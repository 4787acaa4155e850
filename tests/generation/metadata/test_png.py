"""The PNG container: texts of every kind are read, and damaged files give a clear error, never a crash."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import InputRefused
from limner.generation.metadata.inspection import describe
from limner.generation.metadata.pixels import pixel_digest
from limner.generation.metadata.png import (
    SIGNATURE,
    Chunk,
    read_chunks,
    read_texts,
    text_chunk,
    utf8_text_chunk,
    write_chunks,
)
from limner.generation.metadata.provenance import seal_image
from tests.generation.making import flat_png, many, picture, record, saved_as

SEALED = seal_image(flat_png(), record())
KIND = st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"IDAT", b"abCd"])


def with_chunks(*chunks: Chunk) -> bytes:
    first, *rest = read_chunks(flat_png())
    return write_chunks([first, *chunks, *rest])


@many
@given(st.lists(st.tuples(KIND, st.binary(max_size=40)), max_size=6))
def test_chunks_come_back_as_they_were_written(parts: list[tuple[bytes, bytes]]) -> None:
    chunks = [Chunk(*part) for part in parts] + [Chunk(b"IEND", b"")]
    assert read_chunks(write_chunks(chunks) + b"what follows is no part of the picture") == chunks


@many
@given(st.lists(st.tuples(KIND, st.binary(max_size=60)), max_size=6))
def test_texts_that_cannot_be_read_are_left_out(parts: list[tuple[bytes, bytes]]) -> None:
    good = text_chunk("parameters", "a cat")
    assert read_texts([*(Chunk(kind, b"x" + body) for kind, body in parts), good])["parameters"] == "a cat"


@many
@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_a_text_comes_back_whatever_its_letters_and_pillow_reads_the_same(text: str) -> None:
    from PIL import Image

    data = with_chunks(text_chunk("a", text), utf8_text_chunk("b", text))
    assert read_texts(read_chunks(data)) == {"a": text, "b": text}
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.text == {"a": text, "b": text}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("text", ["plain", 'quoted "x", and: more', "umlaute äöü", "绘画 🎨\nline"])
def test_texts_that_pillow_wrote_are_read(text: str, compressed: bool) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", text, zip=compressed)
    info.add_itxt("prompt", text, zip=compressed)
    chunks = read_chunks(saved_as("PNG", pnginfo=info))
    assert {chunk.kind for chunk in chunks} & {b"tEXt", b"zTXt", b"iTXt"}
    assert read_texts(chunks) == {"parameters": text, "prompt": text}


def test_a_text_that_unpacks_to_gigabytes_is_left_out() -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(b"\0" * 2**20) for _ in range(64)) + packer.flush()
    assert read_texts([Chunk(b"zTXt", b"a\0\0" + bomb), text_chunk("b", "here")]) == {"b": "here"}


@many
@given(st.integers(0, len(SEALED) - 1))
def test_a_file_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(InputRefused, match=r"The picture cannot be read: it .*\."):
        read_chunks(SEALED[:length])


@many
@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_wherever_it_is(at: int, change: int) -> None:
    damaged = bytearray(SEALED)
    damaged[at] ^= change
    with pytest.raises(InputRefused) as told:
        read_chunks(bytes(damaged))
    assert told.value.remedy


@many
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, signed: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "any.png"
    path.write_bytes((SIGNATURE if signed else b"") + data)
    with pytest.raises(InputRefused):
        describe(path)


@many
@given(st.sampled_from([b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"gAMA", b"iCCP", b"eXIf"]), st.binary(max_size=30))
def test_chunks_with_right_checksums_and_wrong_contents(
    tmp_path_factory: pytest.TempPathFactory, kind: bytes, body: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "odd.png"
    first, *rest = read_chunks(SEALED)
    path.write_bytes(write_chunks([Chunk(kind, body) if kind == b"IHDR" else first, Chunk(kind, body), *rest]))
    try:
        found = describe(path)
    except InputRefused as refusal:
        assert refusal.remedy
        assert " at 0x" not in refusal.message
    else:
        assert found["made_with"] == "Limner"


def test_the_digest_is_of_the_pixels_alone(tmp_path: Path) -> None:
    made = picture()
    assert pixel_digest(saved_as("PNG", made)) == pixel_digest(saved_as("WEBP", made, lossless=True))
    assert pixel_digest(SEALED) == pixel_digest(flat_png())
    other = made.copy()
    other.putpixel((3, 2), (1, 2, 3))
    assert pixel_digest(saved_as("PNG", other)) != pixel_digest(flat_png())
    assert pixel_digest(saved_as("PNG", made.transpose(2))) != pixel_digest(flat_png())
