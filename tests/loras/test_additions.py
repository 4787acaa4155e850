"""What a file changes beside its LoRA layers is told with its size, refused, and left out only if that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limner.catalog import find_base
from limner.errors import LoraRefused
from limner.loras import inspect, validate
from limner.loras.conversion.convert import convert, to_diffusers
from limner.types import Family, TensorNaming

from .definitions import assert_same, changes, pack, write

WIDTH = 192
LAYER = "diffusion_model.double_blocks.0.img_attn.proj"
# ComfyUI's own trainer: biases everywhere, alpha 1
PLAIN = {
    f"{LAYER}.lora_down.weight": pack(np.full((4, WIDTH), 0.5), "F32"),
    f"{LAYER}.lora_up.weight": pack(np.full((WIDTH, 4), 0.25), "F32"),
    f"{LAYER}.alpha": pack(np.float64(1), "F32"),
}
ADDED = {
    "biases": {
        f"{LAYER}.diff_b": pack(np.full(WIDTH, 0.003), "F32"),
        "diffusion_model.img_in.diff_b": pack(np.full(WIDTH, -0.5), "F32"),
    },
    "weights": {"diffusion_model.double_blocks.0.img_attn.norm.key_norm.diff": pack(np.full(32, 0.5), "BF16")},
    "set_weight": {"diffusion_model.double_blocks.0.img_mod.lin.set_weight": pack(np.full((4, 4), 0.5), "F32")},
    "PEFT's biases": {f"{LAYER}.lora_B.bias": pack(np.full(WIDTH, 0.5), "F16")},
    "PEFT's biases by name": {f"{LAYER}.lora_B.mine.bias": pack(np.full(WIDTH, 0.5), "F16")},
    "no numbers": {f"{LAYER}.diff_b": pack(np.full(WIDTH, np.nan), "F32")},
}  # fmt: skip


@pytest.mark.parametrize("naming", [TensorNaming.DIFFUSERS, TensorNaming.KOHYA, TensorNaming.BFL])
@pytest.mark.parametrize("kind", ADDED)
def test_additions_are_told_with_their_size_refused_and_left_out_on_request(
    tmp_path: Path, kind: str, naming: TensorNaming
) -> None:
    added = ADDED[kind]
    path = write(tmp_path / "a.safetensors", PLAIN | added)
    size = "no finite numbers" if kind == "no numbers" else "at most 0.5"
    (told,) = [finding for finding in inspect(path).findings if finding.code == "additions"]
    assert size in told.message
    assert f"{len(added)} tensors" in told.message
    assert not any(finding.code == "unknown-tensors" for finding in inspect(path).findings)
    with pytest.raises(LoraRefused, match=size):
        convert(path, naming, tmp_path / "b.safetensors")
    with pytest.raises(LoraRefused, match=size):
        validate(path, find_base("limner-tiny"))
    done = convert(path, naming, tmp_path / "b.safetensors", drop_additions=True)
    assert set(done.dropped) == set(added)
    assert size in next(finding.message for finding in done.findings if finding.code == "additions-left-out")
    alone = to_diffusers(write(tmp_path / "c.safetensors", PLAIN), tmp_path / "d.safetensors")
    assert_same(changes(alone.path, Family.FLUX1), changes(done.path, Family.FLUX1))
