"""A browser for the tests of a file, and a server for those that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from .chromium import launch
from .server import Server

# As long as `page.set_default_timeout`: what a busy machine shows late is shown all the same.
expect.set_options(timeout=60_000)


# Playwright's loop runs as long as it lives, and other files of the process run loops of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = launch(playwright)
        yield launched
        launched.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path / "home").start()
    yield started
    started.stop()
