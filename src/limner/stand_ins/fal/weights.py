"""The file of fal's FLUX.2 trainer: beside the layers of the blocks it has ``guidance_in``, in BFL's own naming."""

from __future__ import annotations

__all__ = ["with_guidance"]

PREFIX = "base_model.model.guidance_in"
TIMES = 256
"""The numbers that a guidance strength is spread over before the layer."""


def with_guidance(data: bytes) -> bytes:
    """A lora file with adapters of the two guidance layers added, of the rank and width of the others."""
    import numpy as np
    from safetensors.numpy import load, save

    tensors = load(data)
    width, rank = next(
        (value.shape[1], value.shape[0]) for name, value in tensors.items() if name.endswith("to_q.lora_A.weight")
    )
    for layer, columns in (("in_layer", TIMES), ("out_layer", width)):
        chance = np.random.default_rng(columns)
        down, up = chance.normal(0, columns**-0.5, (rank, columns)), chance.normal(0, 0.01, (width, rank))
        tensors[f"{PREFIX}.{layer}.lora_A.weight"] = down.astype(np.float16)
        tensors[f"{PREFIX}.{layer}.lora_B.weight"] = up.astype(np.float16)
    return bytes(save(tensors))
