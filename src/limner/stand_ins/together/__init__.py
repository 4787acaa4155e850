"""A stand-in for Together AI."""
