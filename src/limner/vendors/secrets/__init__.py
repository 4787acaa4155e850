"""Tokens: where they are kept, whether they work, and that they never show."""
