"""The linear layers of the FLUX transformers, as data: BFL's fused layers and the diffusers layers their rows are.

Sizes are counted in widths (the transformer's hidden size), so that one table serves every size of a family. None is
a size that the width does not give (the text encoders' or the latents').
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from limner.types import Family

__all__ = ["CLIP_PLACES", "FIXED", "MISSPELT", "PLACES", "XLABS_PLACES", "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """One linear layer of BFL's transformer; ``{}`` stands for the block's number.

    ``parts`` are the diffusers layers that its rows are, from top to bottom, ``rows`` their heights and ``columns``
    the width of the input, in widths. ``swapped``: BFL keeps (shift, scale) where diffusers keeps (scale, shift).
    ``takes`` and ``gives`` name a size that the width does not give: a key of ``Base.shape``, or of ``FIXED``.
    """

    bfl: str
    parts: tuple[str, ...]
    rows: tuple[int | None, ...]
    columns: int | None
    swapped: bool = False
    takes: str = ""
    gives: str = ""


FIXED: Mapping[str, int] = MappingProxyType({"time": 256})
"""Sizes that are the same in every base: the numbers that a point in time becomes."""


def _attention() -> tuple[Place, ...]:
    block = "transformer_blocks.{}.attn."
    image = tuple(block + part for part in ("to_q", "to_k", "to_v"))
    text = tuple(block + part for part in ("add_q_proj", "add_k_proj", "add_v_proj"))
    return (
        Place("double_blocks.{}.img_attn.qkv", image, (1, 1, 1), 1),
        Place("double_blocks.{}.txt_attn.qkv", text, (1, 1, 1), 1),
        Place("double_blocks.{}.img_attn.proj", (block + "to_out.0",), (1,), 1),
        Place("double_blocks.{}.txt_attn.proj", (block + "to_add_out",), (1,), 1),
    )


def _one(bfl: str, part: str, rows: int | str, columns: int | str, *, swapped: bool = False) -> Place:
    height, width = rows if isinstance(rows, int) else None, columns if isinstance(columns, int) else None
    takes, gives = columns if isinstance(columns, str) else "", rows if isinstance(rows, str) else ""
    return Place(bfl, (part,), (height,), width, swapped, takes, gives)


_FLUX1 = (
    *_attention(),
    _one("double_blocks.{}.img_mlp.0", "transformer_blocks.{}.ff.net.0.proj", 4, 1),
    _one("double_blocks.{}.img_mlp.2", "transformer_blocks.{}.ff.net.2", 1, 4),
    _one("double_blocks.{}.txt_mlp.0", "transformer_blocks.{}.ff_context.net.0.proj", 4, 1),
    _one("double_blocks.{}.txt_mlp.2", "transformer_blocks.{}.ff_context.net.2", 1, 4),
    _one("double_blocks.{}.img_mod.lin", "transformer_blocks.{}.norm1.linear", 6, 1),
    _one("double_blocks.{}.txt_mod.lin", "transformer_blocks.{}.norm1_context.linear", 6, 1),
    Place(
        "single_blocks.{}.linear1",
        (
            "single_transformer_blocks.{}.attn.to_q",
            "single_transformer_blocks.{}.attn.to_k",
            "single_transformer_blocks.{}.attn.to_v",
            "single_transformer_blocks.{}.proj_mlp",
        ),
        (1, 1, 1, 4),
        1,
    ),
    _one("single_blocks.{}.linear2", "single_transformer_blocks.{}.proj_out", 1, 5),
    _one("single_blocks.{}.modulation.lin", "single_transformer_blocks.{}.norm.linear", 3, 1),
    _one("final_layer.adaLN_modulation.1", "norm_out.linear", 2, 1, swapped=True),
    _one("final_layer.linear", "proj_out", "latents", 1),
    _one("img_in", "x_embedder", 1, "latents"),
    _one("txt_in", "context_embedder", 1, "text"),
    _one("time_in.in_layer", "time_text_embed.timestep_embedder.linear_1", 1, "time"),
    _one("time_in.out_layer", "time_text_embed.timestep_embedder.linear_2", 1, 1),
    _one("vector_in.in_layer", "time_text_embed.text_embedder.linear_1", 1, "pooled"),
    _one("vector_in.out_layer", "time_text_embed.text_embedder.linear_2", 1, 1),
    _one("guidance_in.in_layer", "time_text_embed.guidance_embedder.linear_1", 1, "time"),
    _one("guidance_in.out_layer", "time_text_embed.guidance_embedder.linear_2", 1, 1),
)

_FLUX2 = (
    *_attention(),
    _one("double_blocks.{}.img_mlp.0", "transformer_blocks.{}.ff.linear_in", 6, 1),
    _one("double_blocks.{}.img_mlp.2", "transformer_blocks.{}.ff.linear_out", 1, 3),
    _one("double_blocks.{}.txt_mlp.0", "transformer_blocks.{}.ff_context.linear_in", 6, 1),
    _one("double_blocks.{}.txt_mlp.2", "transformer_blocks.{}.ff_context.linear_out", 1, 3),
    _one("single_blocks.{}.linear1", "single_transformer_blocks.{}.attn.to_qkv_mlp_proj", 9, 1),
    _one("single_blocks.{}.linear2", "single_transformer_blocks.{}.attn.to_out", 1, 4),
    _one("double_stream_modulation_img.lin", "double_stream_modulation_img.linear", 6, 1),
    _one("double_stream_modulation_txt.lin", "double_stream_modulation_txt.linear", 6, 1),
    _one("single_stream_modulation.lin", "single_stream_modulation.linear", 3, 1),
    _one("final_layer.adaLN_modulation.1", "norm_out.linear", 2, 1, swapped=True),
    _one("final_layer.linear", "proj_out", "latents", 1),
    _one("img_in", "x_embedder", 1, "latents"),
    _one("txt_in", "context_embedder", 1, "text"),
    _one("time_in.in_layer", "time_guidance_embed.timestep_embedder.linear_1", 1, "time"),
    _one("time_in.out_layer", "time_guidance_embed.timestep_embedder.linear_2", 1, 1),
    _one("guidance_in.in_layer", "time_guidance_embed.guidance_embedder.linear_1", 1, "time"),
    _one("guidance_in.out_layer", "time_guidance_embed.guidance_embedder.linear_2", 1, 1),
)

PLACES: Mapping[Family, tuple[Place, ...]] = MappingProxyType({Family.FLUX1: _FLUX1, Family.FLUX2: _FLUX2})

# XLabs (FLUX.1 only) wraps whole attention processors; 1 is the image's stream, 2 the text's.
_BY_BFL = {place.bfl: place for place in _FLUX1}
_SINGLE = _BY_BFL["single_blocks.{}.linear1"]
XLABS_PLACES: Mapping[str, Place] = MappingProxyType(
    {
        "double_blocks.{}.processor.qkv_lora1": _BY_BFL["double_blocks.{}.img_attn.qkv"],
        "double_blocks.{}.processor.qkv_lora2": _BY_BFL["double_blocks.{}.txt_attn.qkv"],
        "double_blocks.{}.processor.proj_lora1": _BY_BFL["double_blocks.{}.img_attn.proj"],
        "double_blocks.{}.processor.proj_lora2": _BY_BFL["double_blocks.{}.txt_attn.proj"],
        "single_blocks.{}.processor.qkv_lora": Place(_SINGLE.bfl, _SINGLE.parts[:3], (1, 1, 1), 1),
        "single_blocks.{}.processor.proj_lora": _BY_BFL["single_blocks.{}.linear2"],
    }
)

# Other spellings of BFL's layers: musubi-tuner's converter (dots only half put back), ComfyUI's share of linear1.
MISSPELT: Mapping[Family, Mapping[str, Place]] = MappingProxyType(
    {
        family: MappingProxyType(
            {
                f"double_blocks.{{}}.{stream}_attn_{part}": next(
                    place for place in places if place.bfl == f"double_blocks.{{}}.{stream}_attn.{part}"
                )
                for stream in ("img", "txt")
                for part in ("qkv", "proj")
            }
            | (
                {"single_blocks.{}.linear1_qkv": XLABS_PLACES["single_blocks.{}.processor.qkv_lora"]}
                if family is Family.FLUX1
                else {}
            )
        )
        for family, places in PLACES.items()
    }
)

# The text encoder CLIP-L of FLUX.1; sizes in its own widths.
CLIP_PLACES: tuple[Place, ...] = tuple(
    _one(path, path, rows, columns)
    for path, rows, columns in (
        *((f"encoder.layers.{{}}.self_attn.{part}_proj", 1, 1) for part in ("q", "k", "v", "out")),
        ("encoder.layers.{}.mlp.fc1", 4, 1),
        ("encoder.layers.{}.mlp.fc2", 1, 4),
    )
)
