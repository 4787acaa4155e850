"""Adapters that no base can be right for are refused with the true reason, whatever base is named or guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limner.catalog import find_base
from limner.errors import LoraRefused
from limner.loras import inspect, validate
from limner.loras.checks.validation import refuse_unsound
from limner.loras.conversion.convert import to_diffusers

from .definitions import pack, write

WIDTH = 192
BLOCK = "transformer_blocks.0.attn."


Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


def pair(down: str, up: str, rows: int = WIDTH, columns: int = WIDTH, ranks: tuple[int, int] = (2, 2)) -> Tensors:
    matrices = np.ones((ranks[0], columns)), np.ones((rows, ranks[1]))
    return {name: pack(values, "F32") for name, values in zip((down, up), matrices, strict=True) if name}


def peft(layer: str, name: str = "", prefix: str = "transformer.", rows: int = WIDTH, columns: int = WIDTH) -> Tensors:
    return pair(f"{prefix}{layer}.lora_A{name}.weight", f"{prefix}{layer}.lora_B{name}.weight", rows, columns)


def kohya(module: str, rows: int = WIDTH, columns: int = WIDTH) -> Tensors:
    return pair(f"{module}.lora_down.weight", f"{module}.lora_up.weight", rows, columns)


Q = "transformer." + BLOCK + "to_q"
QKV = "lora_unet_double_blocks_0_img_attn_qkv"
SOUND = peft("transformer_blocks.1.attn.to_v")
TWICE = {
    "two names of PEFT": peft(BLOCK + "to_q", ".default") | peft(BLOCK + "to_q", ".my_style"),
    "named and not": peft(BLOCK + "to_q") | peft(BLOCK + "to_q", ".my_style"),
    "two prefixes": peft(BLOCK + "to_q") | peft(BLOCK + "to_q", prefix="base_model.model."),
    "two spellings": peft(BLOCK + "to_q") | kohya(Q),
    "whole and part": peft(BLOCK + "to_q") | kohya(QKV, 3 * WIDTH),
    "part and the same part": kohya("transformer.double_blocks.0.img_attn.qkv.1") | peft(BLOCK + "to_k"),
    "in CLIP": kohya("lora_te1_text_model_encoder_layers_0_mlp_fc1", 256, 64)
    | peft("encoder.layers.0.mlp.fc1", "", "text_encoder.text_model.", 256, 64),
}
LACKING = {
    "first (lora_A)": pair("", f"{Q}.lora_B.weight"),
    "second (lora_B)": pair(f"{Q}.lora_A.weight", ""),
    "first (lora_A) ": pair("", f"{Q}.lora_B.other.weight"),
    "second (lora_B) ": pair(f"{QKV}.lora_down.weight", ""),
}
SHAPES = {
    "different ranks": pair(f"{Q}.lora_A.weight", f"{Q}.lora_B.weight", ranks=(2, 3)),
    "gives": pair(f"{Q}.lora_A.weight", f"{Q}.lora_B.weight", rows=WIDTH + 1),
    "takes": pair(f"{Q}.lora_A.weight", f"{Q}.lora_B.weight", columns=WIDTH - 1)
    | peft("transformer_blocks.1.attn.to_q") | peft("transformer_blocks.1.attn.to_k"),
}  # fmt: skip
CASES = [
    *(("two adapters for one layer", tensors) for tensors in TWICE.values()),
    *((f"{half.strip()} is missing", tensors) for half, tensors in LACKING.items()),
    *SHAPES.items(),
]


@pytest.mark.parametrize(("reason", "tensors"), CASES, ids=[*TWICE, *LACKING, *SHAPES])
def test_they_are_told_and_refused_with_the_true_reason(tmp_path: Path, reason: str, tensors: Tensors) -> None:
    path = write(tmp_path / "a.safetensors", SOUND | tensors)
    facts = inspect(path)
    for attempt in (
        lambda: refuse_unsound(facts),
        lambda: validate(path, find_base("limner-tiny")),
        lambda: validate(path, find_base("flux2-dev")),
        lambda: to_diffusers(path, tmp_path / "b.safetensors"),
    ):
        with pytest.raises(LoraRefused) as caught:
            attempt()
        assert reason in str(caught.value)


def test_one_adapter_by_any_name_is_sound(tmp_path: Path) -> None:
    for name in ("", ".default", ".my_style-2", ".weight", ".0"):
        path = write(tmp_path / "a.safetensors", peft(BLOCK + "to_q", name))
        refuse_unsound(inspect(path))
        assert to_diffusers(path, tmp_path / "b.safetensors").modules == 1
