"""The input of a Replicate model, as its version's own ``openapi_schema`` describes it: what there is, what fits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from limner.types import Finding, Severity
from limner.vendors.http.answers import as_mapping, as_number

__all__ = ["InputField", "check_inputs", "input_fields", "refuse_secrets"]

SECRETS = frozenset({"hf_token", "hf_repo_id", "hf_api_token", "wandb_api_key", "civitai_api_token"})
"""Inputs that would hand another service's key, or what it opens, to the vendor."""
_WORDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}


@dataclass(frozen=True, slots=True)
class InputField:
    """One field of an input. ``kind`` is JSON's word for its type, "" for any; ``secret`` is a key of the user's."""

    name: str
    kind: str = ""
    required: bool = False
    lowest: float | None = None
    highest: float | None = None
    choices: tuple[Any, ...] = ()
    secret: bool = False


def input_fields(schema: Mapping[str, Any], of: str) -> dict[str, InputField]:
    """The fields of ``TrainingInput`` or ``Input`` by name; empty if the schema does not describe it."""
    schemas = as_mapping(as_mapping(schema.get("components")).get("schemas"))
    described = as_mapping(schemas.get(of))
    required = described.get("required")
    needed = set(required) if isinstance(required, list) else set()
    return {
        name: _field(name, _whole(row, schemas), name in needed)
        for name, row in as_mapping(described.get("properties")).items()
        if isinstance(row, Mapping)
    }


def refuse_secrets(names: Iterable[str]) -> list[Finding]:
    """A refusal for each input that would give a key away, whatever the schema says."""
    return [
        Finding(
            "secret",
            Severity.REFUSAL,
            f"'{name}' is not sent: Limner never hands a Hub token or another service's key to the vendor.",
            "Leave it out. Limner publishes the lora itself: limner publish",
        )
        for name in sorted(names)
        if name in SECRETS
    ]


def check_inputs(fields: Mapping[str, InputField], values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """The values as the fields want them, and a refusal for each that is unknown, missing, or does not fit."""
    clean: dict[str, Any] = {}
    found = refuse_secrets(values)
    for name, value in values.items():
        field = fields.get(name)
        if field is None:
            if name not in SECRETS:
                found.append(_unknown(name, [other for other in fields if other not in SECRETS]))
        elif field.secret or name in SECRETS:
            found += [] if name in SECRETS else refuse_secrets([name]) or [_secret(name)]
        else:
            fitted, problem = _fit(field, value)
            if problem:
                message = f"'{name}' is {value!r}; this model takes {problem}."
                found.append(Finding("input", Severity.REFUSAL, message, "Correct it."))
            else:
                clean[name] = fitted
    for name, field in fields.items():
        if field.required and name not in values:
            message = f"The model needs the input '{name}', and nothing of the order says what it is."
            found.append(Finding("input", Severity.REFUSAL, message, f"Set it with --set trainer.{name}=..."))
    return clean, found


def _secret(name: str) -> Finding:
    message = f"'{name}' is a key; Limner never hands a key of yours to the vendor."
    return Finding("secret", Severity.REFUSAL, message, "Leave it out.")


def _unknown(name: str, known: list[str]) -> Finding:
    near = get_close_matches(name, known, n=1)
    remedy = f"Did you mean '{near[0]}'?" if near else f"It knows: {', '.join(sorted(known))}."
    return Finding("input", Severity.REFUSAL, f"This version of the model has no input '{name}'.", remedy)


def _fit(field: InputField, value: Any) -> tuple[Any, str]:
    """The value in the field's type, or what the field takes."""
    kind = field.kind
    fitted = _typed(kind, value)
    if fitted is None:
        return None, _WORDS.get(kind, kind)
    if field.choices and fitted not in field.choices:
        return None, "one of " + ", ".join(map(str, field.choices))
    if isinstance(fitted, int | float) and not isinstance(fitted, bool):
        low = -math.inf if field.lowest is None else field.lowest
        high = math.inf if field.highest is None else field.highest
        if not low <= fitted <= high:
            return None, f"{_WORDS.get(kind, 'a number')} {_range(field)}"
    return fitted, ""


def _typed(kind: str, value: Any) -> Any:
    """The value as JSON's type, None if it cannot be. A bool never is a number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "boolean":
        words = {"true": True, "false": False}
        return value if isinstance(value, bool) else words.get(str(value).lower())
    if kind == "integer":
        return int(value) if number and math.isfinite(value) and value == int(value) else None
    if kind == "number":
        return value if number and math.isfinite(value) else None
    if kind == "string":
        return value if isinstance(value, str) else str(value) if number else None
    return value


def _range(field: InputField) -> str:
    if field.lowest is None:
        return f"up to {field.highest:g}"
    if field.highest is None:
        return f"from {field.lowest:g}"
    return f"from {field.lowest:g} to {field.highest:g}"


def _whole(row: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    """A field with what its ``$ref``, ``allOf`` or ``anyOf`` says laid under it."""
    whole = dict(row)
    for part in (*_list(row.get("allOf")), *_list(row.get("anyOf")), row):
        if isinstance(part, Mapping):
            named = str(part.get("$ref", "")).rpartition("/")[2]
            for source in (part, as_mapping(schemas.get(named))):
                if source.get("type") != "null":
                    whole = {**source, **whole}
    return whole


def _field(name: str, row: Mapping[str, Any], required: bool) -> InputField:
    kind = row.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "")
    secret = row.get("format") == "password" or row.get("writeOnly") is True or row.get("x-cog-secret") is True
    return InputField(
        name=name,
        kind=kind if isinstance(kind, str) and kind in _WORDS else "",
        required=required,
        lowest=as_number(row.get("minimum")),
        highest=as_number(row.get("maximum")),
        choices=tuple(_list(row.get("enum"))),
        secret=secret,
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
