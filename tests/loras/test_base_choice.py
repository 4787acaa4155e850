"""Which base a file is for: sizes that do not fit, several that do, what decides between them, and other models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from limner.catalog import bases, find_base
from limner.errors import LoraRefused
from limner.loras import inspect, validate
from limner.types import Family

Shapes = Mapping[str, tuple[int, int]]


def hollow(path: Path, layers: Shapes, metadata: Mapping[str, str] | None = None, *, rank: int = 2) -> Path:
    """A LoRA in diffusers' naming for layers (in, out) of any size; its zeros are a hole in the file."""
    header: dict[str, object] = {"__metadata__": dict(metadata or {})}
    at = 0
    for name, (inputs, outputs) in layers.items():
        for end, shape in (("lora_A", (rank, inputs)), ("lora_B", (outputs, rank))):
            size = 2 * shape[0] * shape[1]
            header[f"transformer.{name}.{end}.weight"] = {
                "dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size],
            }  # fmt: skip
            at += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
    return path


TO_Q = {"transformer_blocks.6.attn.to_q": (3072, 3072)}
ENDS = {
    "x_embedder": ("latents", 0), "context_embedder": ("text", 0), "proj_out": ("latents", 1),
    "time_text_embed.text_embedder.linear_1": ("pooled", 0), "time_text_embed.timestep_embedder.linear_1": (256, 0),
}  # fmt: skip


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("base", bases().values(), ids=lambda base: base.id)
def test_the_first_and_last_layers_have_the_sizes_of_the_base(
    tmp_path: Path, base: object, name: str, wrong: bool
) -> None:
    key, end = ENDS[name]
    own = base.shape if base.family is Family.FLUX1 else {**base.shape, "pooled": 0}  # type: ignore[attr-defined]
    if base.family is Family.FLUX2:  # type: ignore[attr-defined]
        if "text_embedder" in name:
            return  # FLUX.2 has none
        name = name.replace("time_text_embed", "time_guidance_embed")
    size = key if isinstance(key, int) else own[key]
    sizes = [base.shape["width"]] * 2  # type: ignore[attr-defined]
    sizes[end] = size + 8 * wrong
    path = hollow(tmp_path / "a.safetensors", {name: (sizes[0], sizes[1])})
    if wrong:
        with pytest.raises(LoraRefused, match=f"{size + 8} numbers|other inputs"):
            validate(path, base)  # type: ignore[arg-type]
    else:
        assert base.id in inspect(path).candidates  # type: ignore[attr-defined]


@pytest.mark.parametrize(("inputs", "named"), [(128, "control LoRA"), (384, "FLUX.1 Fill")])
@pytest.mark.parametrize("more", [TO_Q, {"single_transformer_blocks.37.proj_out": (15360, 3072)}])
def test_a_lora_that_reads_more_than_the_noise_is_named(tmp_path: Path, inputs: int, named: str, more: Shapes) -> None:
    path = hollow(tmp_path / "a.safetensors", {"x_embedder": (inputs, 3072), **more})
    for look in (inspect, lambda one: validate(one, find_base("flux1-dev"))):
        with pytest.raises(LoraRefused, match=named) as refusal:
            look(path)
        assert str(inputs) in refusal.value.message


TWINS = ("flux1-dev", "flux1-schnell")
OPEN: dict[str, tuple[Shapes, tuple[str, ...]]] = {
    "dev and schnell": (TO_Q, TWINS),
    "only single blocks": ({"single_transformer_blocks.30.norm.linear": (3072, 9216)}, TWINS),
    "few layers": ({"transformer_blocks.0.attn.to_q": (3072, 3072)}, (*TWINS, "flux2-klein-4b")),
    "the output alone": ({"norm_out.linear": (3072, 6144)}, (*TWINS, "flux2-klein-4b")),
}


@pytest.mark.parametrize("case", OPEN)
def test_what_fits_several_bases_is_said_to_and_none_is_given(tmp_path: Path, case: str) -> None:
    layers, fitting = OPEN[case]
    facts = inspect(hollow(tmp_path / "a.safetensors", layers))
    assert (facts.base, facts.candidates) == ("", fitting)
    (finding,) = [one for one in facts.findings if one.code == "several-bases"]
    assert all(find_base(base).title in finding.message and base in finding.remedy for base in fitting)


@pytest.mark.parametrize(
    ("metadata", "base", "reason"),
    [
        ({"modelspec.architecture": "flux-1-dev/lora"}, "flux1-dev", "modelspec.architecture"),
        ({"base_model": "black-forest-labs/FLUX.1-schnell"}, "flux1-schnell", "base_model"),
        ({"limner.base": "flux1-schnell"}, "flux1-schnell", "limner.base"),
        ({"ss_base_model_version": "flux1", "ss_sd_model_name": "x/flux1-dev.safetensors"}, "flux1-dev", "ss_sd_model"),
        ({"ss_sd_model_name": "C:\\models\\flux1-schnell-fp8.safetensors"}, "flux1-schnell", "ss_sd_model_name"),
        ({"ss_sd_model_name": "black-forest-labs/FLUX.1-dev"}, "flux1-dev", "ss_sd_model_name"),
        ({"modelspec.architecture": "flux-2-klein-4b/lora"}, "flux2-klein-4b", "modelspec.architecture"),
        ({"ss_sd_model_name": "flux1-development-mix.safetensors"}, "", ""),
        ({"ss_base_model_version": "flux1"}, "", "ss_base_model_version"),
    ],
)
def test_hints_of_the_header_decide_or_rank_and_are_named(
    tmp_path: Path, metadata: dict[str, str], base: str, reason: str
) -> None:
    path = hollow(tmp_path / "a.safetensors", {"transformer_blocks.0.attn.to_q": (3072, 3072)}, metadata)
    facts = inspect(path)
    assert facts.base == base
    assert not base or facts.candidates[0] == base
    assert len(facts.candidates) == 3
    (finding,) = [one for one in facts.findings if one.code in ("several-bases", "base-by-hint")]
    assert reason in finding.message


def test_a_family_in_the_header_ranks_its_bases_first(tmp_path: Path) -> None:
    layers = {"transformer_blocks.0.attn.to_q": (3072, 3072)}
    facts = inspect(hollow(tmp_path / "a.safetensors", layers, {"ss_base_model_version": "flux2"}))
    assert (facts.base, facts.candidates[0]) == ("flux2-klein-4b", "flux2-klein-4b")
    facts = inspect(hollow(tmp_path / "b.safetensors", layers), card="black-forest-labs/FLUX.1-schnell")
    assert (facts.base, facts.candidates[0]) == ("flux1-schnell", "flux1-schnell")


def test_guidance_layers_are_a_reason_for_the_base_that_has_them(tmp_path: Path) -> None:
    layers = {**TO_Q, "time_text_embed.guidance_embedder.linear_2": (3072, 3072)}
    facts = inspect(hollow(tmp_path / "a.safetensors", layers))
    assert facts.base == "flux1-dev"
    assert "guidance" in next(one.message for one in facts.findings if one.code == "base-by-hint")


ELSEWHERE = {
    "Chroma": ["chroma/lora", "Chroma1-HD.safetensors", "lodestones/Chroma"],
    "Kontext": ["black-forest-labs/FLUX.1-Kontext-dev", "flux-1-kontext-dev/lora", "flux_kontext"],
    "Fill": ["black-forest-labs/FLUX.1-Fill-dev", "flux1-fill-dev.safetensors"],
    "Redux": ["FLUX.1-Redux-dev"],
    "Canny": ["black-forest-labs/FLUX.1-Canny-dev", "flux1-canny-dev-lora"],
    "Depth": ["FLUX.1-Depth-dev-lora"],
    "Stable Diffusion XL": ["stable-diffusion-xl-v1-base/lora", "sdxl_base_v1-0", "ponyDiffusionV6XL.safetensors"],
    "Stable Diffusion 1": ["stable-diffusion-v1/lora", "sd_v1", "sd_1.5", "v1-5-pruned-emaonly.safetensors", "SD15"],
    "Qwen": ["Qwen/Qwen-Image", "qwen_image"],
    "Wan": ["Wan-AI/Wan2.1-T2V-14B", "wan2.2"],
    "Z-Image": ["Tongyi-MAI/Z-Image-Turbo", "z_image"],
}


@pytest.mark.parametrize("key", ["modelspec.architecture", "ss_base_model_version", "ss_sd_model_name", "base_model"])
@pytest.mark.parametrize(("title", "words"), [(title, one) for title, words in ELSEWHERE.items() for one in words])
def test_a_header_that_names_another_model_is_told(tmp_path: Path, title: str, words: str, key: str) -> None:
    facts = inspect(hollow(tmp_path / "a.safetensors", TO_Q, {key: words}))
    (finding,) = [one for one in facts.findings if one.code == "other-model"]
    assert title in finding.message
    assert key in finding.message
    assert facts.base == ""


@pytest.mark.parametrize(
    "words",
    ["flux1-dev.safetensors", "FLUX.1-dev", "swan_lake", "taiwan2", "flux-1-dev/lora", "depth of field", "sd", ""],
)
def test_other_words_name_no_other_model(tmp_path: Path, words: str) -> None:
    facts = inspect(hollow(tmp_path / "a.safetensors", TO_Q, {"ss_sd_model_name": words}), card="someone/flux1-merge")
    assert "other-model" not in {one.code for one in facts.findings}


def test_a_card_that_names_another_model_is_told(tmp_path: Path) -> None:
    facts = inspect(hollow(tmp_path / "a.safetensors", TO_Q), card="black-forest-labs/FLUX.1-Kontext-dev")
    assert "Its card" in next(one.message for one in facts.findings if one.code == "other-model")
