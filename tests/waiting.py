"""Waiting for what happens, however busy the machine is; pytest's own limit ends a test that waits in vain."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PATIENCE", "until"]

PATIENCE = 240.0
"""Seconds, where a socket, a thread or a process has to be given some."""


def until(come_true: Callable[[], object]) -> None:
    """Wait until it has."""
    while not come_true():
        time.sleep(0.02)
