"""The FLUX families by name."""

from __future__ import annotations

from limner.flux.family import FluxFamily
from limner.types import Base, Family

__all__ = ["family_of"]


def family_of(base: Base) -> FluxFamily:
    """The family of a base."""
    if base.family is Family.FLUX1:
        from limner.flux.flux1 import Flux1

        return Flux1()
    from limner.flux.flux2 import Flux2

    return Flux2()
