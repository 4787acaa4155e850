"""What the three classes start from."""

from __future__ import annotations

from limner.catalog import use_catalog
from limner.settings import Settings, read_settings

__all__ = ["settings_of"]


def settings_of(settings: Settings | None) -> Settings:
    """The settings given, or this user's, with the catalog's rows that they name."""
    found = settings or read_settings()
    if found.catalog is not None:
        use_catalog(found.catalog)
    return found
