"""Faults: what happens when a process dies at the worst moment."""
