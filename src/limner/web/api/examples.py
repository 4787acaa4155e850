"""Examples for the API's docs: bodies as somebody would send them, and answers made of one example a field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["example_of"]

PHOTO = "3f1c0d9a6b2e58f4417c9d0e2a5b8c7f61d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0"
MADE = "2026-11-24T09:30:00Z"

BODIES: Mapping[str, Any] = {
    "NewSubject": {"slug": "zibbo", "kind": "character", "class_word": "creature"},
    "ConsentGiven": {"statement": "My photos may be used to train a lora for family albums.", "given_by": "Anna Berg"},
    "PhotoChange": {"caption": "{trigger} asleep on a red sofa"},
    "Captions": {"captions": {PHOTO: "{trigger} asleep on a red sofa"}},
    "CaptionEdit": {"find": "dog", "replace": "{trigger}", "whole_words": True},
    "CaptionAnswer": {"replace": True, "photos": [PHOTO]},
    "Freeze": {"subject": "zibbo", "base": "limner-tiny"},
    "TrainWish": {"subject": "zibbo", "preset": "quick", "settings": {"steps": 200}, "max_cost": 2.5},
    "Resume": {"yes": False},
    "LoraImport": {"source": "anna/zibbo-lora", "subject": "zibbo", "kind": "character"},
    "CardWords": {"words": "Trained on twelve drawings of a small creature."},
    "Publish": {"hub": "folder", "visibility": "private"},
    "VisibilityWanted": {"visibility": "private"},
    "GenerateWish": {"prompt": "a photo of {trigger} on the beach", "loras": ["zibbo@v1:0.9"], "count": 2, "seed": 7},
    "ImageChange": {"favourite": True},
    "ImageNumbers": {"images": [7, 8]},
    "Favourites": {"images": [7, 8], "favourite": True},
    "GridWish": {
        "prompts": ["a photo of {trigger} on the beach"],
        "loras": ["zibbo@v1"],
        "x": {"name": "scale", "values": [0.6, 0.8, 1.0]},
        "y": {"name": "seed", "values": [1, 2]},
        "seed": 1,
    },
    "VoteGiven": {"winner": 7, "loser": 8, "after": 3},
    "Decision": {"decision": "drop"},
    "VendorToken": {"token": "the token that the vendor gave you"},
    "WebhookWanted": {"url": "https://example.org/limner", "events": ["job.done", "job.failed"]},
    "WebhookChange": {"active": False},
    "SettingChanges": {"values": {"budget_day": "5.00"}},
    "VerifyWish": {"remove_stray": False},
    "NewUser": {"name": "anna", "password": "a long pass phrase", "admin": False},
    "UserChange": {"admin": True},
    "TokenWanted": {"name": "nightly script", "scopes": ["read"], "days": 90},
}
"""By the name of the shape."""

FIELDS: Mapping[str, Any] = {
    "slug": "zibbo",
    "subject": "zibbo",
    "trigger": "zibbo",
    "class_word": "creature",
    "kind": "character",
    "digest": PHOTO,
    "photo": PHOTO,
    "dataset": PHOTO,
    "tensor_digest": PHOTO,
    "weights_digest": PHOTO,
    "source_digest": PHOTO,
    "perceptual_hash": "8f0f1e3c3c1e0f8f",
    "source": "beach.jpg",
    "media_type": "image/png",
    "caption": "{trigger} asleep on a red sofa",
    "caption_from": "hand",
    "width": 512,
    "height": 512,
    "left": 0,
    "top": 0,
    "bucket": [512, 512],
    "resolution": 512,
    "face": [0.3, 0.2, 0.25, 0.3],
    "lora": "zibbo@v1",
    "loras": ["zibbo@v1"],
    "base": "limner-tiny",
    "training": "training_1f0c9d8e7f6a5b4c",
    "generation": "generation_5b8c7f61d4e3f2a1",
    "job": "job_9a6b2e58f4417c9d",
    "stage_names": ["train"],
    "stage": "train",
    "prompt": "a photo of zibbo on the beach",
    "sample_prompts": ["a photo of {trigger}"],
    "prompts": ["a photo of {trigger} on the beach"],
    "generator": "local",
    "trainer": "local",
    "hub": "folder",
    "repo": "limner/zibbo",
    "revision": "4417c9d0e2a5b8c7",
    "url": "https://huggingface.co/limner/zibbo",
    "vendor": "",
    "model": "",
    "naming": "diffusers",
    "rank": 16,
    "alpha": 16.0,
    "byte_size": 1048576,
    "steps": 20,
    "step": 200,
    "guidance": 3.5,
    "seed": 7,
    "count": 2,
    "seconds": 2.5,
    "error": None,
    "done": 120,
    "total": 200,
    "unit": "steps",
    "rate": 2.4,
    "seconds_left": 33.0,
    "loss": 0.412,
    "recipe": {"steps": 200, "rank": 16, "learning_rate": 0.0004},
    "header": {"ss_base_model_version": "flux1"},
    "losses": [{"step": 200, "value": 0.41}],
    "rates": [{"step": 200, "value": 0.0004}],
    "message": "One photo is a little blurred.",
    "remedy": "Take a sharper one, or leave it.",
    "code": "blurred",
    "amount": "0.25",
    "estimated": "0.00",
    "limit": "5.00",
    "by_day": {"2026-11-24": "0.25"},
    "by_vendor": {"replicate": "0.25"},
    "by_subject": {"zibbo": "0.25"},
    "month": "2026-11",
    "secret": "lim_…",
    "scopes": ["read", "write"],
    "owner": "anna",
    "given_by": "Anna Berg",
    "statement": "My photos may be used to train a lora for family albums.",
    "ended_at": None,
    "next": None,
    "target": "training_1f0c9d8e7f6a5b4c",
    "counts": {"photos": 12, "loras": 1},
    "erased": {"photos": 12, "loras": 1},
    "state": "running",
}
"""By the name of the field, where a value of its type would say nothing."""

KINDS: Mapping[Any, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "null": type(None),
}
OWN: Mapping[str, Any] = {
    "Job.id": "job_9a6b2e58f4417c9d",
    "Job.kind": "training",
    "JobEvent.id": 41,
    "JobEvent.kind": "job.done",
    "Training.id": "training_1f0c9d8e7f6a5b4c",
    "Generation.id": "generation_5b8c7f61d4e3f2a1",
    "Generation.loras": [{"name": "zibbo@v1", "digest": PHOTO, "scale": 0.9}],
    "ImageDetail.loras": [{"name": "zibbo@v1", "digest": PHOTO, "scale": 0.9}],
    "Wish.loras": [{"name": "zibbo@v1", "scale": 0.9}],
    "Grid.id": "grid_2e58f4417c9d0e2a",
    "Subject.loras": 1,
    "Subject.name": "Zibbo",
    "Lora.name": "zibbo@v1",
    "Webhook.id": "webhook_7f61d4e3f2a1b0c9",
    "Webhook.url": "https://example.org/limner",
    "Webhook.events": ["job.done", "job.failed"],
    "NewWebhook.secret": "whsec_…",
    "WebhookSecret.secret": "whsec_…",
    "Delivery.webhook": "webhook_7f61d4e3f2a1b0c9",
    "Delivery.id": 12,
    "Delivery.event": "job.done",
    "Delivery.state": "delivered",
    "Delivery.status": 204,
    "Setting.name": "budget_day",
    "Setting.kind": "money",
    "Setting.variable": "LIMNER_BUDGET_DAY",
    "SettingsReport.file": "HOME/limner.toml",
    "Token.id": "token_0c9d8e7f6a5b4c3d",
    "Token.name": "nightly script",
    "User.name": "anna",
    "Base.id": "limner-tiny",
    "Base.source": "the model that ships with Limner",
    "Check.state": "ok",
    "Index.version": "0.1.0",
    "DoctorReport.version": "0.1.0",
    "OpenPurchase.state": "undecided",
    "Cost.state": "settled",
    "DatasetHealth.photos": 12,
    "Dataset.photos": 12,
    "TrainingRun.photos": 12,
    "TrainingChoices.photos": 12,
    "PhotoShare.photos": [PHOTO],
    "RecipeField.kind": "whole",
    "RecipeField.value": 200,
    "GridCell.generations": ["generation_5b8c7f61d4e3f2a1"],
    "GridCell.x": 0.6,
    "GridCell.y": 1,
    "Ranking.axis": "scale",
    "GridAxis.name": "scale",
    "GridAxis.values": [0.6, 0.8, 1.0],
    "UploadBatch.job": "",
    "Upload.job": "",
    "Upload.name": "beach.jpg",
}
"""By the name of the shape and the field. None: it is made of its own shape, not of the field's name."""


def example_of(schema: Mapping[str, Any], shapes: Mapping[str, Any], *, field: str = "", shape: str = "") -> Any:
    """An example that fits a JSON schema. ``shapes`` are the named ones that it refers to."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[1]
        if name in BODIES:
            return BODIES[name]
        return example_of(shapes[name], shapes, field=field, shape=name)
    if schema.get("examples"):
        return schema["examples"][0]
    by_shape = f"{shape}.{field}"
    if field and by_shape in OWN:
        if OWN[by_shape] is not None:
            return OWN[by_shape]
    elif field in FIELDS and "properties" not in schema and _fits(FIELDS[field], schema, shapes):
        return FIELDS[field]
    return _made(schema, shapes, field, shape)


def _made(schema: Mapping[str, Any], shapes: Mapping[str, Any], field: str, shape: str) -> Any:
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return FIELDS[field] if FIELDS.get(field) in schema["enum"] else schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return example_of(schema[choice][0], shapes, field=field, shape=shape)
    if "properties" in schema:
        # A shape of its own begins anew: what its fields are called is told by its name.
        return {name: example_of(one, shapes, field=name, shape=shape) for name, one in schema["properties"].items()}
    if "default" in schema:
        return schema["default"]
    return _plain(schema, shapes, field, shape)


def _plain(schema: Mapping[str, Any], shapes: Mapping[str, Any], field: str, shape: str) -> Any:
    match schema.get("type"):
        case "array":
            if "prefixItems" in schema:
                return [example_of(one, shapes) for one in schema["prefixItems"]]
            return [example_of(schema.get("items", {}), shapes, shape=shape)]
        case "object":
            return {}
        case "integer":
            return max(int(schema.get("minimum", 1)), 1)
        case "number":
            return max(float(schema.get("minimum", 0.5)), 0.5)
        case "boolean":
            return False
        case "null":
            return None
        case "string":
            if schema.get("format") == "date-time":
                return MADE
            return "0.25" if "pattern" in schema else (field or "text").replace("_", " ")
    return {}


def _fits(value: Any, schema: Mapping[str, Any], shapes: Mapping[str, Any]) -> bool:
    """Whether a field's usual value is of the type that this field has here."""
    if "$ref" in schema:
        return _fits(value, shapes[str(schema["$ref"]).rsplit("/", 1)[1]], shapes)
    if "anyOf" in schema:
        return any(_fits(value, one, shapes) for one in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    kind = schema.get("type")
    if kind == "array":
        return isinstance(value, list) and all(_fits(one, schema.get("items", {}), shapes) for one in value)
    if kind in KINDS:
        return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))
    return True
