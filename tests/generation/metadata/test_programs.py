"""Pictures as other programs write them: each is read for what it says, or is said to be unreadable."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner.generation.metadata.provenance import Provenance, read_provenance
from limner.generation.metadata.reading import PROGRAMS

PARAMETERS = (
    "a cat, <lora:cats:0.7>\nNegative prompt: blurry, low quality\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 123456, Size: 512x768, Model: thing"
)


def png(**texts: Any) -> bytes:
    said = PngInfo()
    for keyword, text in texts.items():
        said.add_itxt(keyword.replace("__", "-"), text if isinstance(text, str) else json.dumps(text))
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG", pnginfo=said)
    return stream.getvalue()


def with_exif(kind: str, values: dict[int, Any]) -> bytes:
    exif = Image.Exif()
    for tag, value in values.items():
        if tag == 0x9286:
            exif.get_ifd(0x8769)[tag] = value
        else:
            exif[tag] = value
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, kind, exif=exif.tobytes())
    return stream.getvalue()


def read(folder: Path, data: bytes) -> Provenance:
    path = folder / "picture"
    path.write_bytes(data)
    return read_provenance(path)


# --- A1111 and those who write as it does --------------------------------------------------------------------------

CODINGS = {
    "utf-16 big-endian": b"UNICODE\0" + PARAMETERS.encode("utf-16-be"),
    "utf-16 little-endian": b"UNICODE\0" + PARAMETERS.encode("utf-16-le"),
    "with a big-endian mark": b"UNICODE\0\xfe\xff" + PARAMETERS.encode("utf-16-be"),
    "with a little-endian mark": b"UNICODE\0\xff\xfe" + PARAMETERS.encode("utf-16-le"),
    "utf-8 after UNICODE": b"UNICODE\0" + PARAMETERS.encode(),
    "utf-8 after UNICODE with a mark": b"UNICODE\0\xef\xbb\xbf" + PARAMETERS.encode(),
    "ascii": b"ASCII\0\0\0" + PARAMETERS.encode(),
    "undefined, utf-8": b"\0" * 8 + PARAMETERS.encode(),
    "undefined, utf-16": b"\0" * 8 + PARAMETERS.encode("utf-16-le"),
    "no coding named": PARAMETERS.encode(),
    "padded with zeros": b"ASCII\0\0\0" + PARAMETERS.encode() + b"\0" * 40,
}


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "PNG"])
@pytest.mark.parametrize("coding", CODINGS)
def test_a_user_comment_in_any_coding(tmp_path: Path, kind: str, coding: str) -> None:
    found = read(tmp_path, with_exif(kind, {0x9286: CODINGS[coding]}))
    assert found.source == "a1111"
    assert found.text is not None
    assert found.text.prompt == "a cat, <lora:cats:0.7>"
    assert found.text.negative_prompt == "blurry, low quality"
    assert found.text.settings["Seed"] == "123456"


@pytest.mark.parametrize("prompt", ["一只猫在沙滩上", "ネコ、海", "고양이", "кот на пляже", "🐈 en été"])
@pytest.mark.parametrize("coding", ["utf-16-be", "utf-16-le", "utf-8"])
def test_a_user_comment_in_any_script(tmp_path: Path, prompt: str, coding: str) -> None:
    text = f"{prompt}\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 99, Size: 8x8"
    found = read(tmp_path, with_exif("JPEG", {0x9286: b"UNICODE\0" + text.encode(coding)}))
    assert (found.source, found.text and found.text.prompt) == ("a1111", prompt)


@pytest.mark.parametrize(
    "comment",
    [
        b"ASCII\0\0\0Screenshot",
        b"ASCII\0\0\0" + b" " * 60,
        b"UNICODE\0" + bytes(range(256)) * 4,
        b"\x8f\x02\x9b" * 40,
        b"ASCII\0\0\0OLYMPUS DIGITAL CAMERA",
        b"UNICODE\0" + json.dumps({"effect": [1, 2], "Seed": 3}).encode(),
        b'ASCII\0\0\0{"Steps": 20, "Sampler": "x", "Seed": 1, "Size": "8x8"',
    ],
)
def test_a_remark_noise_or_json_is_no_prompt(tmp_path: Path, comment: bytes) -> None:
    found = read(tmp_path, with_exif("JPEG", {0x9286: comment}))
    assert (found.source, found.text) == ("", None)


A1111 = {
    "settings above templates": (
        PARAMETERS + "\nTemplate: a {cat|dog}, __colour__, size: {1|2}, a: b, c: d\nNegative Template: {x|y}",
        "a cat, <lora:cats:0.7>",
        "blurry, low quality",
    ),
    "no negative prompt": (
        PARAMETERS.replace("Negative prompt: blurry, low quality\n", ""),
        "a cat, <lora:cats:0.7>",
        "",
    ),
    "settings alone": (PARAMETERS.split("\n")[-1], "", ""),
    "all in one line": (PARAMETERS.replace("\n", " "), "a cat, <lora:cats:0.7>", "blurry, low quality"),
    "one line, no negative": ("a cat, <lora:cats:0.7> " + PARAMETERS.split("\n")[-1], "a cat, <lora:cats:0.7>", ""),
    "line breaks of Windows": (PARAMETERS.replace("\n", "\r\n"), "a cat, <lora:cats:0.7>", "blurry, low quality"),
    "a prompt that speaks of steps": (
        "Steps: 3, to the door: open, a: b\n" + PARAMETERS,
        "Steps: 3, to the door: open, a: b\na cat, <lora:cats:0.7>",
        "blurry, low quality",
    ),
}


@pytest.mark.parametrize("name", A1111)
def test_the_forms_of_a1111(tmp_path: Path, name: str) -> None:
    text, prompt, negative = A1111[name]
    found = read(tmp_path, png(parameters=text)).text
    assert found is not None
    assert (found.prompt, found.negative_prompt) == (prompt, negative)
    assert found.settings["Seed"] == "123456"


def test_quoted_values_and_the_resources_of_civitai(tmp_path: Path) -> None:
    resources = [
        {"type": "checkpoint", "modelName": "FLUX", "modelVersionId": 1},
        {"type": "lora", "weight": 0.65, "modelName": "Ink, and wash", "modelVersionId": 2},
    ]
    text = (
        'a cat\nSteps: 20, Sampler: Euler, Hires prompt: "a cat, sitting: still", Seed: 7, Size: 8x8, '
        f"Civitai resources: {json.dumps(resources)}, Civitai metadata: {json.dumps({'a': {'b': [1]}})}, Version: v1"
    )
    comment = b"UNICODE\0" + text.encode("utf-16-be")
    found = read(tmp_path, with_exif("JPEG", {0x9286: comment})).text
    assert found is not None
    assert found.settings["Hires prompt"] == "a cat, sitting: still"
    assert json.loads(found.settings["Civitai resources"]) == resources
    assert found.settings["Version"] == "v1"
    assert found.loras == (("Ink, and wash", 0.65),)


# --- one object of JSON -------------------------------------------------------------------------------------------

FOOOCUS = {
    "prompt": "a cat",
    "negative_prompt": "blurry",
    "full_prompt": ["a cat", "x"],
    "seed": "123456",
    "steps": 30,
    "guidance_scale": 4.0,
    "resolution": "(896, 1152)",
    "base_model": "thing",
    "loras": [["cats", 0.7, "ab"]],
    "metadata_scheme": "fooocus",
    "version": "Fooocus v2.5.5",
    "sampler": "dpmpp_2m",
}
SWARM = {
    "sui_image_params": {
        "prompt": "a cat",
        "negativeprompt": "blurry",
        "seed": 123456,
        "steps": 20,
        "cfgscale": 1,
        "width": 8,
        "height": 8,
        "fluxguidancescale": 3.5,
        "model": "thing",
        "loras": ["cats", "ink"],
        "loraweights": ["0.7", "1"],
    },
    "sui_extra_data": {"date": "2026-01-01"},
}
NOVELAI = {
    "prompt": "a cat",
    "uc": "blurry",
    "seed": 123456,
    "steps": 28,
    "scale": 5.0,
    "sampler": "k_euler",
    "width": 8,
    "height": 8,
    "signed_hash": "x",
}
NOVELAI_4 = {"v4_prompt": {"caption": {"base_caption": "a cat"}}, "uc": "blurry", "seed": 123456}
CIVITAI = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {}},
    "extraMetadata": json.dumps({"prompt": "a cat", "negativePrompt": "blurry", "seed": 123456, "cfgScale": 7}),
}
DRAW_THINGS = {"c": "a cat", "uc": "blurry", "seed": 123456, "steps": 8, "lora": [{"model": "cats", "weight": 0.7}]}
INVOKE = {
    "positive_prompt": "a cat",
    "negative_prompt": "blurry",
    "seed": 123456,
    "width": 8,
    "height": 8,
    "loras": [{"model": {"name": "cats"}, "weight": 0.7}],
    "model": {"name": "thing"},
}
INVOKE_2 = {
    "model": "stable diffusion",
    "model_weights": "thing",
    "app_version": "2.3.5",
    "image": {"prompt": [{"prompt": "a cat [blurry]", "weight": 1.0}], "seed": 123456, "steps": 50},
}

OBJECTS = [
    ("fooocus", png(parameters=FOOOCUS, fooocus_scheme="fooocus")),
    ("fooocus", with_exif("JPEG", {0x9286: b"UNICODE\0" + json.dumps(FOOOCUS).encode("utf-16-be")})),
    ("fooocus", with_exif("WEBP", {0x9286: b"ASCII\0\0\0" + json.dumps(FOOOCUS).encode()})),
    ("swarmui", png(parameters=SWARM)),
    ("swarmui", with_exif("JPEG", {0x9286: b"UNICODE\0" + json.dumps(SWARM).encode("utf-16-le")})),
    ("novelai", png(Software="NovelAI", Source="NovelAI Diffusion V3", Description="a cat", Comment=NOVELAI)),
    ("novelai", png(Software="NovelAI", Comment=NOVELAI_4)),
    ("civitai", with_exif("JPEG", {0x9286: b"UNICODE\0" + json.dumps(CIVITAI).encode("utf-16-be")})),
    ("drawthings", with_exif("JPEG", {0x9286: b"ASCII\0\0\0" + json.dumps(DRAW_THINGS).encode()})),
    ("invokeai", png(invokeai_metadata=INVOKE, invokeai_graph={"nodes": {}})),
    ("invokeai", png(sd__metadata=INVOKE_2, Dream='"a cat [blurry]" -s 50 -S 123456')),
    ("invokeai", png(Dream='"a cat [blurry]" -s 50 -S 123456 -W 512 -H 768 -C 7.5 -A k_lms')),
    ("invokeai", png(Dream='"a cat [blurry]" -s50 -S123456')),
    ("easydiffusion", png(prompt="a cat", negative_prompt="blurry", seed="123456", num_inference_steps="25")),
]


@pytest.mark.parametrize("number", range(len(OBJECTS)))
def test_programs_that_write_json(tmp_path: Path, number: int) -> None:
    source, data = OBJECTS[number]
    found = read(tmp_path, data)
    assert found.source == source
    assert source in PROGRAMS
    assert found.text is not None
    assert (found.text.prompt, found.text.negative_prompt) == ("a cat", "blurry")
    assert found.text.settings["Seed"] == "123456"
    if found.text.loras:
        assert found.text.loras[0] == ("cats", 0.7)


def test_what_their_loras_are(tmp_path: Path) -> None:
    assert read(tmp_path, png(parameters=SWARM)).text.loras == (("cats", 0.7), ("ink", 1.0))  # type: ignore[union-attr]
    assert read(tmp_path, png(parameters=FOOOCUS)).text.settings["Size"] == "896x1152"  # type: ignore[union-attr]


@pytest.mark.parametrize("keyword", ["parameters", "prompt", "workflow", "invokeai_metadata"])
@pytest.mark.parametrize("text", ['{"a": 1}', "[1, 2, 3]", '{"Steps": 1, "Seed": 2, "Size": 3', "[" * 9000])
def test_json_that_nobody_knows_is_said_to_be_unreadable(tmp_path: Path, keyword: str, text: str) -> None:
    found = read(tmp_path, png(**{keyword: text}))
    assert found.source != "a1111"
    if keyword != "invokeai_metadata" or not text.startswith('{"a"'):
        assert (found.source, found.text) == ("", None)
        assert f"cannot be read here ({keyword})" in found.problem


# --- ComfyUI ------------------------------------------------------------------------------------------------------


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


SAMPLER = node(
    "KSampler",
    model=["9", 0],
    positive=["p", 0],
    negative=["n", 0],
    latent_image=["l", 0],
    seed=123456,
    steps=20,
    cfg=1.0,
    sampler_name="euler",
    scheduler="simple",
)
REST = {
    "9": node("UNETLoader", unet_name="flux1-dev.safetensors"),
    "n": node("CLIPTextEncode", text="blurry", clip=["c", 0]),
    "c": node("DualCLIPLoader", clip_name1="a", clip_name2="b"),
    "l": node("EmptyLatentImage", width=512, height=768, batch_size=1),
    "s": SAMPLER,
    "v": node("VAEDecode", samples=["s", 0], vae=["9", 2]),
    "o": node("SaveImage", images=["v", 0], filename_prefix="x"),
}
GRAPHS: dict[str, tuple[dict[str, Any], str]] = {
    "plain": ({"p": node("CLIPTextEncode", text="a cat", clip=["c", 0])}, "a cat"),
    "two encoders": (
        {"p": node("CLIPTextEncodeFlux", clip_l="a cat", t5xxl="a cat", guidance=3.5, clip=["c", 0])},
        "a cat",
    ),
    "of two sizes": ({"p": node("CLIPTextEncodeSDXL", text_g="a cat", text_l="on a mat", width=8)}, "a cat\non a mat"),
    "a text of its own": (
        {"p": node("CLIPTextEncode", text=["t", 0], clip=["c", 0]), "t": node("PrimitiveString", value="a cat")},
        "a cat",
    ),
    "concatenated texts": (
        {
            "p": node("CLIPTextEncode", text=["t", 0], clip=["c", 0]),
            "t": node("StringConcatenate", string_a=["a", 0], string_b="on a mat", delimiter=" "),
            "a": node("String Literal", string="a cat"),
        },
        "a cat on a mat",
    ),
    "texts of a pack": (
        {
            "p": node("CLIPTextEncode", text=["t", 0], clip=["c", 0]),
            "t": node("Text Concatenate", delimiter=", ", clean_whitespace="true", text_a=["a", 0], text_b=["b", 0]),
            "a": node("ShowText|pysssss", text="a cat"),
            "b": node("Text Multiline", text="on a mat"),
        },
        "a cat, on a mat",
    ),
    "guidance between": (
        {
            "p": node("FluxGuidance", guidance=3.5, conditioning=["q", 0]),
            "q": node("ControlNetApply", conditioning=["r", 0], control_net=["k", 0], image=["i", 0]),
            "r": node("CLIPTextEncode", text="a cat", clip=["c", 0]),
            "k": node("ControlNetLoader", control_net_name="depth"),
            "i": node("LoadImage", image="x.png"),
        },
        "a cat",
    ),
    "combined": (
        {
            "p": node("ConditioningCombine", conditioning_1=["q", 0], conditioning_2=["r", 0]),
            "q": node("CLIPTextEncode", text="a cat", clip=["c", 0]),
            "r": node("CLIPTextEncode", text="a mat", clip=["c", 0]),
        },
        "a cat\na mat",
    ),
    "within a subgraph": (
        {"p": node("Reroute", value=["10:3", 0]), "10:3": node("CLIPTextEncode", text="a cat")},
        "a cat",
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_prompt_that_reaches_the_sampler(tmp_path: Path, name: str) -> None:
    nodes, prompt = GRAPHS[name]
    # a prompt of something else, in the same graph
    other = {"0": node("CLIPTextEncode", text="an older idea", clip=["c", 0])}
    found = read(tmp_path, png(prompt={**other, **REST, **nodes}))
    assert found.source == "comfyui"
    assert found.text is not None
    assert (found.text.prompt, found.text.negative_prompt) == (prompt, "blurry")
    assert (found.text.settings["Seed"], found.text.settings["Model"]) == ("123456", "flux1-dev.safetensors")


def test_a_custom_sampler_with_its_parts(tmp_path: Path) -> None:
    graph = {
        "s": node(
            "SamplerCustomAdvanced",
            noise=["r", 0],
            guider=["g", 0],
            sampler=["k", 0],
            sigmas=["b", 0],
            latent_image=["l", 0],
        ),
        "r": node("RandomNoise", noise_seed=["e", 0]),
        "e": node("Seed (rgthree)", seed=123456),
        "g": node("BasicGuider", model=["9", 0], conditioning=["p", 0]),
        "p": node("CLIPTextEncode", text="a cat", clip=["c", 0]),
        "k": node("KSamplerSelect", sampler_name="euler"),
        "b": node("BasicScheduler", scheduler="beta", steps=25, denoise=1.0, model=["9", 0]),
        "o": node("SaveImage", images=["s", 0]),
    }
    found = read(tmp_path, png(prompt=graph)).text
    assert found is not None
    assert found.prompt == "a cat"
    assert (found.settings["Seed"], found.settings["Steps"], found.settings["Sampler"]) == ("123456", "25", "euler")


LOADERS = {
    "one": (node("LoraLoader", lora_name="cats.safetensors", strength_model=0.7, strength_clip=1.0), 1),
    "model only": (node("LoraLoaderModelOnly", lora_name="cats.safetensors", strength_model=0.7), 1),
    "power loader": (
        node(
            "Power Lora Loader (rgthree)",
            PowerLoraLoaderHeaderWidget={"type": "x"},
            lora_1={"on": True, "lora": "cats.safetensors", "strength": 0.7},
            lora_2={"on": False, "lora": "off.safetensors", "strength": 1},
            lora_3={"on": True, "lora": "None", "strength": 1},
        ),
        1,
    ),
    "stack of rgthree": (
        node("Lora Loader Stack (rgthree)", lora_01="cats.safetensors", strength_01=0.7, lora_02="None", strength_02=1),
        1,
    ),
    "stack with switches": (
        node(
            "CR LoRA Stack",
            switch_1="On",
            lora_name_1="cats.safetensors",
            model_weight_1=0.7,
            clip_weight_1=1,
            switch_2="Off",
            lora_name_2="off.safetensors",
            model_weight_2=1,
        ),
        1,
    ),
    "efficient stack": (
        node(
            "LoRA Stacker",
            lora_count=2,
            lora_name_1="cats.safetensors",
            lora_wt_1=0.7,
            lora_name_2="ink",
            lora_wt_2=0.5,
        ),
        2,
    ),
    "no strength": (node("LoraLoader", lora_name="off.safetensors", strength_model=0), 0),
}


@pytest.mark.parametrize("name", LOADERS)
def test_the_loras_of_loaders_and_stacks(tmp_path: Path, name: str) -> None:
    loader, count = LOADERS[name]
    found = read(tmp_path, png(prompt={**REST, "x": loader})).text
    assert found is not None
    assert len(found.loras) == count
    if count:
        assert found.loras[0] == ("cats.safetensors", 0.7)


def test_where_its_graphs_stand_in_other_formats(tmp_path: Path) -> None:
    graph = json.dumps({**REST, "p": node("CLIPTextEncode", text="a cat")})
    for data in (
        with_exif("WEBP", {0x0110: f"prompt:{graph}", 0x010F: 'workflow:{"nodes": []}'}),
        with_exif("JPEG", {0x010F: f"Prompt:{graph}", 0x010E: 'Workflow:{"nodes": []}'}),
        with_exif("JPEG", {0x9286: b"ASCII\0\0\0" + graph.encode()}),
        png(prompt=graph.replace("1.0", "NaN"), workflow={"nodes": []}),
    ):
        found = read(tmp_path, data)
        assert (found.source, found.text and found.text.prompt) == ("comfyui", "a cat")


def test_a_workflow_leaves_out_what_is_muted_or_bypassed(tmp_path: Path) -> None:
    nodes = [
        {"type": "CLIPTextEncode", "mode": 0, "widgets_values": ["a cat"]},
        {"type": "CLIPTextEncode", "mode": 2, "widgets_values": ["muted"]},
        {"type": "LoraLoader", "mode": 4, "widgets_values": ["off.safetensors", 1, 1]},
        {"type": "LoraLoader", "mode": 0, "widgets_values": ["cats.safetensors", 0.7, 1]},
    ]
    inner = {"nodes": [{"type": "CLIPTextEncode", "widgets_values": ["on a mat"]}]}
    found = read(tmp_path, png(workflow={"nodes": nodes, "definitions": {"subgraphs": [inner]}})).text
    assert found is not None
    assert (found.prompt, found.loras) == ("a cat\non a mat", (("cats.safetensors", 0.7),))


@pytest.mark.parametrize("shape", ["chain", "star", "ladder"])
def test_a_graph_of_many_nodes_costs_what_its_length_costs(tmp_path: Path, shape: str) -> None:
    """Each node is gone through once: otherwise none of these would end within the time of a test."""
    many = 5_000
    links = {
        "chain": lambda at: {"text": [str(at + 1), 0]},
        "star": lambda at: {f"text_{each % 26}": [str(each), 0] for each in range(at + 1, min(at + 20, many))},
        "ladder": lambda at: {"text_a": [str(at + 1), 0], "text_b": [str(at + 2), 0]},
    }[shape]
    graph = {str(at): node("Text Concatenate", delimiter="", **links(at)) for at in range(many)}
    graph[str(many)] = node("CLIPTextEncode", text="a cat")
    graph["s"] = node("KSampler", positive=["0", 0], negative=["0", 0], latent_image=["l", 0])
    found = read(tmp_path, png(prompt=graph)).text
    assert found is not None
    if shape == "chain":
        assert found.prompt == "a cat"
