"""Runs: all stages in one job, their routes, resuming."""
