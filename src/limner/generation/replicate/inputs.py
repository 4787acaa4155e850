"""What Replicate is sent for a picture: our words in the fields of the model's own input, and loras as addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from limner.catalog.hosted import HostedModel
from limner.generation.alternatives import elsewhere
from limner.generation.generator import GenerationOrder
from limner.generation.hosted import no_row
from limner.hosted import Hosted
from limner.types import Finding, LoraUse, Reach, Severity
from limner.vendors.replicate.input_schema import InputField, check_inputs, refuse_secrets

__all__ = ["HOSTED", "Way", "check_way", "choose_way", "fill_inputs"]

VENDOR = "replicate"
AT_ONCE = 32
HOSTED = Hosted(
    vendor=VENDOR,
    does="generate",
    title="Replicate",
    summary="Draws in your account at Replicate, also with loras that were trained there and are private.",
    sees_photos="no photos; Replicate gets the prompt and the lora, and keeps each picture for about an hour",
    account="an account at Replicate",
    login="limner login replicate",
    limits={"pictures_at_once": AT_ONCE, "reproducible": False},
    reach=(Reach.HOSTED, Reach.HUGGING_FACE, Reach.URL),
)
TRAINED = "trained/"
"""How the catalog names what a training made: which model that is, the lora says."""


@dataclass(frozen=True, slots=True)
class Way:
    """How an order is drawn: a row of the catalog, the model and version asked ("" for the newest), the loras to name.

    ``main`` is the lora that is the model itself, None where the model takes all its loras by address.
    """

    row: HostedModel
    model: str
    version: str
    main: LoraUse | None
    others: tuple[LoraUse, ...]


def choose_way(order: GenerationOrder) -> Way | Finding:
    """The trained model itself where a lora was trained there, else a model that takes loras; or why there is none."""
    rows = HOSTED.rows(order.base.id, order.model)
    trained = next((row for row in rows if row.model.startswith(TRAINED)), None)
    general = next((row for row in rows if not row.model.startswith(TRAINED)), None)
    main = next((use for use in order.loras if _hosted(use)), None)
    if trained is not None and main is not None and (order.model or _addressable(order, main)):
        model, version = _hosted(main) or ("", "")
        return Way(trained, model, version, main, tuple(use for use in order.loras if use is not main))
    if general is not None:
        return Way(general, general.model, general.version, None, order.loras)
    if trained is not None:
        message = "None of the loras was trained at Replicate, so there is no model of theirs to draw with."
        return Finding("model", Severity.REFUSAL, message, elsewhere(order.base, besides=VENDOR, model=trained.model))
    return no_row(HOSTED, order)


def _addressable(order: GenerationOrder, main: LoraUse) -> bool:
    """Whether the others can be named beside the main one; else a model that takes all by address may do better."""
    return all(_address(use) for use in order.loras if use is not main) or not all(map(_address, order.loras))


def _hosted(use: LoraUse) -> tuple[str, str] | None:
    """The model and version that the vendor has a lora as."""
    model, _, version = use.hosted.get(VENDOR, "").partition(":")
    return (model, version) if version and "/" in model else None


def _address(use: LoraUse) -> str:
    """How the vendor's loader is told where a lora is; "" if it cannot get there."""
    if use.url:
        return "" if _address_problem(use.url) else use.url
    hosted = _hosted(use)
    return f"{hosted[0]}/{hosted[1]}" if hosted else ""


def _address_problem(url: str) -> str:
    """Why Replicate's loader cannot take an address."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http"):
        return "it is no https address, and would be read as the name of a model at Replicate"
    if "/blob/" in parts.path:
        return "it is a page about the file and not the file"
    if parts.path.endswith(".safetensors"):
        return (
            "Replicate cuts off what follows '.safetensors', so a signed address does not open" if parts.query else ""
        )
    if len(parts.path.strip("/").split("/")) == 2 and not parts.query:
        return ""
    return "it is neither a repo's page nor ends in '.safetensors'"


def fill_inputs(
    way: Way, order: GenerationOrder, fields: Mapping[str, InputField], seed: int
) -> tuple[dict[str, Any], list[Finding]]:
    """The input of one picture, by the schema of the version (empty: it has none), and what is wrong with it."""
    row = way.row
    words: dict[str, Any] = {
        "prompt": order.prompt,
        "steps": order.steps,
        "guidance": order.guidance,
        "seed": seed,
        "count": 1,
        **_lora_words(way),
        **_size_words(row, order, fields),
    }
    values: dict[str, Any] = {}
    found: list[Finding] = []
    for word, value in words.items():
        names = row.fields.get(word, "").split("|")
        name = next((one for one in names if one in fields), "") if fields else names[0]
        if name:
            values[name] = value
        elif word not in ("count", "megapixels"):
            message = f"This version of {way.model} has no input for {word.replace('_', ' ')}."
            severity = Severity.WARNING if word in ("guidance", "seed") else Severity.REFUSAL
            found.append(
                Finding("input", severity, message, "Use another generator." if severity is Severity.REFUSAL else "")
            )
    fixed = {name: value for name, value in row.fixed.items() if name not in values}
    values = {**{name: value for name, value in fixed.items() if not fields or name in fields}, **values, **order.extra}
    if not fields:
        return values, [*found, *refuse_secrets(order.extra)]
    clean, problems = check_inputs(fields, values)
    return clean, [*found, *problems]


def _lora_words(way: Way) -> dict[str, Any]:
    named = [(_address(use), use.scale) for use in way.others]
    words: dict[str, Any] = {}
    if way.main is not None:
        words["scale"] = way.main.scale
    elif named:
        words["lora"], words["scale"] = named.pop(0)
    if named:
        words["extra_lora"], words["extra_scale"] = named[0]
    return words


def _size_words(row: HostedModel, order: GenerationOrder, fields: Mapping[str, InputField]) -> dict[str, Any]:
    """Width and height where the model takes them, else the name of the size."""
    name = next((name for name, size in row.size_names.items() if size == (order.width, order.height)), "")
    own = {row.fields.get("width"), row.fields.get("height")} - {None}
    if len(own) == 2 and (own <= set(fields) or not (fields or row.size_names)):
        custom = fields.get(row.fields.get("size", "aspect_ratio"))
        words: dict[str, Any] = {"width": order.width, "height": order.height}
        if "size" in row.fields and custom is not None and "custom" in custom.choices:
            words["size"] = "custom"
        return words
    return {"size": name or f"{order.width}x{order.height}", "megapixels": "1"}


def check_way(way: Way, order: GenerationOrder) -> Iterator[Finding]:
    """What Replicate itself forbids, or is not known to take."""
    for use in way.others:
        yield from _reach(use)
    yield from refuse_secrets(order.extra)
    yield from _extra(way.row, order.extra)


def _reach(use: LoraUse) -> Iterator[Finding]:
    """Whether the vendor can fetch a lora."""
    if use.url and (problem := _address_problem(use.url)):
        message = f"Replicate cannot fetch the lora {use.name} from its address: {problem}."
        yield Finding("lora-address", Severity.REFUSAL, message, "Publish it on a hub, and draw again.")
    elif not _address(use):
        message = f"Replicate cannot reach the lora {use.name}: it was not trained there and has no public address."
        remedy = f"Publish it: limner publish {use.name} --public, or draw with --publish-if-needed"
        yield Finding("lora-unreachable", Severity.REFUSAL, message, remedy)
    elif not use.url:
        message = (
            f"Replicate has the lora {use.name} as a private model; whether it may be mixed in from there is not known."
        )
        yield Finding("lora-private", Severity.WARNING, message, "If it is refused, publish it.")


def _extra(row: HostedModel, extra: Mapping[str, Any]) -> Iterator[Finding]:
    known: Sequence[str] = sorted(
        {one for names in row.fields.values() for one in names.split("|")} | set(row.choices) | set(row.fixed)
    )
    for name in sorted(set(extra) - set(known)):
        near = get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else ""
        message = f"The catalog knows no input '{name}' of {row.model}; the version's own schema decides."
        yield Finding("extra", Severity.WARNING, message, hint)
