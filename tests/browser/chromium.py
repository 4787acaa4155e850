"""Chromium for the tests, driven by Playwright, and what every page has to hold to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright

__all__ = ["EVERY_LOOK", "LOOKS", "Look", "Tab", "launch", "tab"]

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SHOTS = os.environ.get("LIMNER_SCREENSHOTS", "")
"""A folder to put a picture of every page into."""


Theme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True)
class Look:
    """A size of window and a colour scheme."""

    width: int
    height: int
    theme: Theme

    def __str__(self) -> str:
        return f"{self.width}-{self.theme}"


LOOKS = (Look(1440, 900, "light"), Look(1440, 900, "dark"), Look(390, 844, "light"), Look(390, 844, "dark"))
EVERY_LOOK = os.environ.get("LIMNER_WALK_LOOKS") == "all"
WALKED = LOOKS if EVERY_LOOK else (LOOKS[0], LOOKS[3])
"""The looks in which the whole pipeline is walked; its pages are then opened in the other scheme too."""


def other_scheme(look: Look) -> Look:
    """The same window in the other colour scheme."""
    return next(one for one in LOOKS if one.width == look.width and one.theme != look.theme)


@dataclass
class Tab:
    """A page with what it complained of: script errors, refused resources, breaches of the content policy."""

    page: Page
    look: Look
    base: str
    complaints: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()

    def go(self, path: str) -> Page:
        """Open a path of the server."""
        self.page.goto(self.base + path)
        return self.page

    def sound(self, name: str) -> None:
        """Hold the page as it is now to what every page holds to; keep a picture of it where pictures are kept."""
        page = self.page
        if SHOTS:
            folder = Path(SHOTS)
            folder.mkdir(parents=True, exist_ok=True)
            page.evaluate("window.scrollTo(0, 0); document.activeElement?.blur()")
            page.wait_for_timeout(300)
            page.screenshot(path=folder / f"{name}-{self.look}.png", animations="disabled")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} at {self.look} is {wide} pixels wider than the window"
        assert page.locator("h1").count() == 1, f"{name} has not exactly one main heading"
        found = Axe().run(page, options={"resultTypes": ["violations"]})
        words = "\n".join(
            f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
            for one in found.response["violations"]
        )
        assert not words, f"axe-core on {name} at {self.look}:\n{words}"
        self.quiet()

    def quiet(self) -> None:
        """No script failed, nothing was refused, nothing was missing."""
        found = [one for one in self.complaints if not any(words in one for words in self.allowed)]
        assert not found, found


def _executable() -> str | None:
    named = os.environ.get("LIMNER_TEST_CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def launch(playwright: Playwright) -> Browser:
    """Chromium: the one named by LIMNER_TEST_CHROMIUM, the system's, or Playwright's own."""
    return playwright.chromium.launch(executable_path=_executable(), args=list(FLAGS))


@contextmanager
def tab(
    browser: Browser, base: str, look: Look, *, allowed: tuple[str, ...] = (), scripts: bool = True
) -> Iterator[Tab]:
    """A tab of its own cookies. ``allowed``: parts of complaints that belong to what is tested."""
    context = browser.new_context(
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.theme,
        reduced_motion="reduce",
        locale="en-GB",
        java_script_enabled=scripts,
        accept_downloads=True,
    )
    page = context.new_page()
    made = Tab(page, look, base, allowed=allowed)

    def said(message: ConsoleMessage) -> None:
        if message.type == "error":
            made.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    page.on("console", said)
    page.on("pageerror", lambda error: made.complaints.append(str(error)))
    page.set_default_timeout(60_000)
    try:
        yield made
    finally:
        context.close()
