"""Stage 4, loras: read, check, convert and seal the weights of a subject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limner.loras.checks.inspection import inspect
    from limner.loras.checks.validation import validate
    from limner.loras.conversion.convert import Conversion, convert, to_diffusers
    from limner.loras.file.metadata import Sealed, lora_metadata, seal, strip
    from limner.loras.lycoris.nearest import Nearest, nearest_lora

__all__ = [
    "Conversion",
    "Nearest",
    "Sealed",
    "convert",
    "inspect",
    "lora_metadata",
    "nearest_lora",
    "seal",
    "strip",
    "to_diffusers",
    "validate",
]

_HOMES = {
    "Conversion": "conversion.convert",
    "Nearest": "lycoris.nearest",
    "Sealed": "file.metadata",
    "convert": "conversion.convert",
    "inspect": "checks.inspection",
    "lora_metadata": "file.metadata",
    "nearest_lora": "lycoris.nearest",
    "seal": "file.metadata",
    "strip": "file.metadata",
    "to_diffusers": "conversion.convert",
    "validate": "checks.validation",
}


def __getattr__(name: str) -> Any:
    # numpy is loaded only when a lora is looked at
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"limner.loras.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'limner.loras' has no attribute {name!r}")
