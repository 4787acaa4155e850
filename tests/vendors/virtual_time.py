"""An event loop whose time is a number: sleeping takes no time, and every run is the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from limner.vendors.http import limiter

T = TypeVar("T")


class _Skipping(selectors.DefaultSelector):
    """Instead of waiting for a time-out it moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout:
            self.at += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.skipping = _Skipping()
        super().__init__(self.skipping)

    def time(self) -> float:
        return self.skipping.at


def run_virtual(main: Coroutine[Any, Any, T], monkeypatch: pytest.MonkeyPatch) -> T:
    """Run a coroutine in virtual time, which the limiter's clock follows too."""
    loop = VirtualLoop()
    monkeypatch.setattr(limiter, "now", loop.time)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()
