"""Hugging Face: the Hub and its inference providers."""
