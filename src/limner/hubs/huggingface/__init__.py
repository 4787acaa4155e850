"""The Hugging Face Hub as a hub."""

from limner.hubs.huggingface.hub import HuggingFaceHub

__all__ = ["HuggingFaceHub"]
