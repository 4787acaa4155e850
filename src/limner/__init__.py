"""Limner turns a handful of photos into a FLUX LoRA that you own, and into pictures made with it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from limner._version import __version__

__all__ = ["Studio", "__version__"]

if TYPE_CHECKING:
    from limner.studio import Studio


def __getattr__(name: str) -> Any:
    # `import limner` stays instant: the studio and its database are loaded on first use.
    if name == "Studio":
        return import_module("limner.studio").Studio
    raise AttributeError(f"module 'limner' has no attribute {name!r}")
