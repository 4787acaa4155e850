"""InvokeAI's pictures: ``invokeai_metadata`` since version 3, ``sd-metadata`` and the ``Dream`` command line before."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import Any

from limner.generation.metadata.infotext import Infotext
from limner.generation.metadata.values import LONGEST, entries, json_object, number, pairs, words

__all__ = ["dream", "graph", "metadata", "old_metadata"]

_TITLES = {
    "seed": "Seed",
    "steps": "Steps",
    "cfg_scale": "CFG scale",
    "guidance": "Guidance",
    "scheduler": "Sampler",
    "sampler": "Sampler",
    "app_version": "Version",
    "model_hash": "Model hash",
    "model_weights": "Model",
}
_FLAGS = {"-s": "Steps", "-S": "Seed", "-C": "CFG scale", "-A": "Sampler"}
_NEGATIVE = re.compile(r"\[([^\[\]]*)\]")


def metadata(text: str) -> Infotext | None:
    """The summary of an ``invokeai_metadata`` text."""
    found = json_object(text)
    if found is None:
        return None
    settings = pairs(found, _TITLES)
    model = found.get("model")
    if isinstance(model, dict):
        settings["Model"] = _name(model)
        settings |= pairs(model, {"hash": "Model hash"})
    loras = []
    for entry in entries(found.get("loras")):
        named = entry.get("model") or entry.get("lora") or {}
        loras.append((_name(named) if isinstance(named, dict) else words(named), number(entry.get("weight"))))
    prompt, negative = words(found.get("positive_prompt")), words(found.get("negative_prompt"))
    return Infotext(prompt, negative, settings, tuple(loras))


def graph(text: str) -> Infotext | None:
    """What an ``invokeai_graph`` text shows where the metadata is missing: the prompts of its nodes."""
    found = json_object(text)
    nodes = found.get("nodes") if found else None
    if not isinstance(nodes, dict):
        return None
    every = [node for node in nodes.values() if isinstance(node, dict)]
    texts = [words(node.get("prompt")) or words(node.get("value")) for node in every]
    settings: dict[str, str] = {}
    for node in every:
        settings = {**pairs(node, {"seed": "Seed", "steps": "Steps", "num_steps": "Steps"}), **settings}
    return Infotext(next((text for text in texts if text.strip()), ""), settings=settings)


def old_metadata(text: str) -> Infotext | None:
    """The summary of an ``sd-metadata`` text: the prompt may be a list of weighted parts."""
    found = json_object(text)
    image = found.get("image") if found else None
    if found is None or not isinstance(image, dict):
        return None
    said = image.get("prompt")
    parts = said if isinstance(said, list) else [said]
    prompt = ", ".join(words(part.get("prompt") if isinstance(part, dict) else part) for part in parts)
    return _split(prompt, {**pairs(found, _TITLES), **pairs(image, _TITLES)})


def dream(text: str) -> Infotext | None:
    """The summary of a ``Dream`` text: ``"a cat [dog]" -s 50 -S 12 -W 512 -H 512 -C 7.5 -A k_lms``."""
    if len(text) > LONGEST // 100:
        return None
    try:
        prompt, *rest = shlex.split(text.strip())
    except ValueError:
        return None
    settings, size = {}, {"-W": "", "-H": ""}
    for word in rest:
        flag, value = word[:2], word[2:]
        if flag in _FLAGS and value:
            settings[_FLAGS[flag]] = value
        elif flag in size:
            size[flag] = value
    joined = dict(pairwise(rest))
    settings |= {title: joined[flag] for flag, title in _FLAGS.items() if flag in joined}
    size |= {flag: joined[flag] for flag in size if flag in joined}
    if not settings:
        return None
    if all(size.values()):
        settings["Size"] = f"{size['-W']}x{size['-H']}"
    return _split(prompt, settings)


def _split(prompt: str, settings: dict[str, str]) -> Infotext:
    """Before version 3, what stood in square brackets was the negative prompt."""
    negative = ", ".join(part.strip() for part in _NEGATIVE.findall(prompt))
    return Infotext(_NEGATIVE.sub("", prompt).strip(), negative, settings)


def _name(model: dict[str, Any]) -> str:
    return words(model.get("name")) or words(model.get("model_name"))
