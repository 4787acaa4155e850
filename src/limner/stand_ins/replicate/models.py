"""The models of the Replicate stand-in: which there are, and the input schemas that their versions publish."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from limner.catalog.bases import find_base
from limner.types import Base, Family

__all__ = ["ASPECTS", "StoredModel", "StoredVersion", "base_of", "check_input", "shipped_models", "trained_schema"]

ASPECTS: Mapping[str, tuple[int, int]] = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
_OPTIMIZERS = "prodigy, adam8bit, adamw8bit, lion8bit, adam, adamw, lion, adagrad, adafactor"


@dataclass(slots=True)
class StoredVersion:
    """A version of a model: its input schema, and the lora that is in it ("" and none for a base model)."""

    id: str
    created_at: str
    schema: dict[str, Any]
    lora: bytes = b""


@dataclass(slots=True)
class StoredModel:
    """A model: ``does`` is ``train`` or ``generate``, ``base`` a base of the catalog."""

    owner: str
    name: str
    visibility: str
    does: str = ""
    base: str = ""
    official: bool = False
    hardware: str = "gpu-t4"
    versions: list[StoredVersion] = field(default_factory=list)

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    def version(self, version: str) -> StoredVersion | None:
        return next((one for one in self.versions if one.id == version), None)


def base_of(name: str) -> Base:
    """A base of the catalog."""
    return find_base(name)


def shipped_models(created_at: str) -> dict[str, StoredModel]:
    """The models that are there from the start: two trainers and a generator for FLUX.1, small ones for limner-tiny."""
    rows = (
        ("ostris", "flux-dev-lora-trainer", "train", "flux1-dev", False, _trainer_schema()),
        ("replicate", "fast-flux-trainer", "train", "flux1-dev", True, _fast_schema()),
        ("limner", "limner-tiny-trainer", "train", "limner-tiny", False, _trainer_schema()),
        ("black-forest-labs", "flux-dev-lora", "generate", "flux1-dev", True, _general_schema("flux1-dev")),
        ("limner", "limner-tiny", "generate", "limner-tiny", False, _general_schema("limner-tiny")),
    )
    found = {}
    for owner, name, does, base, official, schema in rows:
        model = StoredModel(owner, name, "public", does, base, official, "gpu-h100")
        version = hashlib.sha256(model.full_name.encode()).hexdigest()
        model.versions.append(StoredVersion(version, created_at, schema))
        found[model.full_name] = model
    return found


# --- schemas ----------------------------------------------------------------------------------------------------------


def _property(kind: str, order: int, default: Any = None, **more: Any) -> dict[str, Any]:
    given = {} if default is None else {"default": default}
    return {"type": kind, "x-order": order, **given, **more}


def _schema(
    inputs: str, properties: Mapping[str, Any], required: list[str], choices: Mapping[str, list[Any]]
) -> dict[str, Any]:
    """A schema as Cog writes it: choices are schemas of their own that a field refers to."""
    schemas: dict[str, Any] = {
        inputs: {
            "type": "object",
            "title": inputs,
            "properties": dict(properties),
            **({"required": required} if required else {}),
        }
    }
    for name, values in choices.items():
        kind = "string" if isinstance(values[0], str) else "integer"
        schemas[name] = {"enum": values, "type": kind, "title": name, "description": "An enumeration."}
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {},
        "components": {"schemas": schemas},
    }


def _trainer_schema() -> dict[str, Any]:
    secret = {"format": "password", "writeOnly": True, "x-cog-secret": True}
    properties = {
        "input_images": _property("string", 0, format="uri"),
        "trigger_word": _property("string", 1, "TOK"),
        "autocaption": _property("boolean", 2, True),
        "autocaption_prefix": _property("string", 3),
        "autocaption_suffix": _property("string", 4),
        "steps": _property("integer", 5, 1000, minimum=3, maximum=6000),
        "learning_rate": _property("number", 6, 0.0004),
        "batch_size": _property("integer", 7, 1),
        "resolution": _property("string", 8, "512,768,1024"),
        "lora_rank": _property("integer", 9, 16, minimum=1, maximum=128),
        "caption_dropout_rate": _property("number", 10, 0.05, minimum=0, maximum=1),
        "optimizer": _property("string", 11, "adamw8bit", description=_OPTIMIZERS),
        "cache_latents_to_disk": _property("boolean", 12, False),
        "layers_to_optimize_regex": _property("string", 13),
        "gradient_checkpointing": _property("boolean", 14, False),
        "hf_repo_id": _property("string", 15),
        "hf_token": _property("string", 16, **secret),
        "wandb_api_key": _property("string", 17, **secret),
        "wandb_project": _property("string", 18, "flux_train_replicate"),
        "wandb_run": _property("string", 19),
        "wandb_entity": _property("string", 20),
        "wandb_sample_interval": _property("integer", 21, 100, minimum=1),
        "wandb_sample_prompts": _property("string", 22),
        "wandb_save_interval": _property("integer", 23, 100, minimum=1),
        "skip_training_and_use_pretrained_hf_lora_url": _property("string", 24),
    }
    return _schema("TrainingInput", properties, [], {})


def _fast_schema() -> dict[str, Any]:
    properties = {
        "input_images": _property("string", 0, format="uri"),
        "trigger_word": _property("string", 1),
        "lora_type": {"allOf": [{"$ref": "#/components/schemas/lora_type"}], "default": "subject", "x-order": 2},
        "training_steps": _property("integer", 3, 1000, minimum=10, maximum=4000),
        "seed": _property("integer", 4),
    }
    return _schema("TrainingInput", properties, ["input_images", "trigger_word"], {"lora_type": ["subject", "style"]})


def _drawing(base: Base, choices: Mapping[str, list[Any]], guidance: str) -> dict[str, Any]:
    def one_of(name: str, order: int, default: Any) -> dict[str, Any]:
        return {"allOf": [{"$ref": f"#/components/schemas/{name}"}], "default": default, "x-order": order}

    return {
        "prompt": _property("string", 0),
        "aspect_ratio": one_of("aspect_ratio", 1, "1:1"),
        "num_outputs": _property("integer", 4, 1, minimum=1, maximum=4),
        "num_inference_steps": _property("integer", 5, base.steps, minimum=1, maximum=50),
        guidance: _property("number", 6, base.guidance, minimum=0, maximum=10),
        "seed": _property("integer", 7),
        "output_format": one_of("output_format", 8, "webp"),
        "output_quality": _property("integer", 9, 80, minimum=0, maximum=100),
        "disable_safety_checker": _property("boolean", 10, False),
        "go_fast": _property("boolean", 11, True),
        "lora_scale": _property("number", 12, 1, minimum=-1, maximum=3),
        "extra_lora": _property("string", 13),
        "extra_lora_scale": _property("number", 14, 1, minimum=-1, maximum=3),
        **({"megapixels": one_of("megapixels", 15, "1")} if "megapixels" in choices else {}),
    }


def _sides(base: Base) -> dict[str, Any]:
    """Width and height: what the real model takes, or what a small base draws."""
    low, high = (256, 1440) if base.size > 512 else (base.size_min, base.size_max)
    return {
        "width": _property("integer", 2, minimum=low, maximum=high),
        "height": _property("integer", 3, minimum=low, maximum=high),
    }


def _general_schema(base_name: str) -> dict[str, Any]:
    """A model that takes loras by address. The real one knows sizes by name only, a small base takes them in pixels."""
    base = base_of(base_name)
    choices: dict[str, list[Any]] = {"aspect_ratio": [*ASPECTS], "output_format": ["webp", "jpg", "png"]}
    small = base.size <= 512
    if small:
        choices["aspect_ratio"].append("custom")
    else:
        choices["megapixels"] = ["1", "0.25"]
    properties = _drawing(base, choices, "guidance") | {"lora_weights": _property("string", 16)}
    if small:
        properties |= _sides(base)
    return _schema("Input", properties, ["prompt"], choices)


def trained_schema(base_name: str) -> dict[str, Any]:
    """The model that a training makes: its own lora, and one more by address."""
    base = base_of(base_name)
    choices: dict[str, list[Any]] = {
        "aspect_ratio": [*ASPECTS, "custom"],
        "output_format": ["webp", "jpg", "png"],
        "model": ["dev", "schnell"],
    }
    model = {"allOf": [{"$ref": "#/components/schemas/model"}], "default": "dev", "x-order": 17}
    properties = _drawing(base, choices, "guidance_scale") | _sides(base)
    if base.family is Family.FLUX1:
        properties["model"] = model
    return _schema("Input", properties, ["prompt"], choices)


# --- checking an input ------------------------------------------------------------------------------------------------


def check_input(schema: Mapping[str, Any], inputs: str, given: Mapping[str, Any]) -> list[dict[str, str]]:
    """The ``invalid_fields`` of a refusal. A field that the schema does not know is let through, as there."""
    schemas = schema["components"]["schemas"]
    described = schemas[inputs]
    wrong = [
        {"type": "required", "field": "(root)", "description": f"{name} is required"}
        for name in described.get("required", [])
        if given.get(name) is None
    ]
    for name, value in given.items():
        row = described["properties"].get(name)
        if row is None or value is None:
            continue
        for part in row.get("allOf", []):
            row = {**schemas[part["$ref"].rpartition("/")[2]], **row}
        problem = _wrong(row, value)
        if problem:
            wrong.append({"type": problem[0], "field": name, "description": problem[1]})
    return wrong


def _wrong(row: Mapping[str, Any], value: Any) -> tuple[str, str] | None:
    kinds: dict[str, Any] = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
    kind = row.get("type", "")
    given = {str: "string", bool: "boolean", int: "integer", float: "number"}.get(type(value), type(value).__name__)
    right = isinstance(value, kinds[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if not right:
        return "invalid_type", f"Invalid type. Expected: {kind}, given: {given}"
    if "enum" in row and value not in row["enum"]:
        return "enum", f"Must be one of the following: {', '.join(map(repr, row['enum']))}"
    if "minimum" in row and value < row["minimum"]:
        return "number_gte", f"Must be greater than or equal to {row['minimum']}"
    if "maximum" in row and value > row["maximum"]:
        return "number_lte", f"Must be less than or equal to {row['maximum']}"
    return None
