"""Subjects: who or what is learned, consent, the overview."""
