"""Generations: what is asked for, what it costs, and drawing it."""
