"""Uploads: files received in pieces, resumed, taken in as one batch."""
