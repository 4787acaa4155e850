"""Odd files: what does nothing is left out and told, odd spellings are understood, the rest is refused with a word."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from limner.catalog import find_base
from limner.errors import LoraRefused
from limner.loras.checks.inspection import inspect
from limner.loras.checks.validation import validate
from limner.loras.conversion.convert import Conversion, convert, to_diffusers
from limner.types import Family, TensorNaming

from .definitions import LINEARS, assert_same, changes, pack, read, write

WIDTH = 8
chance = np.random.default_rng(7)
Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


def adapter(module: str, rows: int, columns: int, *, ends: str = "AB", rank: int = 2, zero: bool = False) -> Tensors:
    low, high = {"AB": ("lora_A.weight", "lora_B.weight"), "du": ("lora_down.weight", "lora_up.weight")}[ends]
    up = np.zeros((rows, rank)) if zero else chance.integers(1, 9, size=(rows, rank)) / 4
    return {
        f"{module}.{low}": pack(chance.integers(1, 9, size=(rank, columns)) / 4, "F32"),
        f"{module}.{high}": pack(up, "F32"),
    }


def converted(folder: Path, tensors: Tensors, **how: object) -> Conversion:
    path = write(folder / "a.safetensors", tensors, how.pop("metadata", None))  # type: ignore[arg-type]
    return to_diffusers(path, folder / "b.safetensors", **how)  # type: ignore[arg-type]


def modules(path: Path) -> set[str]:
    return {name.rsplit(".lora_", 1)[0] for name in read(path)[0] if not name.endswith(".alpha")}


def codes(done: Conversion) -> list[str]:
    return [finding.code for finding in done.findings]


TO_Q = adapter("transformer.transformer_blocks.0.attn.to_q", WIDTH, WIDTH)


@pytest.mark.parametrize("prefix", ["", "diffusion_model.", "base_model.model.", "transformer."])
def test_names_with_their_heads_cut_off(tmp_path: Path, prefix: str) -> None:
    tensors = adapter(f"{prefix}sformer_blocks.0.ff.linear_in", 6 * WIDTH, WIDTH)
    tensors |= adapter(f"{prefix}le_transformer_blocks.3.attn.to_out", WIDTH, 4 * WIDTH)
    done = converted(tmp_path, tensors)
    assert modules(done.path) == {
        "transformer.transformer_blocks.0.ff.linear_in",
        "transformer.single_transformer_blocks.3.attn.to_out",
    }


def test_names_that_musubi_tuner_puts_only_half_of_the_dots_into(tmp_path: Path) -> None:
    tensors = adapter("diffusion_model.double_blocks.1.img_attn_qkv", 3 * WIDTH, WIDTH)
    tensors |= adapter("diffusion_model.double_blocks.1.txt_attn_proj", WIDTH, WIDTH)
    tensors |= adapter("diffusion_model.double_blocks.1.img_mlp.0", 6 * WIDTH, WIDTH)
    block = "transformer.transformer_blocks.1."
    assert modules(converted(tmp_path, tensors).path) == {
        block + name for name in ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_add_out", "ff.linear_in")
    }
    lone = adapter("diffusion_model.double_blocks.1.img_attn_qkv", 3 * WIDTH, WIDTH)
    with pytest.raises(LoraRefused, match="HunyuanVideo"):
        converted(tmp_path, lone)


def test_the_share_of_linear1_that_comfyui_gives_xlabs_files(tmp_path: Path) -> None:
    tensors = adapter("diffusion_model.single_blocks.2.linear1_qkv", 3 * WIDTH, WIDTH, ends="du")
    tensors |= adapter("diffusion_model.single_blocks.2.linear2", WIDTH, 5 * WIDTH, ends="du")
    block = "transformer.single_transformer_blocks.2."
    wanted = {block + name for name in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_out")}
    done = converted(tmp_path, tensors)
    assert modules(done.path) == wanted
    back = convert(done.path, TensorNaming.BFL, tmp_path / "c.safetensors")
    up = read(back.path)[0]["diffusion_model.single_blocks.2.linear1.lora_B.weight"]
    assert up.shape[0] == 7 * WIDTH
    assert not up[3 * WIDTH :].any()


def test_what_does_nothing_is_left_out_and_told(tmp_path: Path) -> None:
    idle = {
        "lora_unet_double_blocks_0_img_attn_proj.diff_b": pack(np.zeros(WIDTH), "F32"),
        "transformer.transformer_blocks.0.attn.to_q.lora_B.bias": pack(np.zeros(WIDTH), "F16"),
        "lora_unet_nothing.alpha": pack(np.float64(4), "F32"),
        **adapter("transformer.some_other_layer", WIDTH, WIDTH, zero=True),
    }
    done = converted(tmp_path, TO_Q | idle)
    assert set(done.dropped) == set(idle)
    assert codes(done) == ["left-out"]
    assert_same(changes(write(tmp_path / "c", TO_Q), Family.FLUX1), changes(done.path, Family.FLUX1))


@pytest.mark.parametrize(
    "more",
    [
        {"transformer.transformer_blocks.0.norm.scale": pack(np.zeros(WIDTH), "F32")},
        adapter("transformer.some_other_layer", WIDTH, WIDTH),
    ],
    ids=["full tensor", "layer"],
)
def test_what_does_something_and_cannot_be_converted_is_refused(tmp_path: Path, more: Tensors) -> None:
    with pytest.raises(LoraRefused, match="cannot be converted"):
        converted(tmp_path, TO_Q | more)
    assert not (tmp_path / "b.safetensors").exists()


def guided(width: int, rows: int) -> Tensors:
    """What fal's trainer of FLUX.2 writes: layers of the guidance embedding beside those of the blocks."""
    tensors = adapter("base_model.model.double_blocks.0.img_mlp.0", rows * width, width)
    tensors |= adapter("base_model.model.guidance_in.in_layer", width, 256)
    return tensors | adapter("base_model.model.guidance_in.out_layer", width, width)


def test_guidance_layers_are_kept_where_the_base_has_them(tmp_path: Path) -> None:
    done = converted(tmp_path, guided(6144, 6))
    assert not done.dropped
    assert {name for name in modules(done.path) if "guidance" in name} == {
        "transformer.time_guidance_embed.guidance_embedder.linear_1",
        "transformer.time_guidance_embed.guidance_embedder.linear_2",
    }
    assert validate(done.path, find_base("flux2-dev")).modules == 3


def test_guidance_layers_are_left_out_and_told_where_the_base_has_none(tmp_path: Path) -> None:
    """klein is told from [dev] by its width; [schnell] and [dev] have one shape, so schnell must be named."""
    klein = write(tmp_path / "k.safetensors", guided(4096, 6))
    assert "guidance" in {finding.code for finding in inspect(klein).findings}
    done = to_diffusers(klein, tmp_path / "b.safetensors")
    assert len(done.dropped) == 4
    assert codes(done) == ["guidance-left-out", "alpha-elsewhere", "unread-elsewhere"]
    assert modules(done.path) == {"transformer.transformer_blocks.0.ff.linear_in"}
    one = guided(3072, 4)
    assert not converted(tmp_path, one).dropped
    assert len(converted(tmp_path, one, base=find_base("flux1-schnell")).dropped) == 4


T5 = "text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q"


@pytest.mark.parametrize(
    "module",
    [T5, "lora_te3_encoder_block_0_layer_0_SelfAttention_q", "lora_te2_encoder_block_0_layer_0_SelfAttention_q",
     "text_encoder_2.encoder.block.0.layer.0.SelfAttention.q",
     "text_encoders.clip_l.transformer.text_model.embeddings.position_embedding"],
)  # fmt: skip
def test_text_encoders_that_no_reader_takes_are_refused_or_dropped(tmp_path: Path, module: str) -> None:
    tensors = TO_Q | adapter(module, 16, 16)
    with pytest.raises(LoraRefused, match="text encoder"):
        converted(tmp_path, tensors)
    done = converted(tmp_path, tensors, drop_text_encoder=True)
    assert (len(done.dropped), codes(done)) == (2, ["text-encoder-left-out"])
    idle = converted(tmp_path, TO_Q | adapter(module, 16, 16, zero=True))
    assert (len(idle.dropped), codes(idle)) == (2, ["left-out"])


def test_clip_is_kept_in_flux1_and_refused_in_flux2_which_has_none(tmp_path: Path) -> None:
    clip = adapter("lora_te1_text_model_encoder_layers_3_mlp_fc2", 6, 24, ends="du")
    one = adapter("lora_unet_single_blocks_0_modulation_lin", 3 * WIDTH, WIDTH, ends="du")
    done = converted(tmp_path, one | clip)
    assert (done.modules, done.text_encoder_modules, done.dropped) == (1, 1, ())
    assert "text_encoder.text_model.encoder.layers.3.mlp.fc2" in modules(done.path)
    assert [f.code for f in inspect(done.path).findings if f.code.startswith("text")] == ["text-encoder"]
    without = converted(tmp_path, one | clip, drop_text_encoder=True)
    assert (without.modules, without.text_encoder_modules, len(without.dropped)) == (1, 0, 2)
    two = adapter("lora_unet_single_blocks_0_linear2", WIDTH, 4 * WIDTH, ends="du")
    with pytest.raises(LoraRefused, match="text encoder"):
        converted(tmp_path, two | clip)


@pytest.mark.parametrize("shape", [(6, 6), (5, 24)])
def test_clip_layers_of_an_impossible_shape_are_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    clip = adapter("text_encoder.text_model.encoder.layers.3.self_attn.q_proj", 6, 6)
    clip |= adapter("text_encoder.text_model.encoder.layers.3.mlp.fc2", *shape)
    with pytest.raises(LoraRefused, match="CLIP-L"):
        converted(tmp_path, TO_Q | clip)


KINDS = {
    "LoKr": {"diffusion_model.double_blocks.0.img_attn.qkv.lokr_w1": (4, 4)},
    "LoHa": {"lora_unet_double_blocks_0_img_attn_qkv.hada_w1_a": (4, 4)},
    "DoRA": {"transformer.transformer_blocks.0.attn.to_q.dora_scale": (WIDTH, 1)},
    "OFT": {"lora_unet_double_blocks_0_img_attn_proj.oft_blocks": (2, 4, 4)},
    "Tucker": {"lora_unet_double_blocks_0_img_attn_proj.lora_mid.weight": (2, 2)},
    "control LoRA": {"double_blocks.0.img_attn.norm.query_norm.scale": (4,)},
    "HunyuanVideo": {"lora_unet_double_blocks_0_img_mlp_fc1.lora_down.weight": (2, WIDTH)},
}


@pytest.mark.parametrize("naming", [TensorNaming.DIFFUSERS, TensorNaming.KOHYA, TensorNaming.BFL])
@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_adapter_are_refused_by_name(tmp_path: Path, kind: str, naming: TensorNaming) -> None:
    odd = {name: pack(np.ones(shape), "F32") for name, shape in KINDS[kind].items()}
    path = write(tmp_path / "a.safetensors", TO_Q | odd)
    with pytest.raises(LoraRefused, match=kind):
        convert(path, naming, tmp_path / "b.safetensors")


@pytest.mark.parametrize("component", ["transformer", "text_encoder"])
def test_a_header_that_says_dora_is_refused(tmp_path: Path, component: str) -> None:
    header = json.dumps({f"{component}.r": 2, f"{component}.lora_alpha": 2, f"{component}.use_dora": True})
    with pytest.raises(LoraRefused, match="DoRA"):
        converted(tmp_path, TO_Q, metadata={"lora_adapter_metadata": header})


def test_peft_files_are_told_to_keep_their_strength_elsewhere(tmp_path: Path) -> None:
    tensors = adapter("base_model.model.transformer_blocks.0.ff.net.2", WIDTH, 4 * WIDTH)
    assert codes(converted(tmp_path, tensors)) == ["alpha-elsewhere"]


def test_an_alpha_is_a_number_and_no_vector(tmp_path: Path) -> None:
    """Trainers that go on from a file refuse an alpha of the shape [1]."""
    path = write(tmp_path / "a.safetensors", TO_Q)
    done = convert(path, TensorNaming.KOHYA, tmp_path / "k.safetensors")
    assert read(done.path)[0]["lora_unet_double_blocks_0_img_attn_qkv.alpha"].shape == ()


def test_two_adapters_for_one_layer_are_refused(tmp_path: Path) -> None:
    twice = TO_Q | adapter("lora_unet_double_blocks_0_img_attn_qkv", 3 * WIDTH, WIDTH, ends="du")
    with pytest.raises(LoraRefused, match="two adapters for one layer"):
        converted(tmp_path, twice)


def test_two_namings_in_one_file_are_made_one(tmp_path: Path) -> None:
    mixed = TO_Q | adapter("lora_unet_double_blocks_0_img_attn_proj", WIDTH, WIDTH, ends="du")
    block = "transformer.transformer_blocks.0.attn."
    assert modules(converted(tmp_path, mixed).path) == {block + "to_q", block + "to_out.0"}


@pytest.mark.parametrize("family", list(Family))
def test_no_spelling_means_two_layers(family: Family) -> None:
    """Every layer's name, in every naming, is another one."""
    parts = [part for linear in LINEARS[family].values() for part, _ in linear.parts]
    spelt = [part.replace(".", "_") for part in parts] + [name.replace(".", "_") for name in LINEARS[family]]
    repeated = {name for name in spelt if spelt.count(name) > 1}
    assert len(parts) == len(set(parts))
    assert not repeated
