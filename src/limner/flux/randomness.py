"""All chance of a training, as a pure function of (seed, what for, number): so a resumed run draws the same."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

__all__ = ["TIMESTEP_SAMPLINGS", "draw_sigmas", "generator"]

TIMESTEP_SAMPLINGS = ("logit-normal", "sigmoid", "uniform", "shifted")


def generator(seed: int, purpose: str, number: int) -> torch.Generator:
    """A CPU generator that depends on these three alone."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def draw_sigmas(sampling: str, count: int, tokens: int, chance: torch.Generator) -> Tensor:
    """Draw noise levels in 0..1, (count,), for pictures of that many tokens.

    ``logit-normal`` (Kohya calls it ``sigmoid``) favours the middle, ``uniform`` nothing, ``shifted`` is logit-normal
    moved towards noise for larger pictures just as FLUX.1's sampler moves its steps.
    """
    if sampling == "uniform":
        return torch.rand(count, generator=chance)
    sigmas = torch.sigmoid(torch.randn(count, generator=chance))
    if sampling == "shifted":
        # FLUX.1's line: exp(0.5) at 256 tokens to exp(1.15) at 4,096
        shift = math.exp(0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256))
        sigmas = shift * sigmas / (1 + (shift - 1) * sigmas)
    return sigmas
