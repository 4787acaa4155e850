"""A server that is killed while this machine trains: whoever watches sees the end, with nothing loaded anew."""

from __future__ import annotations

import re
import signal

import pytest
from playwright.sync_api import Browser, expect

from limner.settings import Settings
from limner.studio import Studio
from tests.operations.conftest import kill_all

from . import walk
from .chromium import LOOKS, tab
from .server import Server

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

STEPS = 24
BROKEN = ("Failed to load resource", "ERR_", "network error", "Failed to fetch", "htmx:sse:error")


def test_a_training_outlives_its_server_and_the_page_stays(browser: Browser, server: Server) -> None:
    with Studio(settings=Settings(home=server.home, start_worker=False)) as studio:
        studio.subjects.add("zibbo", kind="character", class_word="robot", trigger="zibbo")
        studio.photos.add("zibbo", walk.PHOTOS)
    with tab(browser, server.url, LOOKS[0], allowed=BROKEN) as it:
        page = it.go("/subjects/zibbo")
        expect(page.get_by_role("heading", name=re.compile(f"^{len(walk.PHOTOS)} photos"))).to_be_visible(
            timeout=walk.WORK
        )
        training = walk.begin_training(it, "zibbo", steps=STEPS)
        # The first sample is there, and so is the checkpoint that it goes on from.
        page.locator('main img[src^="/samples/"]').first.wait_for(timeout=walk.WORK)
        page.evaluate("globalThis.loaded = 'once'")
        server.stop(signal.SIGKILL)
        kill_all(server.home)
        server.start()
        expect(page.get_by_role("heading", level=1, name=re.compile("^Trained", re.I))).to_be_visible(timeout=walk.WORK)
        assert page.evaluate("globalThis.loaded") == "once"
        assert page.url.endswith(f"/trainings/{training}")
        expect(page.locator("main")).to_contain_text(f"{STEPS}")
        it.sound("training-outlived")
    with Studio(settings=Settings(home=server.home, start_worker=False)) as studio:
        assert [one.step for one in studio.trainings.checkpoints(training)] == [8, 16, 24]
        assert [lora.name for lora in studio.loras.all("zibbo")] == ["zibbo@v1"]
