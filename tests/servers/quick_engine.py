"""An engine that takes milliseconds: a small real LoRA of the base's shape, a small picture of the inputs' digest."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import threading
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from limner.catalog.bases import bases
from limner.errors import Cancelled, LoraRefused
from limner.types import Base, Family

__all__ = ["QuickEngine", "lora_layers"]

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


class QuickEngine:
    """Deterministic: the same seed and photos give the same lora, the same inputs the same picture.

    ``most_steps`` bounds how many steps are reported. ``trained`` and ``drawn`` count what was asked for.
    """

    def __init__(self, most_steps: int = 8) -> None:
        self.most_steps = most_steps
        self.trained = 0
        self.drawn = 0
        self._lock = threading.Lock()

    def train(
        self,
        base: str,
        photos: Sequence[tuple[str, bytes, str]],
        *,
        steps: int,
        rank: int,
        learning_rate: float,
        seed: int,
        on_step: Callable[[int, float], None],
        cancelled: Callable[[], bool],
    ) -> bytes:
        if not photos:
            raise ValueError("there are no photos")
        for name, data, _ in photos:
            with Image.open(io.BytesIO(data)) as picture:
                picture.verify()
            assert name
        with self._lock:
            self.trained += 1
        every = max(1, steps // self.most_steps)
        for step in range(1, steps + 1):
            if step % every == 0 or step == steps:
                if cancelled():
                    raise Cancelled(f"The training was stopped after {step - 1} steps.")
                on_step(step, 0.5 / step + 0.1)
        digest = hashlib.sha256(repr((base, rank, learning_rate, seed)).encode())
        for photo in sorted(photos):
            digest.update(repr(photo).encode())
        return quick_lora(base, rank, digest.digest())

    def draw(
        self,
        base: str,
        prompt: str,
        *,
        loras: Sequence[tuple[bytes, float]],
        width: int,
        height: int,
        steps: int,
        guidance: float,
        seed: int,
    ) -> bytes:
        shape = _base(base)
        for data, _ in loras:
            _check_fit(data, shape)
        with self._lock:
            self.drawn += 1
        said = repr((base, prompt, width, height, steps, guidance, seed, [(len(d), s) for d, s in loras]))
        digest = hashlib.sha256(said.encode() + b"".join(hashlib.sha256(data).digest() for data, _ in loras)).digest()
        # two colours, so that a picture is not refused as empty
        pixels = np.empty((height, width, 3), np.uint8)
        pixels[:, : width // 2] = list(digest[:3])
        pixels[:, width // 2 :] = list(digest[3:6])
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, format="PNG", compress_level=1)
        return out.getvalue()


def lora_layers(base: Base) -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of the attention layers of a base, by their path in diffusers' transformer."""
    width = base.shape["width"]
    layers = {
        f"transformer_blocks.{block}.attn.{part}": (width, width)
        for block in range(base.shape["double_blocks"])
        for part in _ATTENTION
    }
    for block in range(base.shape["single_blocks"]):
        attention = f"single_transformer_blocks.{block}.attn."
        if base.family is Family.FLUX1:
            layers |= {attention + part: (width, width) for part in ("to_q", "to_k", "to_v")}
        else:
            layers[attention + "to_out"] = (4 * width, width)
    return layers


def quick_lora(base: str, rank: int, seed: bytes) -> bytes:
    """A LoRA of small random weights in float16 that changes every attention layer of a base a little."""
    chance = np.random.default_rng(list(seed))
    tensors = {}
    for name, (inputs, outputs) in lora_layers(_base(base)).items():
        tensors[f"transformer.{name}.lora_A.weight"] = chance.normal(0, inputs**-0.5, (rank, inputs))
        tensors[f"transformer.{name}.lora_B.weight"] = chance.normal(0, 0.01, (outputs, rank))
    return _safetensors({name: value.astype(np.float16) for name, value in tensors.items()})


def _safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    return save(tensors)


def _base(base: str) -> Base:
    if base in bases():
        return bases()[base]
    from limner.stand_ins.random_flux2 import FLUX2_RANDOM

    assert base == FLUX2_RANDOM.id, base
    return FLUX2_RANDOM


def _check_fit(data: bytes, base: Base) -> None:
    """Refuse what is no lora in diffusers naming of this base, as the real engine does."""
    try:
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
    except (struct.error, ValueError) as failure:
        raise LoraRefused("The file is no safetensors file.", remedy="Upload it again.") from failure
    layers = lora_layers(base)
    names = [name for name in header if name.endswith(".lora_A.weight")]
    if not names:
        raise LoraRefused("The file holds no layer in diffusers naming.", remedy="Convert it first.")
    for name in names:
        layer = name.removeprefix("transformer.").removesuffix(".lora_A.weight")
        if layer in layers and header[name]["shape"][1] != layers[layer][0]:
            raise LoraRefused(f"The layer {layer} does not fit.", remedy="Use it on the base that it was trained on.")
    if not any(name.removeprefix("transformer.").removesuffix(".lora_A.weight") in layers for name in names):
        raise LoraRefused("The file holds no layer of this base.", remedy="Use it on the base that it was trained on.")
