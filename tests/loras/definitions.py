"""Every tensor naming of a FLUX lora by its definition, and a reader of them that shares no code with limner.loras.

Plain safetensors bytes and numpy only. Widths are counted in the transformer's; a negative number is a size as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from limner.types import Family

__all__ = ["CLIP", "LINEARS", "XLABS", "Linear", "alphas_of_header", "assert_same", "changes", "pack", "write"]


@dataclass(frozen=True)
class Linear:
    """A layer of BFL's transformer: the diffusers layers that its rows are with their heights, and its input."""

    parts: tuple[tuple[str, int], ...]
    columns: int
    swapped: bool = False


def _alone(path: str, rows: int, columns: int, *, swapped: bool = False) -> Linear:
    return Linear(((path, rows),), columns, swapped)


def _qkv(block: str, names: tuple[str, ...]) -> Linear:
    return Linear(tuple((f"{block}.{name}", 1) for name in names), 1)


_DOUBLE = {
    "double_blocks.N.img_attn.qkv": _qkv("transformer_blocks.N.attn", ("to_q", "to_k", "to_v")),
    "double_blocks.N.txt_attn.qkv": _qkv("transformer_blocks.N.attn", ("add_q_proj", "add_k_proj", "add_v_proj")),
    "double_blocks.N.img_attn.proj": _alone("transformer_blocks.N.attn.to_out.0", 1, 1),
    "double_blocks.N.txt_attn.proj": _alone("transformer_blocks.N.attn.to_add_out", 1, 1),
}
_ENDS = {
    "final_layer.adaLN_modulation.1": _alone("norm_out.linear", 2, 1, swapped=True),
    "final_layer.linear": _alone("proj_out", -16, 1),
    "img_in": _alone("x_embedder", 1, -16),
    "txt_in": _alone("context_embedder", 1, -24),
}


def _embedders(inside: str, names: dict[str, str]) -> dict[str, Linear]:
    found = {}
    for bfl, name in names.items():
        found[f"{bfl}.in_layer"] = _alone(f"{inside}.{name}.linear_1", 1, -10 if bfl == "vector_in" else -256)
        found[f"{bfl}.out_layer"] = _alone(f"{inside}.{name}.linear_2", 1, 1)
    return found


LINEARS: dict[Family, dict[str, Linear]] = {
    Family.FLUX1: {
        **_DOUBLE,
        "double_blocks.N.img_mlp.0": _alone("transformer_blocks.N.ff.net.0.proj", 4, 1),
        "double_blocks.N.img_mlp.2": _alone("transformer_blocks.N.ff.net.2", 1, 4),
        "double_blocks.N.txt_mlp.0": _alone("transformer_blocks.N.ff_context.net.0.proj", 4, 1),
        "double_blocks.N.txt_mlp.2": _alone("transformer_blocks.N.ff_context.net.2", 1, 4),
        "double_blocks.N.img_mod.lin": _alone("transformer_blocks.N.norm1.linear", 6, 1),
        "double_blocks.N.txt_mod.lin": _alone("transformer_blocks.N.norm1_context.linear", 6, 1),
        "single_blocks.N.linear1": Linear(
            (
                ("single_transformer_blocks.N.attn.to_q", 1),
                ("single_transformer_blocks.N.attn.to_k", 1),
                ("single_transformer_blocks.N.attn.to_v", 1),
                ("single_transformer_blocks.N.proj_mlp", 4),
            ),
            1,
        ),
        "single_blocks.N.linear2": _alone("single_transformer_blocks.N.proj_out", 1, 5),
        "single_blocks.N.modulation.lin": _alone("single_transformer_blocks.N.norm.linear", 3, 1),
        **_ENDS,
        **_embedders(
            "time_text_embed",
            {"time_in": "timestep_embedder", "vector_in": "text_embedder", "guidance_in": "guidance_embedder"},
        ),
    },
    Family.FLUX2: {
        **_DOUBLE,
        "double_blocks.N.img_mlp.0": _alone("transformer_blocks.N.ff.linear_in", 6, 1),
        "double_blocks.N.img_mlp.2": _alone("transformer_blocks.N.ff.linear_out", 1, 3),
        "double_blocks.N.txt_mlp.0": _alone("transformer_blocks.N.ff_context.linear_in", 6, 1),
        "double_blocks.N.txt_mlp.2": _alone("transformer_blocks.N.ff_context.linear_out", 1, 3),
        "single_blocks.N.linear1": _alone("single_transformer_blocks.N.attn.to_qkv_mlp_proj", 9, 1),
        "single_blocks.N.linear2": _alone("single_transformer_blocks.N.attn.to_out", 1, 4),
        "double_stream_modulation_img.lin": _alone("double_stream_modulation_img.linear", 6, 1),
        "double_stream_modulation_txt.lin": _alone("double_stream_modulation_txt.linear", 6, 1),
        "single_stream_modulation.lin": _alone("single_stream_modulation.linear", 3, 1),
        **_ENDS,
        **_embedders("time_guidance_embed", {"time_in": "timestep_embedder", "guidance_in": "guidance_embedder"}),
    },
}

_FLUX1 = LINEARS[Family.FLUX1]
XLABS: dict[str, Linear] = {
    "double_blocks.N.processor.qkv_lora1": _FLUX1["double_blocks.N.img_attn.qkv"],
    "double_blocks.N.processor.qkv_lora2": _FLUX1["double_blocks.N.txt_attn.qkv"],
    "double_blocks.N.processor.proj_lora1": _FLUX1["double_blocks.N.img_attn.proj"],
    "double_blocks.N.processor.proj_lora2": _FLUX1["double_blocks.N.txt_attn.proj"],
    "single_blocks.N.processor.qkv_lora": Linear(_FLUX1["single_blocks.N.linear1"].parts[:3], 1),
    "single_blocks.N.processor.proj_lora": _FLUX1["single_blocks.N.linear2"],
}
CLIP = {
    **{f"encoder.layers.N.self_attn.{part}_proj": (1, 1) for part in "qkv"},
    "encoder.layers.N.self_attn.out_proj": (1, 1),
    "encoder.layers.N.mlp.fc1": (4, 1),
    "encoder.layers.N.mlp.fc2": (1, 4),
}


def pack(values: np.ndarray, dtype: str) -> tuple[str, tuple[int, ...], bytes]:
    """A tensor as safetensors stores it, rounded towards zero where BF16 has fewer digits."""
    values = np.asarray(values)
    if dtype == "BF16":
        cut = np.ascontiguousarray(values, dtype="<f4").view("<u4") >> 16
        return dtype, values.shape, cut.astype("<u2").tobytes()
    return (
        dtype,
        values.shape,
        np.ascontiguousarray(values, dtype={"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]).tobytes(),
    )


def unpack(dtype: str, shape: tuple[int, ...], data: bytes) -> np.ndarray:
    """The exact values as float64."""
    if dtype == "BF16":
        wide = np.frombuffer(data, dtype="<u2").astype("<u4") << 16
        return wide.view("<f4").astype(np.float64).reshape(shape)
    return (
        np.frombuffer(data, dtype={"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float64).reshape(shape)
    )


def write(
    path: Path, tensors: dict[str, tuple[str, tuple[int, ...], bytes]], metadata: dict[str, str] | None = None
) -> Path:
    """A safetensors file, byte for byte as its definition says."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    data = content[8 + length :]
    places = {name: entry["data_offsets"] for name, entry in header.items()}
    tensors = {n: unpack(e["dtype"], tuple(e["shape"]), data[slice(*places[n])]) for n, e in header.items()}
    return tensors, metadata


def alphas_of_header(metadata: dict[str, str], component: str, module: str, rank: int) -> float:
    """Alpha as PEFT reads it from diffusers' header; its own matching of patterns."""
    from peft.utils.other import get_pattern_key

    config = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    own = {key.removeprefix(component): value for key, value in config.items() if key.startswith(component)}
    if not own:
        return float(rank)
    pattern = own["alpha_pattern"]
    return float(pattern.get(get_pattern_key(pattern.keys(), module), own["lora_alpha"]))


def changes(path: Path, family: Family) -> dict[str, np.ndarray]:
    """(alpha / r) B A by diffusers path, of a file in the three namings that are written; zero changes left out."""
    tensors, metadata = read(path)
    found: dict[str, np.ndarray] = {}
    for name, down in tensors.items():
        for low, high in (
            (".lora_A.weight", ".lora_B.weight"),
            (".lora_down.weight", ".lora_up.weight"),
            (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
        ):
            if not name.endswith(low):
                continue
            module, rank = name.removesuffix(low), down.shape[0]
            pieces, component, inner = _meaning(module, family)
            if module + ".alpha" in tensors:
                alpha = float(tensors[module + ".alpha"])
            elif component:
                alpha = alphas_of_header(metadata, component, inner, rank)
            else:
                alpha = float(rank)
            rows = tensors[module + high] @ down * (alpha / rank)
            total = sum(height for _, height in pieces)
            top = 0
            for part, height in pieces:
                bottom = top + height * len(rows) // total
                assert part not in found
                found[part] = rows[top:bottom]
                top = bottom
            if pieces[0][0] == "norm_out.linear" and not component:
                found["norm_out.linear"] = np.concatenate(np.split(rows, 2)[::-1])
    return {part: change for part, change in found.items() if change.any()}


@cache
def _meaning(module: str, family: Family) -> tuple[tuple[tuple[str, int], ...], str, str]:
    """The rows of a written module by diffusers path; the header's component and path where it has one."""
    if module.startswith("transformer."):
        inner = module.removeprefix("transformer.")
        assert inner in _known(family), module
        return ((inner, 1),), "transformer.", inner
    for number in range(8):
        for clip in CLIP:
            path = clip.replace("N", str(number))
            if module == "text_encoder.text_model." + path:
                return ((f"clip.{path}", 1),), "text_encoder.", path
            if module in (
                "lora_te1_text_model_" + path.replace(".", "_"),
                "text_encoders.clip_l.transformer.text_model." + path,
            ):
                return ((f"clip.{path}", 1),), "", ""
        for bfl, linear in LINEARS[family].items():
            path = bfl.replace("N", str(number), 1) if ".N." in bfl else bfl
            if module in ("diffusion_model." + path, "lora_unet_" + path.replace(".", "_")):
                return tuple((part.replace("N", str(number), 1), rows) for part, rows in linear.parts), "", ""
    raise AssertionError(f"no naming has {module}")


@cache
def _known(family: Family) -> frozenset[str]:
    parts = [part for linear in LINEARS[family].values() for part, _ in linear.parts]
    return frozenset(part.replace(".N.", f".{n}.") for part in parts for n in range(8))


def assert_same(wanted: dict[str, np.ndarray], found: dict[str, np.ndarray], tolerance: float = 1e-12) -> None:
    """Equal changes of the same layers; layers whose change is zero may be absent."""
    wanted = {name: change for name, change in wanted.items() if change.any()}
    assert wanted.keys() == found.keys()
    for name, change in wanted.items():
        np.testing.assert_allclose(found[name], change, rtol=tolerance, atol=tolerance * np.abs(change).max())
