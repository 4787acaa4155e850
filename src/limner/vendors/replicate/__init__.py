"""Replicate's client."""
