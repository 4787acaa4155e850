"""Drawing on Replicate."""

from limner.generation.replicate.generator import ReplicateGenerator

__all__ = ["ReplicateGenerator"]
