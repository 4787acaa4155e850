"""The whole walk in a wide window, light and dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from . import walk
from .chromium import WALKED, Look, other_scheme, tab
from .server import Server

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900 + 10 * walk.STEPS)]


@pytest.mark.parametrize("look", [look for look in WALKED if look.width > 1000], ids=str)
def test_from_photos_to_pictures_and_away(browser: Browser, server: Server, look: Look) -> None:
    with tab(browser, server.url, look) as it:
        slug = walk.add_subject(it)
        walk.drop(it, slug, walk.PHOTOS)
        training = walk.train(it, slug)
        walk.pick(it, training, walk.STEPS // 3 * 2)
        walk.publish(it, f"{slug}@v2", "folder")
        walk.create(it, {f"{slug}@v1": "0.5", f"{slug}@v2": "0.6"})
        walk.gallery(it, 2)
        walk.look_around(it, slug)
        with tab(browser, server.url, other_scheme(look)) as second:
            walk.in_other_colours(second, slug, training)
        walk.erase(it, slug)
