"""The request of a generation: what a job keeps of it from its submission until its pictures are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from limner.operations.jobs.request import StageRequest
from limner.types import LoraUse

__all__ = ["GenerateRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest(StageRequest):
    """Pictures of one prompt. ``loras`` are names and scales; "" is the one that the job makes of its ``subject``.

    ``generator`` is one name, or several with commas in the order in which they are tried. ``remote`` describes the
    loras that are not here. ``filled``: the prompt has its triggers already.
    """

    stage: ClassVar[str] = "generate"

    generation: str
    prompt: str
    loras: tuple[tuple[str, float], ...] = ()
    base: str
    generator: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    count: int = 1
    subject: str = ""
    model: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    publish_if_needed: bool = False
    remote: Mapping[str, LoraUse] = field(default_factory=dict)
    filled: bool = False
