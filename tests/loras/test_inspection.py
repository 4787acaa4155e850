"""What a file is, judged by names and shapes; what does not fit a base is refused with the reason."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from limner.catalog import bases, find_base
from limner.errors import InputRefused, LoraRefused
from limner.loras import inspect, validate
from limner.loras.file.naming import index_names
from limner.loras.file.number_formats import decode, encode
from limner.loras.file.strength import adapter_header, declared_strength
from limner.types import Family, TensorNaming

from .making import diffusers_file, flux1_linears, flux2_linears, kohya_name, matrices, saved

TINY = find_base("limner-tiny")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return diffusers_file(tmp_path / "tiny.safetensors", flux1_linears())


def codes(facts: object) -> set[str]:
    return {finding.code for finding in facts.findings}  # type: ignore[attr-defined]


def test_a_lora_of_limner_tiny(tiny: Path) -> None:
    facts = validate(tiny, TINY)
    assert (facts.base, facts.family, facts.naming) == ("limner-tiny", Family.FLUX1, TensorNaming.DIFFUSERS)
    assert (facts.rank, facts.alpha, facts.ranks, facts.dtype) == (4, 4.0, (4,), "F32")
    assert (facts.double_blocks, facts.single_blocks) == ((0, 1), (0, 1, 2, 3))
    assert facts.modules == len([name for name in flux1_linears() if "blocks" in name])
    assert facts.byte_size == tiny.stat().st_size
    assert not facts.findings


def test_every_linear_layer_of_both_families_is_known(tmp_path: Path) -> None:
    """The table of layers against diffusers' own models: each path, input and output."""
    tiny = diffusers_file(tmp_path / "1.safetensors", flux1_linears(), only="")
    assert validate(tiny, TINY).modules == len(flux1_linears())
    base = dataclasses.replace(find_base("flux2-klein-4b"), shape={"double_blocks": 2, "single_blocks": 3, "width": 32})
    klein = diffusers_file(tmp_path / "2.safetensors", flux2_linears(32, 2, 3), only="")
    assert validate(klein, base).modules == len(flux2_linears(32, 2, 3))


@pytest.mark.parametrize("base", [base for base in bases().values() if base.id != "flux1-schnell"], ids=lambda b: b.id)
def test_a_base_is_recognised_by_one_layer_of_its_last_single_block(tmp_path: Path, base: object) -> None:
    width, last = base.shape["width"], base.shape["single_blocks"] - 1  # type: ignore[attr-defined]
    flux1 = base.family is Family.FLUX1  # type: ignore[attr-defined]
    shape = (5 * width, width) if flux1 else (4 * width, width)
    part = "proj_out" if flux1 else "attn.to_out"
    path = diffusers_file(tmp_path / "a.safetensors", {f"single_transformer_blocks.{last}.{part}": shape}, rank=1)
    twins = ("flux1-dev", "flux1-schnell")
    assert inspect(path).candidates == (twins if base.id in twins else (base.id,))  # type: ignore[attr-defined]
    assert validate(path, base).base == base.id  # type: ignore[attr-defined,arg-type]


def test_klein_has_the_width_of_flux1_and_is_told_apart_by_blocks_and_shapes(tmp_path: Path) -> None:
    few = {"transformer_blocks.3.attn.to_q": (3072, 3072)}
    facts = inspect(diffusers_file(tmp_path / "a.safetensors", few, rank=1))
    assert "several-bases" in codes(facts)
    many = {"transformer_blocks.5.attn.to_q": (3072, 3072)}
    facts = inspect(diffusers_file(tmp_path / "b.safetensors", many, rank=1))
    assert (facts.family, facts.candidates) == (Family.FLUX1, ("flux1-dev", "flux1-schnell"))
    header = {"limner.base": "flux2-klein-4b"}
    facts = inspect(diffusers_file(tmp_path / "c.safetensors", few, rank=1, metadata=header))
    assert (facts.base, facts.family, codes(facts)) == ("flux2-klein-4b", Family.FLUX2, {"base-by-hint"})


@pytest.mark.parametrize(
    ("key", "value", "base", "told"),
    [
        ("modelspec.architecture", "flux-1-dev/lora", "flux1-dev", False),
        ("modelspec.architecture", "flux-1-schnell/lora", "flux1-schnell", False),
        ("ss_base_model_version", "flux1", "", False),
        ("ss_sd_model_name", "models/flux1-schnell-fp8.safetensors", "flux1-schnell", False),
        ("base_model", "black-forest-labs/FLUX.1-schnell", "flux1-schnell", False),
        ("limner.base", "flux2-dev", "", True),
        ("modelspec.architecture", "stable-diffusion-xl-v1-base/lora", "", False),
    ],
)
def test_the_header_is_heard_where_shapes_leave_it_open(
    tmp_path: Path, key: str, value: str, base: str, told: bool
) -> None:
    path = diffusers_file(
        tmp_path / "a.safetensors", {"transformer_blocks.18.attn.to_q": (3072, 3072)}, rank=1, metadata={key: value}
    )
    facts = inspect(path)
    assert facts.base == base
    assert ("header-disagrees" in codes(facts)) is told


FOREIGN = {
    "SDXL": ({"lora_unet_input_blocks_7_1_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 2048)}, "SDXL"),
    "SD 1": ({"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 768)}, "1."),
    "SD 3": ({"lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight": (4, 1536)}, "Stable Diffusion 3"),
    "LoKr": ({"lora_unet_double_blocks_0_img_attn_qkv.lokr_w1": (4, 4)}, "LoKr"),
    "LoHa": ({"lora_unet_double_blocks_0_img_attn_qkv.hada_w1_a": (4, 4)}, "LoHa"),
    "DoRA": (
        {
            "transformer.transformer_blocks.0.attn.to_q.lora_A.weight": (4, 192),
            "transformer.transformer_blocks.0.attn.to_q.lora_B.weight": (192, 4),
            "transformer.transformer_blocks.0.attn.to_q.dora_scale": (192, 1),
        },
        "DoRA",
    ),
    "DoRA of PEFT": ({"base_model.model.transformer_blocks.0.attn.to_q.lora_magnitude_vector.weight": (192,)}, "DoRA"),
    "embedding": ({"emb_params": (4, 768)}, "embedding"),
    "control": ({"double_blocks.0.img_attn.norm.query_norm.scale": (128,)}, "control"),
    "Qwen-Image": ({"transformer.transformer_blocks.0.img_mlp.net.0.proj.lora_A.weight": (4, 3072)}, "Qwen"),
    "Wan": ({"diffusion_model.blocks.0.self_attn.q.lora_A.weight": (4, 5120)}, "Wan"),
    "Hunyuan": ({"transformer.double_blocks.0.img_attn_qkv.lora_A.weight": (4, 3072)}, "Hunyuan"),
    "whole model": ({"double_blocks.0.img_attn.qkv.weight": (9216, 3072)}, "whole model"),
    "something": ({"linear.weight": (4, 4)}, "no LoRA"),
    "another LoRA": ({"decoder.layer.3.q.lora_A.weight": (4, 4)}, "no layer of a FLUX"),
    "nothing": ({}, "no tensors"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_flux_lora_is_named(tmp_path: Path, name: str) -> None:
    shapes, reason = FOREIGN[name]
    path = saved(
        tmp_path / "x.safetensors", {key: torch.ones(shape, dtype=torch.float16) for key, shape in shapes.items()}
    )
    for look in (inspect, lambda p: validate(p, TINY)):
        with pytest.raises(LoraRefused) as refusal:
            look(path)
        assert reason in refusal.value.message
        assert refusal.value.remedy


def test_a_flux1_lora_on_a_flux2_base_and_the_other_way_round(tmp_path: Path) -> None:
    one = diffusers_file(tmp_path / "1.safetensors", {"transformer_blocks.18.ff.net.2": (4 * 3072, 3072)}, rank=1)
    with pytest.raises(LoraRefused, match=r"FLUX\.1 \(flux1-dev or flux1-schnell\), and does not fit FLUX\.2"):
        validate(one, find_base("flux2-dev"))
    two = diffusers_file(tmp_path / "2.safetensors", {"transformer_blocks.1.ff.linear_out": (3 * 6144, 6144)}, rank=1)
    with pytest.raises(LoraRefused, match=r"FLUX\.2 \(flux2-dev\), and does not fit FLUX\.1"):
        validate(two, find_base("flux1-dev"))


def test_the_right_family_at_the_wrong_width(tiny: Path) -> None:
    with pytest.raises(LoraRefused, match=r"takes 192 numbers, the layer of flux1-dev takes 3072.*fits limner-tiny"):
        validate(tiny, find_base("flux1-dev"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2])
@pytest.mark.parametrize("half", ["lora_A", "lora_B"])
def test_one_number_that_is_not_finite_is_found(
    tmp_path: Path, tiny: Path, value: float, dtype: torch.dtype, half: str
) -> None:
    tensors = load_file(tiny)
    name = f"transformer.single_transformer_blocks.3.attn.to_v.{half}.weight"
    damaged = tensors[name].clone()
    damaged[-1, -1] = value
    tensors[name] = damaged.to(dtype)
    path = saved(tmp_path / "bad.safetensors", tensors)
    with pytest.raises(LoraRefused, match="not finite"):
        validate(path, TINY)


def test_a_lora_that_does_nothing_and_one_that_does_little(tmp_path: Path, tiny: Path) -> None:
    tensors = load_file(tiny)
    idle = {name: torch.zeros_like(t) if "lora_B" in name else t for name, t in tensors.items()}
    assert codes(validate(saved(tmp_path / "0.safetensors", idle), TINY)) == {"does-nothing"}
    one = "transformer.transformer_blocks.0.attn.to_q.lora_B.weight"
    assert codes(validate(saved(tmp_path / "1.safetensors", idle | {one: tensors[one]}), TINY)) == {"idle-layers"}


def test_defects_are_told_in_inspection_and_refused_in_validation(tmp_path: Path, tiny: Path) -> None:
    tensors = load_file(tiny)
    layer = "transformer.transformer_blocks.0.attn.to_q"
    alone = {name: t for name, t in tensors.items() if name != f"{layer}.lora_B.weight"}
    odd = tensors | {"transformer.nothing.lora_A.weight": torch.ones(2, 2)}
    ranks = tensors | {f"{layer}.lora_B.weight": torch.ones(192, 5)}
    flat = tensors | {f"{layer}.lora_A.weight": torch.ones(4, 192, 1, 1)}
    hollow = tensors | {f"{layer}.lora_A.weight": torch.ones(0, 192), f"{layer}.lora_B.weight": torch.ones(192, 0)}
    whole = tensors | {f"{layer}.lora_A.weight": torch.ones(4, 192, dtype=torch.int8)}
    cases = {"missing": alone, "mean nothing": odd, "ranks": ranks, "linear layer": flat or hollow, "I8": whole}
    cases["which are not those"] = hollow
    for reason, changed in cases.items():
        path = saved(tmp_path / "x.safetensors", changed)
        inspect(path)
        with pytest.raises(LoraRefused, match=reason):
            validate(path, TINY)
    for alpha in (torch.tensor(float("nan")), torch.tensor([1.0, 2.0])):
        with pytest.raises(LoraRefused, match="one finite number"):
            inspect(saved(tmp_path / "x.safetensors", tensors | {f"{layer}.alpha": alpha}))


def test_text_encoder_parts_are_told(tmp_path: Path, tiny: Path) -> None:
    down, up = matrices((64, 256), 2, 0)
    clip, t5 = (
        "text_encoder.text_model.encoder.layers.0.mlp.fc1",
        "text_encoder_2.encoder.block.0.layer.1.DenseReluDense.wo",
    )
    for name, told in ((clip, "text-encoder"), (t5, "text-encoder-unread")):
        tensors = load_file(tiny) | {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
        assert codes(validate(saved(tmp_path / "x.safetensors", tensors), TINY)) == {told}
    wrong = load_file(tiny) | {f"{clip}.lora_A.weight": down, f"{clip}.lora_B.weight": up[:100]}
    with pytest.raises(LoraRefused, match="CLIP-L"):
        validate(saved(tmp_path / "x.safetensors", wrong), TINY)


def test_a_text_encoder_tells_the_family_where_the_layers_do_not(tmp_path: Path) -> None:
    clip = {"text_encoder.text_model.encoder.layers.0.mlp.fc1": (768, 3072)}
    shared = {"transformer_blocks.3.attn.to_q": (3072, 3072)}
    path = diffusers_file(tmp_path / "a.safetensors", shared, rank=1)
    tensors = load_file(path)
    for name, shape in clip.items():
        down, up = matrices(shape, 1, 0)
        tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    facts = inspect(saved(tmp_path / "b.safetensors", tensors))
    assert (facts.family, facts.candidates) == (Family.FLUX1, ("flux1-dev", "flux1-schnell"))


def test_strength_is_read_from_what_diffusers_and_peft_write(tmp_path: Path) -> None:
    from diffusers import FluxPipeline, FluxTransformer2DModel
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    model = FluxTransformer2DModel(
        num_layers=2, num_single_layers=4, attention_head_dim=32, num_attention_heads=6, joint_attention_dim=64,
        pooled_projection_dim=64, axes_dims_rope=(4, 14, 14),
    )  # fmt: skip
    config = LoraConfig(
        r=4, lora_alpha=8, target_modules=["attn.to_q", "attn.to_k", "proj_mlp"],
        rank_pattern={"proj_mlp": 2}, alpha_pattern={"proj_mlp": 3.0}, init_lora_weights="gaussian",
    )  # fmt: skip
    model.add_adapter(config)
    FluxPipeline.save_lora_weights(
        tmp_path,
        convert_state_dict_to_diffusers(get_peft_model_state_dict(model)),
        transformer_lora_adapter_metadata=model.peft_config["default"].to_dict(),
    )
    facts = validate(tmp_path / "pytorch_lora_weights.safetensors", TINY)
    assert (facts.rank, facts.alpha, facts.ranks) == (4, 8.0, (2, 4))
    declared = declared_strength(facts.metadata)
    assert declared is not None
    assert declared.alpha_of("single_transformer_blocks.0.proj_mlp", 2) == 3.0


def test_a_header_whose_rank_is_not_that_of_the_matrices(tmp_path: Path) -> None:
    header = adapter_header({"transformer_blocks.0.attn.to_q": (8, 8.0)})
    path = diffusers_file(tmp_path / "a.safetensors", flux1_linears(), metadata={"lora_adapter_metadata": header})
    assert "header-rank" in codes(inspect(path))
    with pytest.raises(LoraRefused, match="another rank"):
        validate(path, TINY)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"transformer.r": "x"}', '{"transformer.r": 0}', '{"transformer.lora_alpha": Infinity}',
             '{"transformer.alpha_pattern": {"(a+)+$": 1}}', '{"transformer.rank_pattern": 7}'],
)  # fmt: skip
def test_a_header_that_garbles_the_strength_is_refused(tmp_path: Path, text: str) -> None:
    path = diffusers_file(tmp_path / "a.safetensors", flux1_linears(), metadata={"lora_adapter_metadata": text})
    with pytest.raises(LoraRefused, match="lora_adapter_metadata"):
        inspect(path)


@given(
    st.dictionaries(
        st.sampled_from(sorted(flux1_linears())), st.tuples(st.integers(1, 64), st.floats(0.01, 512)), min_size=1
    )
)
@settings(max_examples=100, deadline=None)
def test_the_header_of_strengths_goes_both_ways_and_as_peft_reads_it(strengths: dict[str, tuple[int, float]]) -> None:
    from peft.utils.other import get_pattern_key

    text = adapter_header(strengths)
    declared, config = declared_strength({"lora_adapter_metadata": text}), json.loads(text)
    assert declared is not None
    for name, (rank, alpha) in strengths.items():
        assert (declared.rank_of(name), declared.alpha_of(name, rank)) == (rank, alpha)
        patterns = config["transformer.rank_pattern"], config["transformer.alpha_pattern"]
        theirs = [pattern.get(get_pattern_key(pattern.keys(), name)) for pattern in patterns]
        assert (theirs[0] or config["transformer.r"]) == rank
        assert (theirs[1] if theirs[1] is not None else config["transformer.lora_alpha"]) == alpha


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=40) | st.sampled_from([
    kohya_name("double_blocks.{}.img_attn.qkv", 3) + ".lora_down.weight", "transformer.x_embedder.lora_A.weight",
    "double_blocks.٣.img_attn.qkv.lora_A.weight", "double_blocks.007.img_attn.qkv.lora_A.weight", ".alpha",
    "double_blocks.{}.img_attn.qkv.alpha",
]), unique=True))  # fmt: skip
def test_any_name_is_put_in_exactly_one_place(names: list[str]) -> None:
    for family in Family:
        index = index_names(names, family)
        slots = [name for slot in index.slots.values() for name in (slot.down, slot.up, slot.alpha) if name]
        assert sorted([*slots, *index.text_encoder, *index.unknown]) == sorted(names)


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("BF16", torch.bfloat16),
        ("F16", torch.float16),
        ("F8_E4M3", torch.float8_e4m3fn),
        ("F8_E5M2", torch.float8_e5m2),
    ],
)
def test_every_code_of_the_small_formats_is_decoded_as_torch_does(dtype: str, kind: torch.dtype) -> None:
    wide = dtype in ("BF16", "F16")
    raw = np.arange(65536 if wide else 256, dtype=np.uint16 if wide else np.uint8)
    theirs = torch.from_numpy(raw.copy()).view(kind).float().numpy()
    ours = decode(raw.view(np.float16) if dtype == "F16" else raw, dtype).astype(np.float32)
    np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_numbers_are_rounded_as_torch_does(values: list[float]) -> None:
    exact = np.array(values, dtype=np.float64)
    for dtype, kind in (("BF16", torch.bfloat16), ("F16", torch.float16), ("F32", torch.float32)):
        theirs = torch.tensor(values, dtype=torch.float32).to(kind).double().numpy()
        np.testing.assert_array_equal(encode(exact, dtype).numbers(), theirs)


def test_an_unknown_base_is_refused_before_a_lora_is_read() -> None:
    with pytest.raises(InputRefused):
        find_base("flux9")
