"""The whole walk in a wide window, light and dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from . import walk
from .chromium import WALKED, Look
from .server import Server

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900 + 10 * walk.STEPS)]


@pytest.mark.parametrize("look", [look for look in WALKED if look.width > 1000], ids=str)
def test_from_photos_to_pictures_and_away(browser: Browser, server: Server, look: Look) -> None:
    walk.from_photos_to_pictures_and_away(browser, server, look)
