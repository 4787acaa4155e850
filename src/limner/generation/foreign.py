"""Pictures of other programs: a summary, for reading only, of what ComfyUI and InvokeAI write into theirs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from limner.generation.infotext import Infotext

__all__ = ["comfyui", "comfyui_workflow", "invokeai"]

_SAMPLING = {"seed": "Seed", "noise_seed": "Seed", "steps": "Steps", "cfg": "CFG scale", "guidance": "Guidance",
             "sampler_name": "Sampler", "scheduler": "Schedule type"}  # fmt: skip
_MODELS = ("ckpt_name", "unet_name")


def comfyui(graph: str) -> Infotext | None:
    """The summary of a ComfyUI graph (its ``prompt`` text): texts, sampling values, model and loras."""
    nodes = _json(graph)
    if nodes is None or not all(isinstance(node, dict) and "class_type" in node for node in nodes.values()):
        return None
    settings: dict[str, str] = {}
    loras: list[tuple[str, float]] = []
    for node in nodes.values():
        inputs = node.get("inputs")
        if not isinstance(inputs, dict):
            continue
        for name, title in _SAMPLING.items():
            if isinstance(inputs.get(name), (str, int, float)):
                settings.setdefault(title, str(inputs[name]))
        for name in _MODELS:
            if isinstance(inputs.get(name), str):
                settings.setdefault("Model", inputs[name])
        if isinstance(inputs.get("lora_name"), str):
            loras.append((inputs["lora_name"], _number(inputs.get("strength_model"))))
    positive, negative = _conditioning(nodes)
    return Infotext(positive, negative, settings, tuple(loras))


def comfyui_workflow(workflow: str) -> Infotext | None:
    """What a ComfyUI ``workflow`` text shows where the graph itself is missing: the texts in its boxes."""
    found = _json(workflow)
    nodes = found.get("nodes") if found else None
    if not isinstance(nodes, list):
        return None
    texts = []
    for node in nodes:
        if isinstance(node, dict) and "TextEncode" in str(node.get("type")):
            values = node.get("widgets_values")
            texts += [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
    return Infotext("\n".join(text for text in texts if text.strip()))


def invokeai(metadata: str) -> Infotext | None:
    """The summary of InvokeAI's ``invokeai_metadata`` text."""
    found = _json(metadata)
    if found is None:
        return None
    model = found.get("model")
    titles = {"seed": "Seed", "steps": "Steps", "cfg_scale": "CFG scale", "guidance": "Guidance",
              "scheduler": "Sampler", "app_version": "Version"}  # fmt: skip
    settings = {title: str(found[name]) for name, title in titles.items() if found.get(name) is not None}
    if found.get("width") and found.get("height"):
        settings["Size"] = f"{found['width']}x{found['height']}"
    if isinstance(model, dict):
        settings["Model"] = str(model.get("name") or model.get("model_name") or "")
        if model.get("hash"):
            settings["Model hash"] = str(model["hash"])
    loras = []
    entries = found.get("loras")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            named = entry.get("model") or entry.get("lora") or {}
            name = named.get("name") or named.get("model_name") if isinstance(named, dict) else named
            loras.append((str(name or ""), _number(entry.get("weight"))))
    positive = found.get("positive_prompt") or ""
    return Infotext(str(positive), str(found.get("negative_prompt") or ""), settings, tuple(loras))


def _conditioning(nodes: Mapping[str, Any]) -> tuple[str, str]:
    """The texts that reach a sampler's positive and negative inputs; without such a sampler, the first text."""
    positive = negative = ""
    for node in nodes.values():
        inputs = node.get("inputs") or {}
        if isinstance(inputs, dict) and "positive" in inputs:
            positive = positive or next(_texts(nodes, inputs["positive"], set()), "")
            negative = negative or next(_texts(nodes, inputs.get("negative"), set()), "")
    if not positive:
        every = (_texts(nodes, [name, 0], set()) for name in nodes)
        positive = next((text for texts in every for text in texts), "")
    return positive, negative


def _texts(nodes: Mapping[str, Any], link: Any, seen: set[str]) -> Iterator[str]:
    """The texts upstream of a link, which is ``[node, output]``; a ring of links ends the search."""
    waiting = [link]
    while waiting:
        link = waiting.pop(0)
        if not (isinstance(link, list) and link and isinstance(link[0], str)) or link[0] in seen:
            continue
        seen.add(link[0])
        node = nodes.get(link[0])
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if not isinstance(inputs, dict):
            continue
        for name in ("text", "t5xxl", "clip_l", "string", "value"):
            if isinstance(inputs.get(name), str) and inputs[name].strip():
                yield inputs[name]
                break
        waiting += [value for value in inputs.values() if isinstance(value, list)]


def _json(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found else None


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, (int, float)) else 1.0
    except OverflowError:
        return 1.0
