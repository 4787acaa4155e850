"""A stand-in for Replicate."""
