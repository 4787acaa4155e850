"""Chromium for the benchmarks: the one named by LIMNER_TEST_CHROMIUM, the system's, or Playwright's own."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip


def launch(playwright: Playwright) -> Browser:
    """Start it; ``make browser`` gets one where there is none."""
    named = os.environ.get("LIMNER_TEST_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return playwright.chromium.launch(executable_path=found, args=list(FLAGS))
