"""Data, not code: bases, hosted models, prices; each row with its source and date."""

from pathlib import Path

from limner.catalog import bases as _bases
from limner.catalog import hosted as _hosted
from limner.catalog.bases import base_location, bases, find_base
from limner.catalog.hosted import HostedModel, find_hosted, hosted

__all__ = ["HostedModel", "base_location", "bases", "find_base", "find_hosted", "hosted", "use_catalog"]


def use_catalog(folder: Path) -> None:
    """Lay the rows of a folder's ``bases.toml`` and ``hosted.toml`` over ours, for this process."""
    _bases.use_folder(folder)
    _hosted.use_folder(folder)
