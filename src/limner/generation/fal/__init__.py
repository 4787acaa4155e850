"""Drawing on fal."""

from limner.generation.fal.generator import FalGenerator

__all__ = ["FalGenerator"]
