"""Drawing through Hugging Face's inference providers."""

from limner.generation.huggingface.generator import HuggingFaceGenerator

__all__ = ["HuggingFaceGenerator"]
