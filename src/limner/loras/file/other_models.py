"""Models that are no base here, by the words with which headers and cards name them.

A LoRA of FLUX.1 Kontext has the layers and shapes of one of FLUX.1 [dev], so have Chroma's that are left: only such
words tell. Hints at a model are told, never believed over the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from limner.types import Finding, Severity

__all__ = ["named_elsewhere"]

LONGEST = 300
_MODELS: tuple[tuple[str, str], ...] = tuple(
    (rf"(?<![a-z0-9])(?:{words})", title)
    for words, title in (
        ("chroma", "Chroma"),
        (r"(?:flux.{0,12})?kontext", "FLUX.1 Kontext"),
        (r"flux.{0,12}fill", "FLUX.1 Fill"),
        (r"flux.{0,12}redux", "FLUX.1 Redux"),
        (r"flux.{0,16}canny", "FLUX.1 Canny, whose LoRAs are control LoRAs"),
        (r"flux.{0,16}depth", "FLUX.1 Depth, whose LoRAs are control LoRAs"),
        (r"flux.{0,12}krea", "FLUX.1 Krea"),
        (r"flux[ ._-]?3", "FLUX 3"),
        (r"flex[ ._-]?[12]", "Flex"),
        (r"stable[ ._-]?diffusion[ ._-]?xl|sd[ ._-]?xl|pony|illustrious|noobai", "Stable Diffusion XL"),
        (r"stable[ ._-]?diffusion[ ._-]?v?3|sd[ ._-]?v?3(?![0-9])", "Stable Diffusion 3"),
        (r"stable[ ._-]?diffusion[ ._-]?v?2|sd[ ._-]?v?2(?![0-9])", "Stable Diffusion 2"),
        (r"stable[ ._-]?diffusion[ ._-]?v?1|sd[ ._-]?v?1(?![0-9])|sd[ ._-]?15|v1-5-pruned", "Stable Diffusion 1"),
        (r"qwen[ ._-]?image", "Qwen-Image"),
        (r"wan[ ._-]?(?:ai|v?[12]|video|[it]2v)", "Wan"),
        (r"(?:tongyi.{0,6}/)?z[ ._-]?image", "Z-Image"),
        (r"lumina", "Lumina"),
        (r"hunyuan", "Hunyuan"),
        (r"hidream", "HiDream"),
        (r"aura[ ._-]?flow", "AuraFlow"),
        (r"ltxv?(?![a-z])", "LTX-Video"),
        (r"pixart", "PixArt"),
        (r"kolors", "Kolors"),
    )
)
KEYS = ("modelspec.architecture", "ss_base_model_version", "ss_sd_model_name", "base_model", "baseModel")


def named_elsewhere(metadata: Mapping[str, str], card: str = "") -> Finding | None:
    """A warning where a header, or a card's ``base_model``, names a model that is no base here; else None."""
    said = [(f"Its header ({key})", metadata[key]) for key in KEYS if metadata.get(key)]
    if card:
        said.append(("Its card", card))
    for who, words in said:
        for pattern, title in _MODELS:
            if re.search(pattern, words[:LONGEST].lower()):
                shown = " ".join(words[:60].split())
                message = f"{who} names another model, {title}: “{shown}”. It was then not made for the base it fits."
                remedy = "Ask its maker what it was trained on; the pictures may come out wrong."
                return Finding("other-model", Severity.WARNING, message, remedy)
    return None
