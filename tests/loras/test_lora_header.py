"""The strict header reader: every lie is refused with a reason, and nothing is accepted that the library refuses."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import safetensors
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from limner.errors import LoraRefused, NotFound
from limner.loras.file.header import digests, read_header

GOOD = save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}, {"k": "v"})


def file_of(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(begin: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


LIES = {
    "empty": (b"", "empty"),
    "zip": (b"PK\x03\x04" + bytes(80), "pickle"),
    "pickle": (pickle.dumps({"x": [1] * 50}, protocol=4), "pickle"),
    "old pickle": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "pickle"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
    "web page": (b"<!DOCTYPE html><html><body>sign in</body></html>", "web page"),
    "gguf": (b"GGUF" + bytes(60), "GGUF"),
    "text": (b"hello world, this is no weights file", "not a safetensors"),
    "few bytes": (b"\x01\x02\x03", "not a safetensors"),
    "header longer than the file": (file_of({"a": entry(0, 4)}, bytes(4), length=5000), "truncated"),
    "huge header": (file_of(b"{}", length=2**40), "header's length"),
    "no JSON": (file_of(b'{"a": nope}'), "JSON"),
    "not UTF-8": (file_of(b'{"\xff": 1}'), "JSON"),
    "deep JSON": (file_of(b'{"a":' + b"[" * 100_000), "JSON"),
    "huge number": (file_of(b'{"a":' + b"9" * 9000 + b"}"), "JSON"),
    "name twice": (file_of(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}}', bytes(4)), "twice"),
    "metadata not text": (file_of({"__metadata__": {"a": 1}}), "metadata"),
    "metadata a list": (file_of({"__metadata__": []}), "metadata"),
    "unknown format": (file_of({"a": entry(0, 4, dtype="F31")}, bytes(4)), "number format"),
    "shape and place differ": (file_of({"a": entry(0, 4, [2])}, bytes(4)), "not as large"),
    "negative shape": (file_of({"a": entry(0, 4, [-1])}, bytes(4)), "impossible"),
    "boolean shape": (file_of(b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}', bytes(4)), "impossible"),
    "backwards": (file_of({"a": entry(4, 0, [0])}, bytes(4)), "impossible"),
    "overflow": (file_of({"a": entry(0, 2**63, [2**61])}, bytes(4)), "impossible"),
    "many dimensions": (file_of({"a": entry(0, 4, [1] * 5000)}, bytes(4)), "impossible"),
    "overlap": (file_of({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)), "overlaps"),
    "same place": (file_of({"a": entry(0, 8), "b": entry(0, 8)}, bytes(8)), "overlaps"),
    "gap": (file_of({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)), "gap"),
    "truncated data": (file_of({"a": entry(0, 400)}, bytes(100)), "truncated"),
    "more data": (file_of({"a": entry(0, 4)}, bytes(12)), "nothing describes"),
    "half a million tensors": (file_of(b'{"a":{"shape":[]}' + b',"a":{"shape":[]}' * 500_000 + b"}"), "more entries"),
    "millions of lists": (file_of(b'{"a":[' + b"[]," * 3_000_000 + b"[]]}"), "more entries"),
    "millions of texts": (file_of(b'{"__metadata__":{"":""' + b',"":""' * 2_000_000 + b"}}"), "more entries"),
    "33 MiB of header": (file_of(b'{"__metadata__":{"a":"' + b"a" * (33 << 20) + b'"}}'), "header's length"),
    "missing field": (file_of({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)), "without"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_file_that_lies_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    data, reason = LIES[name]
    path = tmp_path / "lora.safetensors"
    path.write_bytes(data)
    with pytest.raises(LoraRefused) as refusal:
        read_header(path)
    assert reason in refusal.value.message
    assert refusal.value.remedy
    assert path.read_bytes() == data


def test_a_torch_zip_is_refused_and_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(LoraRefused, match="pickle"):
        read_header(path)


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    text = json.dumps({"a": entry(0, 4)}).encode()
    text += b" " * (0x0280 - len(text))
    path = tmp_path / "a.safetensors"
    path.write_bytes(file_of(text, bytes(4)))
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert list(read_header(path).tensors) == ["a"]


def test_a_long_header_of_a_trainer_is_read(tmp_path: Path) -> None:
    """Kohya's counts of every tag of a large set, and a picture as text: megabytes, but few entries."""
    tags = json.dumps({"1_style": {f"tag {number}": number for number in range(50_000)}})
    picture = "data:image/jpeg;base64," + "A" * 2_000_000
    path = tmp_path / "a.safetensors"
    said = {"ss_tag_frequency": tags, "modelspec.thumbnail": picture}
    path.write_bytes(file_of({"__metadata__": said, "a": entry(0, 4)}, bytes(4)))
    assert read_header(path).metadata == said


def test_folders_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(LoraRefused, match="not a file"):
        read_header(tmp_path)
    with pytest.raises(NotFound):
        read_header(tmp_path / "nothing.safetensors")


def test_what_the_library_wrote_is_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(GOOD)
    header = read_header(path)
    assert header.metadata == {"k": "v"}
    assert {name: entry.shape for name, entry in header.tensors.items()} == {"a": (2, 3), "b": (4,)}
    found = digests(header)
    assert found.file == hashlib.sha256(GOOD).hexdigest()
    assert found.tensors == hashlib.sha256(GOOD[header.data_start :]).hexdigest()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_accepted_the_library_accepts_too(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(damaged), len(damaged), data.draw(st.integers(0, len(damaged)))]))
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(damaged[:cut])
    try:
        header = read_header(path)
    except LoraRefused:
        return
    with safetensors.safe_open(path, framework="np") as reference:
        assert set(reference.keys()) == set(header.tensors)
        assert (reference.metadata() or {}) == header.metadata
