"""PEFT keeps the strength in another file: adapter_config.json, read beside the weights as PEFT itself reads it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limner.catalog import find_base
from limner.errors import LoraRefused
from limner.loras import inspect
from limner.loras.conversion.convert import convert, to_diffusers
from limner.types import Family, TensorNaming

from .definitions import assert_same, changes, pack, write

WIDTH = 192
LAYERS = {"transformer_blocks.0.attn.to_q": (4, WIDTH, WIDTH), "transformer_blocks.1.attn.to_k": (6, WIDTH, WIDTH),
          "single_transformer_blocks.0.proj_out": (4, WIDTH, 5 * WIDTH)}  # fmt: skip
BFL = {"double_blocks.0.img_attn.qkv": (4, 3 * WIDTH, WIDTH), "double_blocks.1.img_attn.proj": (6, WIDTH, WIDTH)}
CONFIGS: dict[str, dict[str, Any]] = {
    "alpha": {"r": 4, "lora_alpha": 1.2, "rank_pattern": {"to_k": 6}},
    "patterns": {"r": 4, "lora_alpha": 16, "rank_pattern": {"1.attn.to_k": 6}, "alpha_pattern": {"to_q": 3}},
    "root of the rank": {"r": 4, "lora_alpha": 5, "use_rslora": True, "rank_pattern": {"to_k": 6}},
    "more than is read": {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 2,
        "rank_pattern": {"to_k": 6},
        "target_modules": ["to_q"],
        "lora_bias": False,
        "base_model_name_or_path": "/home/someone",
    },
}


def peft_file(
    folder: Path, layers: dict[str, tuple[int, int, int]], prefix: str, name: str
) -> tuple[Path, dict[str, np.ndarray]]:
    """An adapter as PEFT saves it, and B A of each layer."""
    chance, tensors, products = np.random.default_rng(3), {}, {}
    for layer, (rank, rows, columns) in layers.items():
        down, up = (chance.integers(-9, 10, shape) / 4 for shape in ((rank, columns), (rows, rank)))
        tensors[f"{prefix}{layer}.lora_A{name}.weight"] = pack(down, "BF16")
        tensors[f"{prefix}{layer}.lora_B{name}.weight"] = pack(up, "BF16")
        products[layer] = up @ down
    return write(folder / "adapter_model.safetensors", tensors), products


def strength(config: dict[str, Any], layer: str, rank: int) -> float:
    """By PEFT's own matching of patterns."""
    from peft.utils.other import get_pattern_key

    pattern = config.get("alpha_pattern", {})
    alpha = pattern.get(get_pattern_key(pattern.keys(), layer), config["lora_alpha"])
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


@pytest.mark.parametrize("prefix", ["base_model.model.", "base_model.model.transformer.", "transformer.", "unet.", ""])
@pytest.mark.parametrize("name", ["", ".default", ".my_style"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_its_strength_is_multiplied_into_what_is_written(tmp_path: Path, kind: str, name: str, prefix: str) -> None:
    config = CONFIGS[kind]
    path, products = peft_file(tmp_path, LAYERS, prefix, name)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    means = {layer: strength(config, layer, LAYERS[layer][0]) * product for layer, product in products.items()}
    facts = inspect(path)
    assert "adapter-config" in {finding.code for finding in facts.findings}
    assert facts.base == "limner-tiny"
    for naming in (TensorNaming.DIFFUSERS, TensorNaming.KOHYA, TensorNaming.BFL):
        done = convert(path, naming, tmp_path / "out" / f"{naming}.safetensors")
        assert_same(means, changes(done.path, Family.FLUX1), 1e-12 if done.exact else 1e-6)


def test_names_of_bfl_too(tmp_path: Path) -> None:
    config = {"r": 4, "lora_alpha": 3, "rank_pattern": {"img_attn.proj": 6}, "alpha_pattern": {"img_attn.proj": 9}}
    path, _ = peft_file(tmp_path, BFL, "base_model.model.", "")
    plain = to_diffusers(path, tmp_path / "out" / "plain.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    done = to_diffusers(path, tmp_path / "out" / "d.safetensors")
    before, after = changes(plain.path, Family.FLUX1), changes(done.path, Family.FLUX1)
    factors = {layer: 1.5 if layer.endswith("to_out.0") else 0.75 for layer in before}
    assert_same({layer: factors[layer] * change for layer, change in before.items()}, after, 1e-6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps({"r": 8, "lora_alpha": 8}), "rank 8"),
        (json.dumps({"r": 4, "lora_alpha": 4}), "whose matrices have 6"),
        (json.dumps({"r": 0, "lora_alpha": 4}), "no rank"),
        (json.dumps({"r": 4, "lora_alpha": "big"}), "no alpha"),
        (json.dumps({"r": 4, "lora_alpha": 4, "alpha_pattern": {"(a+)+$": 2}}), "more than a module"),
        (json.dumps({"peft_type": "LOHA", "r": 4, "alpha": 4}), "no LoRA"),
        ("{}", "no LoRA"),
        ("[" * 100_000, "nested"),
        ("not json", "Expecting value"),
        ("\xff\xfe", "decode"),
        (" " * (2**20 + 1), "too large"),
    ],
)
def test_one_that_is_anothers_or_cannot_be_read_is_not_used_and_told(tmp_path: Path, text: str, reason: str) -> None:
    path, products = peft_file(tmp_path, LAYERS, "base_model.model.", "")
    (tmp_path / "adapter_config.json").write_bytes(text.encode("latin-1"))
    (told,) = [finding for finding in inspect(path).findings if finding.code == "adapter-config-unused"]
    assert reason in told.message
    assert_same(products, changes(to_diffusers(path, tmp_path / "out" / "d.safetensors").path, Family.FLUX1))


def test_dora_in_it_is_refused(tmp_path: Path) -> None:
    path, _ = peft_file(tmp_path, LAYERS, "base_model.model.", "")
    config = {"r": 4, "lora_alpha": 4, "rank_pattern": {"to_k": 6}, "use_dora": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(LoraRefused, match="DoRA"):
        inspect(path)


def test_a_file_that_says_its_strength_itself_does_not_look_beside(tmp_path: Path) -> None:
    """Many loras in one folder, and one of them PEFT's."""
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 200}))
    module = "lora_unet_double_blocks_0_img_attn_proj"
    down, up = pack(np.ones((2, WIDTH)), "F32"), pack(np.ones((WIDTH, 2)), "F32")
    kohya = {f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up}
    kohya[f"{module}.alpha"] = pack(np.float64(1), "F32")
    path = write(tmp_path / "other.safetensors", kohya)
    assert inspect(path).alpha == 1
    found = changes(to_diffusers(path, tmp_path / "d.safetensors", base=find_base("limner-tiny")).path, Family.FLUX1)
    assert_same({"transformer_blocks.0.attn.to_out.0": np.ones((WIDTH, WIDTH))}, found)
