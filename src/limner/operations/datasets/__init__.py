"""Datasets: photos, captions and crops frozen."""
