"""The engine of the stand-ins: what trains and draws behind a vendor's interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = ["Engine"]


class Engine(Protocol):
    """Trains and draws with a base of the catalog. May be called from several threads at once."""

    def train(
        self,
        base: str,
        photos: Sequence[tuple[str, bytes, str]],
        *,
        steps: int,
        rank: int,
        learning_rate: float,
        seed: int,
        on_step: Callable[[int, float], None],
        cancelled: Callable[[], bool],
    ) -> bytes:
        """Train a lora on photos (name, bytes, caption); gives a safetensors file in diffusers naming.

        ``on_step`` hears of each step, counted from 1, and its loss. limner.errors.Cancelled: ``cancelled`` said so.
        """
        ...

    def draw(
        self,
        base: str,
        prompt: str,
        *,
        loras: Sequence[tuple[bytes, float]],
        width: int,
        height: int,
        steps: int,
        guidance: float,
        seed: int,
    ) -> bytes:
        """Draw one picture with loras (safetensors file, scale); gives a PNG of that size in pixels.

        limner.errors.LoraRefused: a lora is damaged or does not fit the base.
        """
        ...
