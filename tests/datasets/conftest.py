"""Real photos, and datasets made of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from frozen import Frozen, freeze_photos

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def real_photos() -> list[Path]:
    """Five or more JPEGs of one real subject."""
    named = os.environ.get("LIMNER_PHOTOS")
    for folder in [Path(named)] if named else [ROOT.parent / "shared" / "photos", ROOT / "src/limner/demo/photos"]:
        for photos in (sorted(folder.glob("dog/*.jpg")), sorted(folder.rglob("*.jp*g"))):
            if len(photos) >= 4:
                return photos[:5]
    raise AssertionError("No real photos; set LIMNER_PHOTOS to a folder that holds some.")


@pytest.fixture(scope="session")
def dataset(real_photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Frozen:
    """Real photos in three shapes, one of them as PNG, frozen at 256 pixels."""
    return freeze_photos(real_photos, tmp_path_factory.mktemp("blobs"))
