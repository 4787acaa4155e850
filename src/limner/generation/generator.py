"""What a generator must do: draw pictures from a prompt with one or several loras."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from limner.money.payments import Payments, Unrecorded
from limner.types import BackEnd, Base, Estimate, Finding, LoraUse, Plan

__all__ = ["Drawn", "GenerationOrder", "Generator"]


@dataclass(frozen=True, slots=True)
class GenerationOrder:
    """One request: ``count`` pictures of one prompt (trigger filled in). Picture i is drawn with ``seed + i``.

    ``base_path`` is a folder in diffusers layout or a Hub repo id; ``done`` holds the indexes that a crash left stored.
    ``model`` is the vendor's model if the user chose one, else the generator takes the catalog's for the base;
    ``extra`` are further parameters of the vendor's own interface. A generator that costs money draws through
    ``payments``: one purchase a picture, tagged ``tag(index)``, which the pipeline settles once the picture is stored.
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
    model: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    payments: Payments = field(default_factory=Unrecorded)

    @property
    def used(self) -> tuple[LoraUse, ...]:
        """The loras that do something."""
        return tuple(use for use in self.loras if use.scale)

    def tag(self, index: int) -> str:
        """The purchase tag of one picture: the same for every generator, so that none draws what another may have."""
        return f"{self.id}-{index}"


@dataclass(frozen=True, slots=True)
class Drawn:
    """One picture as the generator gave it: its index in the order, its seed, and the encoded bytes (PNG or JPEG).

    ``versions`` is everything outside the order that decided the pixels; of a vendor its ``model`` at least.
    """

    index: int
    seed: int
    data: bytes
    media_type: str
    seconds: float
    versions: dict[str, str] = field(default_factory=dict)


@runtime_checkable
class Generator(Protocol):
    """A back end that draws. Registered under the entry point group ``limner.generators``.

    It is made once a process, and again when the settings change: one object serves all jobs, users and threads.
    """

    def describe(self) -> BackEnd:
        """Say what this generator is: bases, needs, limits, price. No network, no heavy import."""
        ...

    def check(self, order: GenerationOrder) -> Sequence[Finding]:
        """Look for what would make the order fail (what is lacking, base, loras, size); asks nobody."""
        ...

    def estimate(self, order: GenerationOrder) -> Estimate:
        """What the pictures not in ``order.done`` will cost and take, by the catalog. No network."""
        ...

    async def plan(self, order: GenerationOrder) -> Plan:
        """Say exactly what would be sent, after free questions to the vendor (is the account good, the model listed?).

        Nothing is paid. The findings include those of ``check``.
        """
        ...

    def draw(self, order: GenerationOrder) -> AsyncIterator[Drawn]:
        """Draw the pictures that are not in ``order.done``, each given as soon as it is there."""
        ...
