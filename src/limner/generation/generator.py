"""What a generator must do: draw pictures from a prompt with one or several loras."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from limner.types import BackEnd, Base, Finding, LoraUse

__all__ = ["Drawn", "GenerationOrder", "Generator"]


@dataclass(frozen=True, slots=True)
class GenerationOrder:
    """One request: ``count`` pictures of one prompt (trigger filled in). Picture i is drawn with ``seed + i``.

    ``base_path`` is a folder in diffusers layout or a Hub repo id; ``done`` holds the indexes that a crash left stored.
    """

    id: str
    prompt: str
    base: Base
    base_path: str
    loras: tuple[LoraUse, ...]
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    count: int = 1
    done: frozenset[int] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One picture as the generator gave it: its index in the order, its seed, and the encoded bytes."""

    index: int
    seed: int
    data: bytes
    media_type: str
    seconds: float
    versions: dict[str, str] = field(default_factory=dict)


@runtime_checkable
class Generator(Protocol):
    """A back end that draws. Registered under the entry point group ``limner.generators``."""

    def describe(self) -> BackEnd:
        """Say what this generator is: bases, needs, limits, price. No network, no heavy import."""
        ...

    def check(self, order: GenerationOrder) -> Sequence[Finding]:
        """Look for what would make the order fail (base does not fit, too many loras, size), before it is sent."""
        ...

    def draw(self, order: GenerationOrder) -> AsyncIterator[Drawn]:
        """Draw the pictures that are not in ``order.done``, each given as soon as it is there."""
        ...
