"""Before pictures are asked for: who could draw them, prompts to begin with, and what was asked for earlier."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from limner.types import Finding, PromptTemplate

__all__ = ["Choice", "Choices", "PromptTemplate", "Wish"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One generator for a wish: what it costs in US dollars and takes in seconds (None: unknown), or why it cannot.

    ``refusals`` say what stands in the way and what mends it; ``warnings`` what to know before. ``mended_by`` is
    ``account`` where a token is all that is missing, ``publishing`` where ``publish_if_needed`` would do, else "".
    ``asks``: it costs more than goes without a yes. ``sees`` says who gets the prompt and the loras.
    """

    generator: str
    title: str
    summary: str
    vendor: str
    model: str
    cost: Decimal
    seconds: float | None
    certain: bool
    note: str
    sees: str
    refusals: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    mended_by: str = ""
    asks: bool = False

    @property
    def usable(self) -> bool:
        """Whether it could draw the wish here and now."""
        return not self.refusals


@dataclass(frozen=True, slots=True)
class Choices:
    """All generators for one wish: those that can draw it first, then by price; with what the wish comes to.

    ``prompt`` has its triggers filled in and ``findings`` are about it. ``tokens`` is how many the base's text encoder
    makes of it (None: its tokenizer is not here), of which it reads ``most_tokens``. Sizes are pixels.
    """

    base: str
    prompt: str
    tokens: int | None
    most_tokens: int
    width: int
    height: int
    steps: int
    guidance: float
    count: int
    choices: tuple[Choice, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for when pictures were made, as it can be asked for again; ``seed`` is that of the picture named.

    ``prompt`` is as it was written, ``{trigger}`` and all; ``loras`` are (name, scale).
    """

    prompt: str
    loras: tuple[tuple[str, float], ...]
    base: str
    generator: str
    model: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    count: int
