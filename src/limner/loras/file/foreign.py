"""Files that are sound but no FLUX LoRA: named for what they are, so that the refusal helps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from limner.errors import LoraRefused
from limner.loras.file.header import Header
from limner.loras.file.naming import Index
from limner.loras.file.strength import TEXT_ENCODER, TRANSFORMER, declared_strength
from limner.types import Family

__all__ = ["refuse_foreign", "refuse_other_inputs"]

_CONVERT = "Use a plain LoRA; other kinds of adapter cannot be published or drawn with safely."
_NEAREST = "Make the nearest LoRA of it: limner lora import FILE --subject SLUG, or limner.loras.nearest_lora."
_DORA = "a DoRA adapter: its magnitudes multiply the base's own weights, so no LoRA does the same without them"
_MERGE = "Ask its maker for a plain LoRA, or draw with it in ComfyUI, which has the base's weights at hand."
_OTHER_MODEL = "Use a LoRA that was trained on a FLUX model."

# (pattern of a tensor's name, what the file is, remedy); the first that matches a name of the file is told
_KINDS: tuple[tuple[str, str, str], ...] = (
    (r"\.dora_scale$|lora_magnitude_vector", _DORA, _MERGE),
    (r"\.lokr_w[12]", "a LoKr adapter (LyCORIS), not a plain LoRA", _NEAREST),
    (r"\.hada_w[12]|\.hada_t[12]", "a LoHa adapter (LyCORIS), not a plain LoRA", _NEAREST),
    (r"\.oft_(blocks|R|r)|\.boft_|\.oft_diag", "an OFT adapter, not a LoRA", _CONVERT),
    (r"\.(on_input|ia3_l)$|\.ia3_l\.", "an (IA)3 adapter, not a LoRA", _CONVERT),
    (r"\.lora_mid\.weight$", "a LoCon adapter with a third matrix (Tucker), not a plain LoRA", _CONVERT),
    (r"query_norm\.scale$|key_norm\.scale$", "a FLUX control LoRA, which changes the inputs too", _CONVERT),
    (r"^(emb_params|string_to_param|clip_l$|clip_g$)", "a textual inversion embedding, not a LoRA", _OTHER_MODEL),
    (
        r"lora_te2_text_model|text_encoder_2\.text_model|input_blocks_[78]_1_transformer",
        "a LoRA for SDXL",
        _OTHER_MODEL,
    ),
    (
        r"(down|input|up|output)_blocks[._]\d+|mid(dle)?_block[._]",
        "a LoRA for Stable Diffusion ({version})",
        _OTHER_MODEL,
    ),
    (r"joint_blocks[._]\d+|joint_transformer_blocks", "a LoRA for Stable Diffusion 3", _OTHER_MODEL),
    (r"(^|[._])blocks[._]\d+[._](self_attn|cross_attn)", "a LoRA for a Wan video model", _OTHER_MODEL),
    (r"distilled_guidance_layer", "a LoRA for Chroma", _OTHER_MODEL),
    (r"transformer_blocks[._]\d+[._](img|txt)_mlp[._]net", "a LoRA for Qwen-Image", _OTHER_MODEL),
    (r"(^|[._])layers[._]\d+[._](attention|adaLN_modulation)", "a LoRA for Lumina or Z-Image", _OTHER_MODEL),
    (
        r"double_blocks[._]\d+[._](img|txt)_(mlp[._]fc\d|mod[._]linear)|individual_token_refiner",
        "a LoRA for HunyuanVideo",
        _OTHER_MODEL,
    ),
)
_OTHER_INPUTS = {
    128: "a control LoRA (FLUX.1 Canny, Depth and the like), which also reads a second picture",
    384: "a LoRA for FLUX.1 Fill, which also reads a masked picture",
}
# a name that two models share: HunyuanVideo's own, and FLUX's as musubi-tuner converts it
_HALF_DOTTED = re.compile(r"double_blocks\.\d+\.(img|txt)_attn_qkv")
_FLUX_ONLY = re.compile(r"(img|txt)_mlp\.[02]\.|(^|\.)transformer_blocks\.")
_ADAPTER = re.compile(r"lora|\.(down|up)\.weight$")
_FULL_MODEL = re.compile(r"(double_blocks|transformer_blocks)\.\d+\..*\.weight$")


def refuse_foreign(header: Header) -> None:
    """Raise LoraRefused that names the kind of file, where it is known; else return."""
    names = list(header.tensors)
    if not names:
        raise _refusal(header.path, "holds no tensors at all", "Export the LoRA again.")
    for pattern, kind, remedy in _KINDS:
        search: Callable[[str], object] = re.compile(pattern).search
        # an alpha or two of another kind is no proof; any weight is
        if any(search(name) for name in names if not name.endswith(".alpha")):
            raise _refusal(header.path, "is " + kind.format(version=_stable_diffusion(header)), remedy)
    if any(map(_HALF_DOTTED.search, names)) and not any(map(_FLUX_ONLY.search, names)):
        raise _refusal(
            header.path, "is a LoRA for HunyuanVideo, or one of FLUX that cannot be told from it", _OTHER_MODEL
        )
    for component in (TRANSFORMER, TEXT_ENCODER):
        declared = declared_strength(header.metadata, component)
        if declared is not None and declared.dora:
            raise _refusal(header.path, f"says that it is {_DORA}", _MERGE)
    if not any(_ADAPTER.search(name) for name in names):
        what = "is a whole model or a part of one" if any(map(_FULL_MODEL.search, names)) else "is no LoRA"
        example = ", ".join(name[:60] for name in names[:2])
        raise _refusal(header.path, f"{what}: its tensors have names such as {example}", "Name a LoRA file.")


def refuse_other_inputs(header: Header, index: Index) -> None:
    """Raise LoraRefused where the first layer takes what another FLUX takes: control pictures, or a mask to fill."""
    for slot in index.slots.values():
        if slot.target.place.bfl != "img_in" or not slot.down or len(header.tensors[slot.down].shape) != 2:
            continue
        takes = header.tensors[slot.down].shape[1]
        if index.family is Family.FLUX1 and takes in _OTHER_INPUTS:
            said = f"its first layer takes {takes} numbers a place, that of FLUX.1 [dev] takes 64"
            raise _refusal(header.path, f"is {_OTHER_INPUTS[takes]}: {said}", _OTHER_MODEL)


def _stable_diffusion(header: Header) -> str:
    """Tell SD 1, SD 2 and SDXL apart by the width of the text that cross-attention reads."""
    versions = {768: "1.x", 1024: "2.x", 2048: "XL"}
    for name, entry in header.tensors.items():
        crossing = re.search(r"attn2[._]to_[kv]", name) and re.search(r"lora_down|lora_A|lora\.down", name)
        if crossing and len(entry.shape) >= 2 and entry.shape[1] in versions:
            return versions[entry.shape[1]]
    return "1, 2 or XL"


def _refusal(path: Path, reason: str, remedy: str) -> LoraRefused:
    return LoraRefused(f"{path.name} {reason}.", remedy=remedy, thing=str(path))
