"""Drawing on Together AI."""

from limner.generation.together.generator import TogetherGenerator

__all__ = ["TogetherGenerator"]
