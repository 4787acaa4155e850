"""Verification: every blob and row of a home held against each other."""
