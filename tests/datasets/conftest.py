"""Datasets made of real photos."""

from __future__ import annotations

from pathlib import Path

import pytest

from .frozen import Frozen, freeze_photos


@pytest.fixture(scope="session")
def dataset(real_photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Frozen:
    """Real photos in three shapes, one of them as PNG, frozen at 256 pixels."""
    return freeze_photos(real_photos, tmp_path_factory.mktemp("blobs"))
