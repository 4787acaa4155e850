"""Trainings: submitting, running, watching, choosing a checkpoint."""
