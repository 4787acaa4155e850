"""ComfyUI's pictures: the graph that drew them (``prompt``) or, where that is missing, the ``workflow`` of the editor.

A graph is nodes by id, each with a class and inputs; an input is a value, or a link ``[node, output]``. Node packs add
classes without end, so inputs are known by their names and by what they lead to, not by the class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from limner.generation.metadata.infotext import Infotext
from limner.generation.metadata.values import entries, json_object, number, pairs, words

__all__ = ["graph", "workflow"]

_SAMPLING = {
    "seed": "Seed",
    "noise_seed": "Seed",
    "steps": "Steps",
    "cfg": "CFG scale",
    "guidance": "Guidance",
    "sampler_name": "Sampler",
    "scheduler": "Schedule type",
    "ckpt_name": "Model",
    "unet_name": "Model",
}
_TEXT = re.compile(r"(text|string|value|prompt|clip_l|t5xxl|positive|populated_text)(_?[a-z0-9]{1,2})?")
_NO_TEXT = re.compile(
    r"clip|vae|model|images?|latent\w*|mask|control_net|negative|delimiter|sampler|sigmas|noise|.*_name"
)
_SAMPLERS = re.compile(r"sampler", re.IGNORECASE)
_NUMBERED = re.compile(r"lora(?:_name)?_0?(\d{1,2})")
_WEIGHTS = ("strength_{}", "strength_0{}", "lora_wt_{}", "model_weight_{}", "model_str_{}", "strength_model_{}")
_OFF = ("off", "false")
_MUTED = (2, 4)
"""Modes of a node of the editor that does not take part: never, bypassed."""


def graph(text: str) -> Infotext | None:
    """The summary of a ``prompt`` text: the prompts that reach the sampler, sampling values, model and loras."""
    nodes = json_object(text)
    if nodes is None or not all(isinstance(node, dict) and "class_type" in node for node in nodes.values()):
        return None
    settings: dict[str, str] = {}
    loras: list[tuple[str, float]] = []
    for name in nodes:
        inputs = _inputs(nodes, name)
        settings = {**pairs(_values(nodes, inputs), _SAMPLING), **settings}
        loras += _loras(inputs)
    sampler = _last_sampler(nodes)
    positive = negative = ""
    if sampler:
        inputs = _inputs(nodes, sampler)
        first = inputs.get("positive") or inputs.get("guider") or inputs.get("conditioning")
        positive, negative = _text(nodes, first), _text(nodes, inputs.get("negative"))
    if not positive:
        positive = next((found for name in nodes if (found := _own_text(_inputs(nodes, name)))), "")
    return Infotext(positive, negative, settings, tuple(loras))


def workflow(text: str) -> Infotext | None:
    """What a ``workflow`` text shows: the texts in the boxes of the nodes that take part, and their loras."""
    found = json_object(text)
    if found is None or not isinstance(found.get("nodes"), list):
        return None
    texts, loras = [], []
    for node in _editor_nodes(found):
        values = node.get("widgets_values")
        kind = words(node.get("type"))
        if not isinstance(values, list) or node.get("mode") in _MUTED:
            continue
        if "TextEncode" in kind:
            texts += [value for value in values if isinstance(value, str) and value.strip()][:1]
        elif kind.startswith("LoraLoader") and values and isinstance(values[0], str):
            loras.append((values[0], number(values[1] if len(values) > 1 else 1.0)))
    return Infotext("\n".join(texts), loras=tuple(loras))


def _editor_nodes(found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The nodes, and those of subgraphs."""
    definitions = found.get("definitions")
    inner = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    for part in (found, *entries(inner)):
        yield from entries(part.get("nodes"))


def _inputs(nodes: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    node = nodes.get(name)
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _linked(value: Any) -> str:
    """The node that a link leads to; "" for a value."""
    return value[0] if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) else ""


def _values(nodes: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values; a link is followed for one step, to a node that only holds a seed or another number."""
    found: dict[str, Any] = {}
    for name, value in inputs.items():
        if node := _linked(value):
            held = _inputs(nodes, node)
            value = next((held[key] for key in ("seed", "noise_seed", "value", "int", name) if key in held), None)
        found[name] = value
    return {name: value for name, value in found.items() if isinstance(value, (str, int, float))}


def _last_sampler(nodes: Mapping[str, Any]) -> str:
    """The sampler nearest to the picture: the first that is met on the way up from a node that nobody reads."""
    read = {node for name in nodes for value in _inputs(nodes, name).values() if (node := _linked(value))}
    ends = [name for name in nodes if name not in read] or list(nodes)
    # what saves or shows pictures comes first, as a graph may have loose ends
    ends.sort(key=lambda name: "image" not in _inputs(nodes, name) and "images" not in _inputs(nodes, name))
    waiting, met = ends, set(ends)
    for name in waiting:  # grows while it is gone through
        inputs = _inputs(nodes, name)
        if "positive" in inputs or "guider" in inputs:
            kind = words(nodes[name].get("class_type"))
            if "guider" in inputs or _SAMPLERS.search(kind) or "latent_image" in inputs:
                return name
        for value in inputs.values():
            node = _linked(value)
            if node in nodes and node not in met:
                met.add(node)
                waiting.append(node)
    return next((name for name in nodes if "positive" in _inputs(nodes, name)), "")


def _own_text(inputs: Mapping[str, Any]) -> str:
    """The text that a node itself holds in an input that is named for one."""
    found = [value for name, value in inputs.items() if _TEXT.fullmatch(name) and words(value).strip()]
    return "\n".join(dict.fromkeys(map(str, found)))


def _text(nodes: Mapping[str, Any], link: Any) -> str:
    """The text upstream of a link, its parts joined as the nodes on the way join them; each node is read once."""
    start = _linked(link)
    done: dict[str, str] = {}
    stack: list[tuple[str, bool]] = [(start, False)] if start in nodes else []
    while stack:
        name, children_read = stack.pop()
        if children_read:
            done[name] = _joined(_inputs(nodes, name), done)
            continue
        if name in done:
            continue
        done[name] = ""  # a ring of links ends here
        stack.append((name, True))
        stack += [(node, False) for node in _upstream(_inputs(nodes, name)) if node in nodes and node not in done]
    return done.get(start, "")


def _upstream(inputs: Mapping[str, Any]) -> list[str]:
    return [node for name, value in inputs.items() if (node := _linked(value)) and not _NO_TEXT.fullmatch(name)]


def _joined(inputs: Mapping[str, Any], done: Mapping[str, str]) -> str:
    parts = []
    for name, value in inputs.items():
        if node := _linked(value):
            parts.append("" if _NO_TEXT.fullmatch(name) else done.get(node, ""))
        elif _TEXT.fullmatch(name):
            parts.append(words(value))
    kept = list(dict.fromkeys(part for part in parts if part.strip()))
    delimiter = inputs.get("delimiter")
    return (delimiter if isinstance(delimiter, str) else "\n").join(kept)


def _loras(inputs: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The loras of a loader, a stack or a list of them, but for those that are switched off or have no strength."""
    if isinstance(inputs.get("lora_name"), str):
        yield from _used(inputs["lora_name"], number(inputs.get("strength_model")))
    for name, value in inputs.items():
        numbered = _NUMBERED.fullmatch(name)
        if numbered is None:
            continue
        if isinstance(value, dict):  # rgthree's Power Lora Loader
            if value.get("on", True) is not False:
                yield from _used(words(value.get("lora")), number(value.get("strength")))
        elif isinstance(value, str) and str(inputs.get(f"switch_{numbered[1]}", "on")).lower() not in _OFF:
            weight = next((inputs[form] for key in _WEIGHTS if (form := key.format(numbered[1])) in inputs), 1.0)
            yield from _used(value, number(weight))


def _used(name: str, strength: float) -> Iterator[tuple[str, float]]:
    if name and name != "None" and strength:
        yield name, strength
