"""Captions: found beside photos, paired with them, cleaned, filled in, judged."""
