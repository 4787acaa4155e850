"""The ``limner`` text of a picture: its record as JSON that loses nothing, and the digest of its pixels."""

from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from limner.types import ImageRecord, LoraUse

__all__ = ["KEYWORD", "parse", "write"]

KEYWORD = "limner"
_FORM = 1


def write(record: ImageRecord, pixels: str) -> str:
    """The JSON, in ASCII; ``pixels`` is the pixel digest. Folders of this machine and keys in addresses stay out."""
    loras = [
        {
            "name": use.name,
            "digest": use.digest,
            "tensor_digest": use.tensor_digest,
            "scale": use.scale,
            "trigger": use.trigger,
            "base": use.base,
            "url": _bare(use.url),
        }
        for use in record.loras
    ]
    plain = {name: getattr(record, name) for name in ImageRecord.__dataclass_fields__}
    plain |= {"form": _FORM, "loras": loras, "versions": dict(record.versions), "pixels": pixels}
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse(text: str) -> tuple[ImageRecord, str]:
    """The record and the pixel digest. ValueError says what is missing or of the wrong kind."""
    try:
        found = json.loads(text)
    except RecursionError as failure:
        raise ValueError("it is nested far too deeply") from failure
    if not isinstance(found, dict) or found.get("form") != _FORM:
        raise ValueError("it is of a form that this release does not know")
    loras = _value(found, "loras", list)
    versions = _value(found, "versions", dict)
    record = ImageRecord(
        prompt=_value(found, "prompt", str),
        width=_value(found, "width", int),
        height=_value(found, "height", int),
        steps=_value(found, "steps", int),
        guidance=_number(found, "guidance"),
        seed=_value(found, "seed", int),
        base=_value(found, "base", str),
        generator=_value(found, "generator", str),
        loras=tuple(_lora(use) for use in loras),
        versions={name: _value(versions, name, str) for name in versions},
        made_at=_value(found, "made_at", str),
    )
    return record, _value(found, "pixels", str)


def _bare(url: str) -> str:
    """An address without what may be a key to it: the name before the @, and all from the ? on."""
    try:
        scheme, place, path, _, _ = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit((scheme, place.rpartition("@")[2], path, "", ""))


def _lora(found: Any) -> LoraUse:
    if not isinstance(found, dict):
        raise ValueError("a lora in it is no object")
    texts = {name: _value(found, name, str) for name in ("name", "digest", "tensor_digest", "trigger", "base", "url")}
    return LoraUse(scale=_number(found, "scale"), **texts)


def _value(found: dict[str, Any], name: str, kind: type[Any]) -> Any:
    value = found.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"'{name}' is missing or no {kind.__name__}")
    return value


def _number(found: dict[str, Any], name: str) -> float:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"'{name}' is missing or no number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"'{name}' is no finite number")
    return number
