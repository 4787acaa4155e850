"""Data, not code: bases, hosted models, prices; each row with its source and date."""

from limner.catalog.bases import base_location, bases, find_base

__all__ = ["base_location", "bases", "find_base"]
