"""Erasing: a subject and all that was made of it."""
