"""Programs that write one JSON object: Fooocus, SwarmUI, NovelAI, Civitai's generator, Draw Things, Easy Diffusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from limner.generation.metadata.infotext import Infotext
from limner.generation.metadata.values import entries, json_object, number, pairs, words

__all__ = ["civitai", "draw_things", "easy_diffusion", "fooocus", "novelai", "swarmui"]

_FOOOCUS = {
    "seed": "Seed",
    "steps": "Steps",
    "guidance_scale": "CFG scale",
    "sampler": "Sampler",
    "scheduler": "Schedule type",
    "base_model": "Model",
    "base_model_hash": "Model hash",
    "version": "Version",
}
_SWARM = {
    "seed": "Seed",
    "steps": "Steps",
    "cfgscale": "CFG scale",
    "fluxguidancescale": "Guidance",
    "sampler": "Sampler",
    "scheduler": "Schedule type",
    "model": "Model",
    "swarm_version": "Version",
}
_NOVELAI = {
    "seed": "Seed",
    "steps": "Steps",
    "scale": "CFG scale",
    "sampler": "Sampler",
    "noise_schedule": "Schedule type",
}
_CIVITAI = {"seed": "Seed", "steps": "Steps", "cfgScale": "CFG scale", "sampler": "Sampler", "baseModel": "Model"}
_DRAW_THINGS = {
    "seed": "Seed",
    "steps": "Steps",
    "scale": "CFG scale",
    "sampler": "Sampler",
    "model": "Model",
    "size": "Size",
}
_EASY = {
    "seed": "Seed",
    "num_inference_steps": "Steps",
    "guidance_scale": "CFG scale",
    "sampler_name": "Sampler",
    "use_stable_diffusion_model": "Model",
}


def fooocus(text: str) -> Infotext | None:
    """The summary of Fooocus's own scheme: ``loras`` are (name, weight) pairs."""
    found = json_object(text)
    if found is None or not found.keys() & {"full_prompt", "metadata_scheme", "prompt_expansion", "performance"}:
        return None
    named = found.get("loras")
    loras = [
        (words(entry[0]), number(entry[1]))
        for entry in (named if isinstance(named, list) else ())
        if isinstance(entry, list) and len(entry) >= 2 and words(entry[0])
    ]
    settings = pairs(found, _FOOOCUS)
    size = words(found.get("resolution")).strip("() ").replace(" ", "").split(",")
    if len(size) == 2 and all(side.isdecimal() for side in size):
        settings["Size"] = "x".join(size)
    return Infotext(words(found.get("prompt")), words(found.get("negative_prompt")), settings, tuple(loras))


def swarmui(text: str) -> Infotext | None:
    """The summary of SwarmUI's ``sui_image_params``: names and weights of loras stand in two lists."""
    whole = json_object(text)
    found = whole.get("sui_image_params") if whole else None
    if not isinstance(found, dict):
        return None
    names, weights = found.get("loras"), found.get("loraweights")
    named = [words(name) for name in names] if isinstance(names, list) else []
    loras = [
        (name, number(weights[at] if isinstance(weights, list) and at < len(weights) else 1.0))
        for at, name in enumerate(named)
        if name
    ]
    prompt, negative = words(found.get("prompt")), words(found.get("negativeprompt"))
    return Infotext(prompt, negative, pairs(found, _SWARM), tuple(loras))


def novelai(text: str) -> Infotext | None:
    """The summary of NovelAI's ``Comment``; ``uc`` is what it calls the negative prompt."""
    found = json_object(text)
    if found is None or "uc" not in found or not found.keys() & {"prompt", "v4_prompt"}:
        return None
    return Infotext(
        words(found.get("prompt")) or _caption(found.get("v4_prompt")),
        words(found.get("uc")) or _caption(found.get("v4_negative_prompt")),
        pairs(found, _NOVELAI),
    )


def _caption(said: Any) -> str:
    caption = said.get("caption") if isinstance(said, dict) else None
    return words(caption.get("base_caption")) if isinstance(caption, dict) else ""


def civitai(text: str) -> Infotext | None:
    """The summary of what Civitai's own generator adds to a graph: ``extraMetadata``, JSON within JSON."""
    whole = json_object(text)
    found = json_object(words(whole.get("extraMetadata"))) if whole else None
    if found is None:
        return None
    return Infotext(words(found.get("prompt")), words(found.get("negativePrompt")), pairs(found, _CIVITAI))


def draw_things(text: str) -> Infotext | None:
    """The summary of Draw Things: ``c`` is its prompt, ``uc`` the negative one."""
    found = json_object(text)
    if found is None or not {"c", "uc"} <= found.keys():
        return None
    loras = [
        (words(entry.get("model")), number(entry.get("weight")))
        for entry in entries(found.get("lora"))
        if words(entry.get("model"))
    ]
    return Infotext(words(found.get("c")), words(found.get("uc")), pairs(found, _DRAW_THINGS), tuple(loras))


def easy_diffusion(texts: Mapping[str, str]) -> Infotext | None:
    """The summary of Easy Diffusion, which writes each value as a text of its own."""
    if "prompt" not in texts or not {"seed", "num_inference_steps"} <= texts.keys():
        return None
    return Infotext(texts["prompt"], texts.get("negative_prompt", ""), pairs(texts, _EASY))


ONE_OBJECT: tuple[tuple[str, Callable[[str], Infotext | None]], ...] = (
    ("swarmui", swarmui),
    ("civitai", civitai),
    ("fooocus", fooocus),
    ("novelai", novelai),
    ("drawthings", draw_things),
)
