"""Conversion keeps (alpha / r) B A of every layer, whatever the naming, ranks, alphas and parts; proved in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from limner.errors import LoraRefused
from limner.loras.checks.inspection import family_and_index, inspect
from limner.loras.conversion.convert import convert
from limner.loras.file.header import read_header
from limner.loras.file.layers import deltas, read_layers
from limner.types import TensorNaming

from .making import (
    ALONE,
    FUSED,
    assert_same_changes,
    changes,
    diffusers_file,
    flux1_linears,
    flux2_linears,
    kohya_name,
    matrices,
    saved,
)

WIDTH = 8
LINEARS = flux1_linears(WIDTH, 2, 2)
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
ALPHAS = st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0, 7.0, 16.0, 0.3])
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def own_deltas(path: Path) -> dict[str, np.ndarray]:
    header = read_header(path)
    _, index = family_and_index(header)
    with path.open("rb") as file:
        return deltas(read_layers(file, header, index.slots))


@st.composite
def kohya_files(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """Some layers of both kinds, dense or block-diagonal, with and without alpha, in one of three formats."""
    dtype = draw(st.sampled_from(DTYPES))
    tensors: dict[str, torch.Tensor] = {}
    chosen = draw(st.sets(st.sampled_from([*FUSED, *ALONE]), min_size=1, max_size=5))
    for seed, bfl in enumerate(sorted(chosen)):
        number = draw(st.integers(0, 1)) if "{}" in bfl else 0
        parts = [part.format(number) for part in FUSED.get(bfl, [ALONE.get(bfl, "")])]
        heights = [LINEARS[part][1] for part in parts]
        rank = draw(st.integers(1, 6))
        columns = LINEARS[parts[0]][0]
        kind = draw(st.sampled_from(["dense", "diagonal", "zero", "first only"]))
        if kind == "diagonal":
            ranks = [draw(st.integers(0, 3)) for _ in parts]
            ranks[draw(st.integers(0, len(parts) - 1))] += 1
            down, _ = matrices((columns, 1), sum(ranks), seed, dtype)
            blocks = [
                torch.randn(h, r, generator=torch.Generator().manual_seed(seed + r))
                for h, r in zip(heights, ranks, strict=True)
            ]
            up = torch.block_diag(*blocks).to(dtype)
        else:
            down, up = matrices((columns, sum(heights)), rank, seed, dtype)
            if kind == "zero":
                up = torch.zeros_like(up)
            if kind == "first only":
                up[heights[0] :] = 0
        module = kohya_name(bfl, number)
        tensors[module + ".lora_down.weight"], tensors[module + ".lora_up.weight"] = down, up
        if draw(st.booleans()):
            tensors[module + ".alpha"] = torch.tensor(draw(ALPHAS), dtype=draw(st.sampled_from([dtype, torch.float32])))
    return tensors


@quick
@given(kohya_files())
def test_kohya_to_diffusers_and_back(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    path = saved(tmp_path / "kohya.safetensors", tensors)
    expected = changes(path)
    assert_same_changes(expected, own_deltas(path))

    there = convert(path, TensorNaming.DIFFUSERS, tmp_path / "diffusers.safetensors")
    assert there.error < 2**-23
    assert all(name.startswith("transformer.") for name in load_file(there.path))
    precise = 1e-12 if there.exact else 1e-6
    assert_same_changes(expected, changes(there.path), precise)
    assert_same_changes(expected, own_deltas(there.path), precise)

    back = convert(there.path, TensorNaming.KOHYA, tmp_path / "back.safetensors")
    assert_same_changes(expected, changes(back.path), precise)
    assert {name for name in load_file(back.path) if "lora_" in name} <= set(tensors) | {
        name.replace("lora_down.weight", "alpha") for name in tensors
    }


@st.composite
def diffusers_files(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """Some layers in diffusers' naming, each with a rank, an alpha and a format of its own."""
    tensors: dict[str, torch.Tensor] = {}
    for seed, name in enumerate(draw(st.sets(st.sampled_from(sorted(LINEARS)), min_size=1, max_size=8))):
        down, up = matrices(LINEARS[name], draw(st.integers(1, 5)), seed, draw(st.sampled_from(DTYPES)))
        tensors[f"transformer.{name}.lora_A.weight"], tensors[f"transformer.{name}.lora_B.weight"] = down, up
        if draw(st.booleans()):
            tensors[f"transformer.{name}.alpha"] = torch.tensor(draw(st.sampled_from([1.0, 2.0, 4.0, 8.0])) * len(down))
    return tensors


@quick
@given(diffusers_files(), st.sampled_from([TensorNaming.KOHYA, TensorNaming.BFL]))
def test_diffusers_to_fused_namings_and_back(
    tmp_path: Path, tensors: dict[str, torch.Tensor], naming: TensorNaming
) -> None:
    known = {part for parts in FUSED.values() for part in parts} | set(ALONE.values())
    tensors = {
        name: tensor
        for name, tensor in tensors.items()
        if any(name.startswith(f"transformer.{part.format(n)}.") for part in known for n in (0, 1))
    }
    if not tensors:
        return
    path = saved(tmp_path / "diffusers.safetensors", tensors)
    expected = changes(path)
    there = convert(path, naming, tmp_path / "fused.safetensors")
    assert there.exact
    assert_same_changes(expected, changes(there.path))
    back = convert(there.path, TensorNaming.DIFFUSERS, tmp_path / "back.safetensors")
    assert_same_changes(expected, changes(back.path))


def test_strengths_that_are_no_power_of_two_apart_are_told_to_be_rounded(tmp_path: Path) -> None:
    tensors = {}
    for seed, (part, alpha) in enumerate((("to_q", 4.0), ("to_k", 3.0))):
        down, up = matrices((WIDTH, WIDTH), 4, seed)
        module = f"transformer.transformer_blocks.0.attn.{part}"
        tensors |= {
            f"{module}.lora_A.weight": down,
            f"{module}.lora_B.weight": up,
            f"{module}.alpha": torch.tensor(alpha),
        }
    path = saved(tmp_path / "a.safetensors", tensors)
    done = convert(path, TensorNaming.KOHYA, tmp_path / "b.safetensors")
    assert not done.exact
    left, right = changes(path), changes(done.path)
    for name in left:
        np.testing.assert_allclose(left[name], right[name], rtol=0, atol=1e-6 * np.abs(left[name]).max())


@pytest.mark.parametrize(
    ("alpha", "strength", "dtype", "exact"),
    [
        (4.0, "rank", "BF16", True),
        (2.0, "multiplied", "BF16", True),
        (3.0, "multiplied", "F32", True),  # F32 has room for the product
        (1.2, "multiplied", "F32", False),
        (0.0, "multiplied", "BF16", True),
    ],
)
def test_where_alpha_goes(tmp_path: Path, alpha: float, strength: str, dtype: str, exact: bool) -> None:
    down, up = matrices((WIDTH, WIDTH), 4, 0, torch.bfloat16)
    module = kohya_name("double_blocks.{}.img_attn.proj", 0)
    tensors = {
        f"{module}.lora_down.weight": down,
        f"{module}.lora_up.weight": up,
        f"{module}.alpha": torch.tensor(alpha),
    }
    done = convert(saved(tmp_path / "k.safetensors", tensors), TensorNaming.DIFFUSERS, tmp_path / "d.safetensors")
    assert (done.strength, done.dtypes, done.exact) == (strength, (dtype,), exact)
    assert "lora_adapter_metadata" not in inspect(done.path).metadata
    assert [finding.code for finding in done.findings] == ([] if done.exact else ["rounded"])


@pytest.mark.parametrize(
    ("alpha", "up", "down", "dtype"),
    [
        (4.0, 60000.0, 1.0, "F16"),  # up alone would overflow: both take a part
        (2.0**-12, 2.0**-10, 1.0, "F16"),  # up alone would lose its digits
        (4.0, 60000.0, 60000.0, "F32"),  # there is no room in either
        (3.0, 60000.0, 0.5, "F32"),
        (3e-6, 1e-3, 1.0, "F32"),
    ],
)
def test_a_factor_that_half_precision_has_no_room_for(
    tmp_path: Path, alpha: float, up: float, down: float, dtype: str
) -> None:
    module = kohya_name("double_blocks.{}.img_attn.proj", 0)
    tensors = {
        f"{module}.lora_down.weight": torch.full((1, WIDTH), down, dtype=torch.float16),
        f"{module}.lora_up.weight": torch.full((WIDTH, 1), up, dtype=torch.float16),
        f"{module}.alpha": torch.tensor(alpha),
    }
    path = saved(tmp_path / "k.safetensors", tensors)
    done = convert(path, TensorNaming.DIFFUSERS, tmp_path / "d.safetensors")
    assert done.dtypes == (dtype,)
    assert_same_changes(changes(path), changes(done.path), 1e-12 if done.exact else 1e-7)
    if up * alpha * down < 60000:
        # readers that draw in half precision lose nothing but digits
        halves = {name: tensor.half() for name, tensor in load_file(done.path).items()}
        half = changes(saved(tmp_path / "h.safetensors", halves))
        assert_same_changes(changes(path), half, 1e-3)


@quick
@given(st.integers(1, 4), st.sampled_from(DTYPES), st.sets(st.integers(0, 5), min_size=1))
def test_xlabs_to_diffusers_as_diffusers_itself_reads_it(
    tmp_path: Path, rank: int, dtype: torch.dtype, chosen: set[int]
) -> None:
    from diffusers.loaders.lora_conversion_utils import _convert_xlabs_flux_lora_to_diffusers

    layers = [
        ("double_blocks.1.processor.qkv_lora1", (WIDTH, 3 * WIDTH)),
        ("double_blocks.1.processor.qkv_lora2", (WIDTH, 3 * WIDTH)),
        ("double_blocks.0.processor.proj_lora1", (WIDTH, WIDTH)),
        ("double_blocks.0.processor.proj_lora2", (WIDTH, WIDTH)),
        ("single_blocks.1.processor.qkv_lora", (WIDTH, 3 * WIDTH)),
        ("single_blocks.1.processor.proj_lora", (5 * WIDTH, WIDTH)),
    ]
    tensors = {}
    for at in chosen:
        name, shape = layers[at]
        down, up = matrices(shape, rank, at, dtype)
        tensors |= {f"{name}.down.weight": down, f"{name}.up.weight": up}
    path = saved(tmp_path / "x.safetensors", tensors)
    assert inspect(path).naming is TensorNaming.XLABS
    done = convert(path, TensorNaming.DIFFUSERS, tmp_path / "d.safetensors")
    reference = saved(tmp_path / "r.safetensors", clones(_convert_xlabs_flux_lora_to_diffusers(dict(tensors))))
    assert_same_changes(changes(reference), changes(done.path))


def clones(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def test_kohya_at_the_real_width_as_diffusers_itself_reads_it(tmp_path: Path) -> None:
    """diffusers' own converter knows the real width only; changes so large are compared by what they do to vectors."""
    from diffusers.loaders import FluxLoraLoaderMixin

    width, tensors = 3072, {}
    shapes = {
        "double_blocks.{}.img_attn.qkv": (width, 3 * width),
        "double_blocks.{}.img_mlp.2": (4 * width, width),
        "single_blocks.{}.linear1": (width, 7 * width),
        "single_blocks.{}.linear2": (5 * width, width),
        "single_blocks.{}.modulation.lin": (width, 3 * width),
    }
    for seed, (bfl, shape) in enumerate(shapes.items()):
        down, up = matrices(shape, 4, seed, torch.float32)
        module = kohya_name(bfl, 7)
        tensors |= {
            f"{module}.lora_down.weight": down,
            f"{module}.lora_up.weight": up,
            f"{module}.alpha": torch.tensor(2.0),
        }
    path = saved(tmp_path / "k.safetensors", tensors)
    facts = inspect(path)
    assert (facts.candidates[0], facts.rank, facts.alpha, facts.modules) == ("flux1-dev", 4, 2.0, 5)
    done = convert(path, TensorNaming.DIFFUSERS, tmp_path / "d.safetensors")
    theirs = FluxLoraLoaderMixin.lora_state_dict(tmp_path, weight_name="k.safetensors")
    ours = FluxLoraLoaderMixin.lora_state_dict(tmp_path, weight_name="d.safetensors")
    assert theirs.keys() == ours.keys()
    for name in [name for name in theirs if ".lora_A." in name]:
        vectors = torch.randn(theirs[name].shape[1], 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        high = name.replace("lora_A", "lora_B")
        left = theirs[high].double() @ (theirs[name].double() @ vectors)
        right = ours[high].double() @ (ours[name].double() @ vectors)
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-9)
    back = convert(done.path, TensorNaming.KOHYA, tmp_path / "b.safetensors")
    mine = load_file(back.path)
    for name, tensor in tensors.items():
        if "lora_down" in name:
            assert torch.equal(mine[name], tensor)


def test_flux2_kohya_and_bfl_as_diffusers_itself_reads_them(tmp_path: Path) -> None:
    from diffusers.loaders import Flux2LoraLoaderMixin

    linears = flux2_linears(16, 2, 3)
    path = diffusers_file(tmp_path / "d.safetensors", linears, rank=3)
    for naming in (TensorNaming.KOHYA, TensorNaming.BFL):
        convert(path, naming, tmp_path / f"{naming}.safetensors")
        theirs = Flux2LoraLoaderMixin.lora_state_dict(tmp_path, weight_name=f"{naming}.safetensors")
        reference = saved(tmp_path / "r.safetensors", clones(theirs))
        assert_same_changes(changes(path), changes(reference))
        back = convert(tmp_path / f"{naming}.safetensors", TensorNaming.DIFFUSERS, tmp_path / "back.safetensors")
        assert_same_changes(changes(path), changes(back.path))


def test_peft_gives_the_same_strength_as_the_kohya_file(tmp_path: Path) -> None:
    """The whole way: a Kohya file with odd alphas and ranks, converted, loaded by diffusers into a true transformer."""
    from diffusers import FluxTransformer2DModel
    from diffusers.loaders import FluxLoraLoaderMixin

    tensors = {}
    for seed, (bfl, alpha, rank) in enumerate(
        [
            ("double_blocks.{}.img_attn.qkv", 3.0, 4),
            ("double_blocks.{}.img_mlp.0", 1.0, 6),
            ("single_blocks.{}.linear1", 5.0, 4),
            ("single_blocks.{}.linear2", 4.0, 4),
        ]
    ):
        parts = [part.format(1) for part in FUSED.get(bfl, [ALONE.get(bfl, "")])]
        shape = (flux1_linears(16, 2, 2)[parts[0]][0], sum(flux1_linears(16, 2, 2)[part][1] for part in parts))
        down, up = matrices(shape, rank, seed)
        module = kohya_name(bfl, 1)
        tensors |= {
            f"{module}.lora_down.weight": down,
            f"{module}.lora_up.weight": up,
            f"{module}.alpha": torch.tensor(alpha),
        }
    path = saved(tmp_path / "k.safetensors", tensors)
    done = convert(path, TensorNaming.DIFFUSERS, tmp_path / "d.safetensors")
    assert done.strength == "multiplied"
    model = FluxTransformer2DModel(
        num_layers=2, num_single_layers=2, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=96,
        pooled_projection_dim=40, axes_dims_rope=(2, 2, 4),
    )  # fmt: skip
    state, alphas, metadata = FluxLoraLoaderMixin.lora_state_dict(
        tmp_path, weight_name="d.safetensors", return_alphas=True, return_lora_metadata=True
    )
    FluxLoraLoaderMixin.load_lora_into_transformer(state, alphas, model, adapter_name="x", metadata=metadata)
    loaded = {
        name: module.get_delta_weight("x").detach().double().numpy()
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }
    expected = changes(path)
    assert loaded.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(loaded[name], expected[name], rtol=0, atol=2e-6 * np.abs(expected[name]).max())


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    path = diffusers_file(tmp_path / "d.safetensors", LINEARS, metadata={"b": "2", "a": "1"})
    one = convert(path, TensorNaming.KOHYA, tmp_path / "1.safetensors").path.read_bytes()
    assert convert(path, TensorNaming.KOHYA, tmp_path / "2.safetensors").path.read_bytes() == one


def _malformed() -> dict[str, dict[str, torch.Tensor]]:
    """Adapters that no reader could apply, by what is wrong with them."""
    fused, plain = "lora_unet_double_blocks_0_img_attn_qkv", "transformer.transformer_blocks.0.attn.to_q"

    def kohya(down: torch.Tensor, up: torch.Tensor, **more: torch.Tensor) -> dict[str, torch.Tensor]:
        pair = {f"{fused}.lora_down.weight": down, f"{fused}.lora_up.weight": up}
        return pair | {f"{fused}.{name}": tensor for name, tensor in more.items()}

    def diffusers(down: torch.Tensor, up: torch.Tensor) -> dict[str, torch.Tensor]:
        return {f"{plain}.lora_A.weight": down, f"{plain}.lora_B.weight": up}

    ones = torch.ones
    return {
        "ranks that differ, fused": kohya(ones(4, 192), ones(576, 3)),
        "ranks that differ": diffusers(ones(4, 192), ones(192, 3)),
        "rank 0": diffusers(ones(0, 192), ones(192, 0)),
        "one dimension": diffusers(ones(192), ones(192)),
        "no dimension": diffusers(ones(()), ones(())),
        "a convolution": kohya(ones(4, 192, 1, 1), ones(576, 4, 1, 1)),
        "rows that cannot be divided": kohya(ones(4, 192), ones(577, 4)),
        "several alphas": kohya(ones(4, 192), ones(576, 4), alpha=ones(3)),
        "an infinite alpha": kohya(ones(4, 192), ones(576, 4), alpha=torch.tensor(torch.inf)),
        "whole numbers": diffusers(ones(4, 192).int(), ones(192, 4).int()),
        "no number": diffusers(ones(4, 192) * torch.nan, ones(192, 4)),
    }


@pytest.mark.parametrize("naming", [TensorNaming.DIFFUSERS, TensorNaming.KOHYA, TensorNaming.BFL])
@pytest.mark.parametrize("what", _malformed())
def test_what_is_malformed_is_refused_and_nothing_is_written(tmp_path: Path, what: str, naming: TensorNaming) -> None:
    path = saved(tmp_path / "a.safetensors", _malformed()[what])
    with pytest.raises(LoraRefused):
        convert(path, naming, tmp_path / "b.safetensors")
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


def test_nothing_is_written_as_xlabs(tmp_path: Path) -> None:
    path = diffusers_file(tmp_path / "d.safetensors", LINEARS)
    with pytest.raises(LoraRefused, match="xlabs"):
        convert(path, TensorNaming.XLABS, tmp_path / "x.safetensors")
