"""LoKr and LoHa by their definition: what is read, what the nearest LoRA loses, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from limner.catalog import find_base
from limner.errors import LoraRefused
from limner.loras import convert, inspect, nearest_lora, to_diffusers, validate
from limner.loras.lycoris.low_rank import Hadamard, Kronecker
from limner.types import TensorNaming

WIDTH = 192
TINY = find_base("limner-tiny")
chance = np.random.default_rng(11)
Tensors = dict[str, np.ndarray]


def n(*shape: int) -> np.ndarray:
    return chance.standard_normal(shape).astype(np.float32)


def lokr(
    out: tuple[int, int], into: tuple[int, int], *, first: int = 0, second: int = 0, middle: bool = False
) -> Tensors:
    """w1 is out[0] x into[0] and w2 out[1] x into[1]; each whole, or in two by way of ``first`` and ``second``."""
    parts: Tensors = {}
    for half, dim, rows, columns in (("w1", first, out[0], into[0]), ("w2", second, out[1], into[1])):
        if not dim:
            parts[f"lokr_{half}"] = n(rows, columns)
        elif middle and half == "w2":
            parts |= {"lokr_w2_a": n(dim, rows), "lokr_w2_b": n(dim, columns), "lokr_t2": n(dim, dim, 1, 1)}
        else:
            parts |= {f"lokr_{half}_a": n(rows, dim), f"lokr_{half}_b": n(dim, columns)}
    return parts


def loha(out: int, into: int, dim: int, *, middle: bool = False) -> Tensors:
    parts: Tensors = {}
    for half in "12":
        if middle:
            parts |= {
                f"hada_w{half}_a": n(dim, out),
                f"hada_w{half}_b": n(dim, into),
                f"hada_t{half}": n(dim, dim, 1, 1),
            }
        else:
            parts |= {f"hada_w{half}_a": n(out, dim), f"hada_w{half}_b": n(dim, into)}
    return parts


def meant(parts: Tensors, alpha: float | None) -> np.ndarray:
    """The change by LyCORIS' definition, in torch and float64: shares no code with what is tested."""
    t = {name: torch.from_numpy(value).double() for name, value in parts.items()}

    def half(stem: str, number: str) -> torch.Tensor:
        whole, middle = t.get(f"{stem}_w{number}"), t.get(f"{stem}_t{number}")
        if whole is not None:
            return whole
        a, b = t[f"{stem}_w{number}_a"], t[f"{stem}_w{number}_b"]
        return a @ b if middle is None else torch.einsum("ijkl,jr,ip->prkl", middle, b, a)[:, :, 0, 0].contiguous()

    stem = "lokr" if any(name.startswith("lokr") for name in t) else "hada"
    dims = [t[name].shape[0] for name in (f"{stem}_w2_b", f"{stem}_w1_b") if name in t]
    first, second = half(stem, "1"), half(stem, "2")
    change = torch.kron(first, second) if stem == "lokr" else first * second
    return (change * (alpha / dims[0] if alpha is not None and dims else 1.0)).numpy()


def written(path: Path) -> dict[str, np.ndarray]:
    """(alpha / rank) up down of each module of a plain file."""
    tensors = {name: value.astype(np.float64) for name, value in load_file(path).items()}
    found = {}
    for name, down in tensors.items():
        if name.endswith(".lora_down.weight"):
            module = name.removesuffix(".lora_down.weight")
            alpha = tensors.get(module + ".alpha", np.float64(len(down)))
            found[module] = tensors[module + ".lora_up.weight"] @ down * (alpha / len(down))
    return found


def saved(path: Path, modules: dict[str, Tensors], alpha: float | None = None, metadata: Any = None) -> Path:
    tensors = {f"{module}.{part}": value for module, parts in modules.items() for part, value in parts.items()}
    if alpha is not None:
        tensors |= {f"{module}.alpha": np.array(alpha, np.float32) for module in modules}
    save_file(tensors, path, metadata)
    return path


KINDS = {
    "both halves whole": lambda: lokr((8, 24), (8, 24)),
    "the second in two": lambda: lokr((8, 24), (8, 24), second=2),
    "the first in two": lambda: lokr((16, 12), (16, 12), first=3),
    "both in two": lambda: lokr((16, 12), (12, 16), first=3, second=2),
    "the larger half first": lambda: lokr((96, 2), (48, 4)),
    "with a tensor between": lambda: lokr((8, 24), (8, 24), second=3, middle=True),
    "LoHa": lambda: loha(WIDTH, WIDTH, 4),
    "LoHa of one": lambda: loha(WIDTH, WIDTH, 1),
    "LoHa as wide as the layer": lambda: loha(WIDTH, WIDTH, 16),
    "LoHa with tensors between": lambda: loha(WIDTH, WIDTH, 3, middle=True),
}


@pytest.mark.parametrize("alpha", [None, 1.0, 0.3, 1e10])
@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_lora_is_the_best_of_its_rank_and_its_loss_is_said(
    tmp_path: Path, kind: str, alpha: float | None
) -> None:
    parts = KINDS[kind]()
    module = "lora_unet_double_blocks_0_img_attn_proj"
    path = saved(tmp_path / "a.safetensors", {module: parts}, alpha)
    wanted = meant(parts, alpha)
    values = np.linalg.svd(wanted, compute_uv=False)
    for rank in (1, 7, 192):
        done = nearest_lora(path, tmp_path / "b.safetensors", rank=rank)
        got = written(done.path)[module]
        best = np.sqrt(np.sum(values[rank:] ** 2)) / np.linalg.norm(wanted)
        lost = np.linalg.norm(got - wanted) / np.linalg.norm(wanted)
        assert lost == pytest.approx(best, abs=1e-6, rel=1e-3)
        assert done.overall == pytest.approx(lost, abs=1e-6, rel=1e-3)
        assert done.overall == done.worst == done.mean
    assert validate(done.path, TINY).base == "limner-tiny"


@pytest.mark.parametrize(
    "module",
    ["lora_unet_double_blocks_0_img_attn_proj", "lycoris_transformer_blocks_0_attn_to_out_0",
     "lora_transformer_transformer_blocks_0_attn_to_out_0", "transformer.transformer_blocks.0.attn.to_out.0",
     "diffusion_model.double_blocks.0.img_attn.proj", "base_model.model.transformer_blocks.0.attn.to_out.0",
     "transformer_blocks.0.attn.to_out.0"],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["", ".weight", ".default", ".my_style"])
def test_every_spelling_is_read_and_ends_as_a_lora(tmp_path: Path, module: str, ending: str) -> None:
    parts = lokr((8, 24), (8, 24), second=2)
    path = saved(tmp_path / "a.safetensors", {module: {part + ending: value for part, value in parts.items()}}, 2.0)
    facts = inspect(path)
    assert (facts.kind, facts.base, facts.rank, facts.alpha, facts.modules) == ("lokr", "limner-tiny", 2, 2.0, 1)
    assert "lokr" in {finding.code for finding in facts.findings}
    done = nearest_lora(path, tmp_path / "b.safetensors", rank=WIDTH)
    made = to_diffusers(done.path, tmp_path / "c.safetensors")
    tensors = load_file(made.path)
    layer = "transformer.transformer_blocks.0.attn.to_out.0"
    got = tensors[f"{layer}.lora_B.weight"].astype(float) @ tensors[f"{layer}.lora_A.weight"]
    np.testing.assert_allclose(got, meant(parts, 2.0), atol=1e-4)


def test_fused_layers_and_plain_ones_beside_them(tmp_path: Path) -> None:
    """A LoKr of q/k/v together is cut into the three; what is a plain LoRA stays, byte for byte."""
    qkv, mlp = lokr((8, 72), (8, 24)), {"lora_down.weight": n(3, WIDTH), "lora_up.weight": n(4 * WIDTH, 3)}
    path = saved(
        tmp_path / "a.safetensors",
        {"diffusion_model.double_blocks.1.img_attn.qkv": qkv, "diffusion_model.double_blocks.1.img_mlp.0": mlp},
    )
    done = nearest_lora(path, tmp_path / "b.safetensors", rank=192)
    kept = load_file(done.path)
    for part, value in mlp.items():
        np.testing.assert_array_equal(kept[f"diffusion_model.double_blocks.1.img_mlp.0.{part}"], value)
    made = load_file(to_diffusers(done.path, tmp_path / "c.safetensors").path)
    for at, part in enumerate(("to_q", "to_k", "to_v")):
        layer = f"transformer.transformer_blocks.1.attn.{part}"
        got = made[f"{layer}.lora_B.weight"].astype(float) @ made[f"{layer}.lora_A.weight"]
        np.testing.assert_allclose(got, meant(qkv, None)[at * WIDTH : (at + 1) * WIDTH], atol=1e-3)


def test_without_a_rank_each_layer_gets_what_it_needs(tmp_path: Path) -> None:
    small, large = lokr((8, 24), (8, 24), first=1, second=2), lokr((8, 24), (8, 24))
    stem = "lora_unet_double_blocks_{}_img_attn_proj"
    path = saved(tmp_path / "a.safetensors", {stem.format(0): small, stem.format(1): large})
    done = nearest_lora(path, tmp_path / "b.safetensors")
    made = load_file(done.path)
    assert [len(made[stem.format(at) + ".lora_down.weight"]) for at in (0, 1)] == [2, 64]
    (finding,) = done.findings
    assert stem.format(1) in finding.message
    assert finding.severity == "warning"
    assert "a rank of 128" in finding.remedy
    assert done.worst > done.mean > 0
    fine = nearest_lora(saved(path, {stem.format(0): small}), tmp_path / "b.safetensors")
    assert fine.overall < 1e-6
    assert "less than 0.01 %" in fine.findings[0].message


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_the_number_format_stays_and_what_rounding_costs_is_in_the_figures(tmp_path: Path, dtype: str) -> None:
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    kind = getattr(torch, dtype)
    module = "transformer.transformer_blocks.0.attn.to_out.0"
    parts = {part: torch.from_numpy(value).to(kind) for part, value in lokr((8, 24), (8, 24), second=1).items()}
    save_torch({f"{module}.{part}": value for part, value in parts.items()}, tmp_path / "a.safetensors")
    done = nearest_lora(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    made = {name: value.double() for name, value in load_torch(done.path).items()}
    assert load_torch(done.path)[f"{module}.lora_up.weight"].dtype is kind
    wanted = torch.from_numpy(meant({part: value.float().numpy() for part, value in parts.items()}, None))
    lost = (made[f"{module}.lora_up.weight"] @ made[f"{module}.lora_down.weight"] - wanted).norm() / wanted.norm()
    assert done.overall == pytest.approx(lost.item(), rel=1e-3, abs=1e-6)


@given(
    *[st.integers(1, 12)] * 4, *[st.integers(0, 3)] * 2, st.floats(-3, 3), st.integers(1, 20)
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_any_kronecker_product_has_the_singular_values_of_numpy(
    a: int, b: int, c: int, d: int, first: int, second: int, scale: float, rank: int
) -> None:
    def half(rows: int, columns: int, dim: int) -> tuple[np.ndarray, ...]:
        made = (n(rows, columns),) if not dim else (n(rows, dim), n(dim, columns))
        return tuple(one.astype(np.float64) for one in made)

    one, other = half(a, b, first), half(c, d, second)
    whole = np.kron(one[0] @ one[1] if first else one[0], other[0] @ other[1] if second else other[0]) * scale
    change = Kronecker(one, other, scale)
    left, values, right = change.leading(rank)
    u, wanted, v = np.linalg.svd(whole)
    np.testing.assert_allclose(values[: len(wanted)], wanted[: len(values)], atol=1e-9 * (1 + np.abs(wanted).max()))
    best = (u[:, : len(wanted)][:, :rank] * wanted[:rank]) @ v[:rank][: len(wanted)]
    tolerance = 1e-6 * (1 + np.linalg.norm(whole))
    assert change.norm == pytest.approx(np.linalg.norm(whole), abs=1e-9)
    assert change.distance(left * values, right) == pytest.approx(np.linalg.norm(whole - best), abs=tolerance)
    assert np.linalg.norm(whole - left * values @ right) == pytest.approx(np.linalg.norm(whole - best), abs=tolerance)


def test_layers_too_wide_for_a_whole_decomposition_come_close_to_the_best() -> None:
    """Subspace iteration against LAPACK, on values that fall as those of a trained layer do."""
    rows, columns, dim = 700, 640, 32
    fall = 1 / np.arange(1, dim + 1)
    a, c = (chance.standard_normal((rows, dim)) * fall for _ in "12")
    b, d = (chance.standard_normal((dim, columns)) for _ in "12")
    change = Hadamard((a, b), (c, d), 0.5)
    left, values, right = change.leading(48)
    whole = (a @ b) * (c @ d) * 0.5
    wanted = np.linalg.svd(whole, compute_uv=False)
    np.testing.assert_allclose(values[:8], wanted[:8], rtol=1e-6)
    best = np.sqrt(np.sum(wanted[48:] ** 2))
    assert change.distance(left * values, right) == pytest.approx(best, rel=0.01)


def test_a_lokr_is_no_lora_for_who_reads_loras_only(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.safetensors", {"lora_unet_double_blocks_0_img_attn_proj": lokr((8, 24), (8, 24))})
    for refused in (
        lambda: validate(path, TINY),
        lambda: convert(path, TensorNaming.BFL, tmp_path / "b.safetensors"),
    ):
        with pytest.raises(LoraRefused, match="LoKr") as refusal:
            refused()
        assert "nearest" in refusal.value.remedy
    assert not (tmp_path / "b.safetensors").exists()


STEM = "lora_unet_double_blocks_0_img_attn_proj"
BROKEN: dict[str, tuple[Tensors, str]] = {
    "no second half": ({"lokr_w1": n(8, 8)}, "w2"),
    "half a half": ({"lokr_w1": n(8, 8), "lokr_w2_a": n(24, 2)}, "w2"),
    "one half twice": ({"lokr_w1": n(8, 8), "lokr_w1_a": n(8, 2), "lokr_w1_b": n(2, 8), "lokr_w2": n(24, 24)}, "w1"),
    "dims that differ": ({"lokr_w1": n(8, 8), "lokr_w2_a": n(24, 2), "lokr_w2_b": n(3, 24)}, "multiplied"),
    "a convolution": ({"lokr_w1": n(8, 8), "lokr_w2": n(24, 24, 3, 3)}, "linear"),
    "a vector": ({"lokr_w1": n(8), "lokr_w2": n(24, 24)}, "linear"),
    "halves of two shapes": ({f"hada_w{at}_{end}": n(*((8 * at, 2) if end == "a" else (2, 8))) for at in (1, 2)
                              for end in "ab"}, "different shapes"),
    "LoHa whole": ({"hada_w1": n(8, 8), "hada_w2": n(8, 8)}, "w1"),
    "both kinds": (lokr((8, 24), (8, 24)) | loha(WIDTH, WIDTH, 2), "another kind"),
    "a LoRA too": (lokr((8, 24), (8, 24)) | {"lora_down.weight": n(2, WIDTH), "lora_up.weight": n(WIDTH, 2)}, "LoRA"),
    "DoRA": (lokr((8, 24), (8, 24)) | {"dora_scale": n(WIDTH, 1)}, "DoRA.*base's own weights"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_not_whole_is_refused_with_the_true_reason(tmp_path: Path, case: str) -> None:
    parts, reason = BROKEN[case]
    path = saved(tmp_path / "a.safetensors", {STEM: parts})
    for look in (inspect, lambda one: nearest_lora(one, tmp_path / "b.safetensors")):
        with pytest.raises(LoraRefused, match=reason):
            look(path)
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["lokr_w1", "lokr_w2_b", "alpha"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, part: str, value: float) -> None:
    parts = lokr((8, 24), (8, 24), second=2) | {"alpha": np.array(1, np.float32)}
    parts[part] = parts[part].copy()
    parts[part][...] = value
    with pytest.raises(LoraRefused, match="finite"):
        nearest_lora(saved(tmp_path / "a.safetensors", {STEM: parts}), tmp_path / "b.safetensors")


@pytest.mark.parametrize("rank", [-1, 513])
def test_a_rank_that_is_none_is_refused(tmp_path: Path, rank: int) -> None:
    path = saved(tmp_path / "a.safetensors", {STEM: lokr((8, 24), (8, 24))})
    with pytest.raises(LoraRefused, match="rank"):
        nearest_lora(path, tmp_path / "b.safetensors", rank=rank)


def test_one_that_does_nothing_becomes_a_lora_that_does_nothing(tmp_path: Path) -> None:
    parts = {name: value * 0 if "w2" in name else value for name, value in lokr((8, 24), (8, 24)).items()}
    done = nearest_lora(saved(tmp_path / "a.safetensors", {STEM: parts}), tmp_path / "b.safetensors")
    assert (done.overall, done.rank) == (0, 1)
    assert "does-nothing" in {finding.code for finding in validate(done.path, TINY).findings}


@pytest.mark.parametrize("kind", ["lokr", "loha"])
def test_as_peft_makes_and_saves_them(tmp_path: Path, kind: str) -> None:
    """PEFT's own layers: their change of the weights, and the file that PEFT writes of them."""
    from peft import LoHaConfig, LoKrConfig, get_peft_model, get_peft_model_state_dict

    model = torch.nn.Module()
    model.transformer_blocks = torch.nn.ModuleList([torch.nn.Module()])
    model.transformer_blocks[0].attn = torch.nn.Module()
    model.transformer_blocks[0].attn.to_q = torch.nn.Linear(WIDTH, WIDTH, bias=False)
    options: Any = {"r": 4, "alpha": 4, "target_modules": ["to_q"], "init_weights": False}
    config = LoKrConfig(**options, decompose_factor=8) if kind == "lokr" else LoHaConfig(**options)
    wrapped = get_peft_model(model, config)
    layer = wrapped.base_model.model.transformer_blocks[0].attn.to_q
    state = {name: value.contiguous().numpy() for name, value in get_peft_model_state_dict(wrapped).items()}
    save_file(state, tmp_path / "a.safetensors")
    done = nearest_lora(tmp_path / "a.safetensors", tmp_path / "b.safetensors", rank=192)
    (got,) = written(done.path).values()
    np.testing.assert_allclose(got, layer.get_delta_weight("default").detach().double().numpy(), atol=1e-4)
