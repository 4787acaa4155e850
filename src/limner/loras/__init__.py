"""Stage 4, loras: read, check, convert and seal the weights of a subject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limner.loras.conversion import Conversion, convert, to_diffusers
    from limner.loras.inspection import inspect
    from limner.loras.lycoris import Nearest, nearest_lora
    from limner.loras.metadata import Sealed, lora_metadata, seal, strip
    from limner.loras.validation import validate

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
    "Conversion": "conversion",
    "Nearest": "lycoris",
    "Sealed": "metadata",
    "convert": "conversion",
    "inspect": "inspection",
    "lora_metadata": "metadata",
    "nearest_lora": "lycoris",
    "seal": "metadata",
    "strip": "metadata",
    "to_diffusers": "conversion",
    "validate": "validation",
}


def __getattr__(name: str) -> Any:
    # numpy is loaded only when a lora is looked at
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"limner.loras.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'limner.loras' has no attribute {name!r}")
