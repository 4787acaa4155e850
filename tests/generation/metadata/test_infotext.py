"""The text that A1111 and Civitai read: ours comes back as written, and anyone's is read tolerantly."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from limner.generation.metadata import infotext
from limner.generation.metadata.comfyui import graph as comfyui
from limner.generation.metadata.comfyui import workflow as comfyui_workflow
from limner.generation.metadata.invokeai import metadata as invokeai
from limner.loras.checks.inspection import inspect
from limner.types import LoraUse
from tests.generation.making import lora_use, many, record

PROMPTS = st.text(max_size=80) | st.lists(
    st.sampled_from(
        ['"', "\\", ":", ",", "\n", "\r\n", "Steps: 1", "Negative prompt:", " ", "é", "🎨", "<", "a, b: c"]
    ),
    max_size=12,
).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)

# the pattern by which A1111's own reader takes the last line apart, written from its documentation
A1111_PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def as_read(prompt: str) -> str:
    """A prompt as readers of this text give it back: one kind of line break, every line stripped."""
    plain = prompt.replace("\0", "").encode("utf-8", "replace").decode()
    lines = plain.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.strip() for line in lines).strip()


@many
@given(
    PROMPTS,
    st.sampled_from(
        [
            ((), ""),
            ((lora_use(),), " <lora:zib@v1:0.8>"),
            ((lora_use("a b, c:d", scale=-0.5), lora_use("é", seed=2)), " <lora:a_b_c_d:-0.5> <lora:é:0.8>"),
        ]
    ),
)
@example("Steps: 1, Sampler: x, CFG scale: 2, Seed: 4", ((), ""))
@example("a cat\nNegative prompt: a dog\nSteps: 20, Seed: 5, Size: 1x1", ((), ""))
def test_what_is_written_is_read_back(prompt: str, loras: tuple[tuple[LoraUse, ...], str]) -> None:
    uses, tags = loras
    found = infotext.parse(infotext.write(record(prompt=prompt, loras=uses)))
    # a word joiner is put before a prompt's own "Negative prompt:"
    assert found.prompt.replace("\u2060", "") == as_read(prompt + tags).replace("\u2060", "")
    assert len(found.loras) >= len(uses)
    assert found.negative_prompt == ""
    assert (found.settings["Seed"], found.settings["Steps"], found.settings["Size"]) == ("7", "20", "24x16")


@many
@given(PROMPTS)
def test_the_last_line_is_read_by_the_pattern_of_other_programs(prompt: str) -> None:
    last = infotext.write(record(prompt=prompt, loras=(lora_use(), lora_use("two", seed=2)))).split("\n")[-1]
    pairs = dict(A1111_PAIR.findall(last))
    assert pairs["Steps"] == "20"
    assert pairs["Sampler"] == "Euler"
    assert pairs["Model hash"] == "c" * 10
    assert json.loads(pairs["Lora hashes"]) == "zib@v1: 999999999999, two: aaaaaaaaaaaa"
    assert pairs["Version"].startswith("Limner")


def test_hashes_are_those_of_civitai(tmp_path: Path) -> None:
    """AutoV3 is of all bytes after the header, so another header leaves it alone; AutoV2 is of the whole file."""
    import numpy

    layer = "transformer.single_transformer_blocks.0.attn.to_q"
    tensors = {
        f"{layer}.lora_A.weight": numpy.ones((2, 192), numpy.float32),
        f"{layer}.lora_B.weight": numpy.ones((192, 2), numpy.float32),
    }
    found = []
    for number, words in enumerate(("one", "another")):
        path = tmp_path / f"{number}.safetensors"
        # a header that claims the digest of nothing, as some trainers write it
        save_file(tensors, path, {"note": words, "sshs_model_hash": hashlib.sha256(b"").hexdigest()})
        data = path.read_bytes()
        tail = data[8 + int.from_bytes(data[:8], "little") :]
        facts = inspect(path)
        assert facts.tensor_digest == hashlib.sha256(tail).hexdigest()
        assert facts.digest == hashlib.sha256(data).hexdigest()
        use = lora_use(digest=facts.digest, tensor_digest=facts.tensor_digest)
        found.append(infotext.parse(infotext.write(record(loras=(use,)))).settings["Lora hashes"])
        older = infotext.parse(infotext.write(record(loras=(lora_use(digest=facts.digest, tensor_digest=""),))))
        assert older.settings["Lora hashes"] == f"zib@v1: {hashlib.sha256(data).hexdigest()[:10]}"
    assert found == [f"zib@v1: {hashlib.sha256(tail).hexdigest()[:12]}"] * 2


def test_a_text_of_a1111() -> None:
    found = infotext.parse(
        "masterpiece, (cat:1.2) <lora:cats_v2:0.8> <lora:style:1:0.5>\nsecond line\n"
        "Negative prompt: blurry, text: none\nmore\n"
        "Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 4294967295, Size: 512x768, "
        'Model hash: abcdef1234, Model: a model, Lora hashes: "cats_v2: 0123456789ab, style: ba9876543210", '
        'TI hashes: "x: y", Version: v1.10.1'
    )
    assert found.prompt.startswith("masterpiece, (cat:1.2)")
    assert found.prompt.endswith("second line")
    assert found.negative_prompt == "blurry, text: none\nmore"
    assert found.loras == (("cats_v2", 0.8), ("style", 1.0))
    assert found.settings["Schedule type"] == "Karras"
    assert found.settings["Lora hashes"] == "cats_v2: 0123456789ab, style: ba9876543210"
    assert found.settings["Version"] == "v1.10.1"


@many
@given(st.text(max_size=200))
@example('Steps: 1, a: "unclosed, b: 2, c: 3')
@example("a" + " " * 20_000)
@example("Negative prompt:")
@example("<lora:a:b> <lora:c:nan> <lora::>")
def test_any_text_is_read(text: str) -> None:
    found = infotext.parse(text)
    assert all(line == line.strip() for line in found.prompt.split("\n"))


def test_a_long_text_is_read_in_time_that_grows_with_its_length() -> None:
    """A reader that looks back over and over would not end within the time that a test is given."""
    assert infotext.parse("a " * 1_000_000).settings == {}
    assert infotext.parse("a, " * 500_000).settings == {}


GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {"seed": 42, "steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple",
                   "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0]},
    },
    "6": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["8", 0]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["11", 0]}},
    "8": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat, \"quoted\"", "clip": ["11", 0]}},
    "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "cats.safetensors", "strength_model": 0.7}},
    "12": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-dev.safetensors"}},
}  # fmt: skip


def test_a_graph_of_comfyui() -> None:
    found = comfyui(json.dumps(GRAPH))
    assert found is not None
    assert (found.prompt, found.negative_prompt) == ('a cat, "quoted"', "blurry")
    assert found.loras == (("cats.safetensors", 0.7),)
    assert (found.settings["Seed"], found.settings["Guidance"]) == ("42", "3.5")
    assert (found.settings["Sampler"], found.settings["Model"]) == ("euler", "flux1-dev.safetensors")


def test_a_ring_of_links_ends() -> None:
    ring = {name: {"class_type": "X", "inputs": {"positive": [other, 0]}} for name, other in ("ab", "ba")}
    found = comfyui(json.dumps(ring))
    assert found is not None
    assert found.prompt == ""


def test_a_workflow_of_comfyui_without_its_graph() -> None:
    nodes = [{"type": "CLIPTextEncode", "widgets_values": ["a cat"]}, {"type": "KSampler", "widgets_values": [1]}]
    found = comfyui_workflow(json.dumps({"nodes": nodes, "links": []}))
    assert found is not None
    assert found.prompt == "a cat"
    assert comfyui_workflow('{"nodes": 3}') is None


def test_metadata_of_invokeai() -> None:
    found = invokeai(
        json.dumps({
            "app_version": "5.6.0", "positive_prompt": "a cat", "negative_prompt": None, "width": 1024, "height": 768,
            "seed": 9, "steps": 30, "guidance": 4, "scheduler": "euler",
            "model": {"key": "x", "hash": "blake3:0123", "name": "FLUX Dev"},
            "loras": [{"model": {"name": "cats"}, "weight": 0.75}, "odd", {"lora": {"model_name": "old"}}],
        })
    )  # fmt: skip
    assert found is not None
    assert (found.prompt, found.negative_prompt) == ("a cat", "")
    assert found.loras == (("cats", 0.75), ("old", 1.0))
    assert (found.settings["Size"], found.settings["Model hash"]) == ("1024x768", "blake3:0123")


NAMES = ["class_type", "inputs", "positive", "text", "seed", "lora_name", "strength_model", "loras", "model", "weight",
         "nodes", "widgets_values", "type", "positive_prompt", "width", "height"]  # fmt: skip
ODD = st.recursive(
    JSON | st.integers(min_value=10**310, max_value=10**311) | st.sampled_from([["a", 0], "CLIPTextEncode"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=25,
)


@pytest.mark.parametrize("read", [comfyui, comfyui_workflow, invokeai])
@many
@given(data=st.data())
def test_any_json_is_read_or_left_alone(read: object, data: st.DataObject) -> None:
    node = st.fixed_dictionaries({"class_type": ODD, "inputs": ODD})
    found = data.draw(
        ODD
        | st.dictionaries(st.sampled_from(["a", "b"]), node)
        | st.dictionaries(st.sampled_from(NAMES), ODD, max_size=8)
    )
    text = read(json.dumps(found))  # type: ignore[operator]
    assert text is None or isinstance(text.prompt, str)


@pytest.mark.parametrize("read", [comfyui, comfyui_workflow, invokeai])
@pytest.mark.parametrize("text", ["", "no json", "[" * 100_000, "9" * 5000, '{"a": NaN}'])
def test_what_is_no_json_is_left_alone(read: object, text: str) -> None:
    found = read(text)  # type: ignore[operator]
    assert found is None or found.prompt == ""
